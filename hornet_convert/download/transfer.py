"""The bytes of one URL into a part file: resumed, retried, never taken for more than they are."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hornet_convert.download.answers import Body, body_of, complete_length
from hornet_convert.download.edges import MIB, Edges, Phase
from hornet_convert.download.http import FaultError, Policy, faults, opened
from hornet_convert.download.partfile import Origin, PartFile
from hornet_convert.download.sniff import SNIFF_BYTES, TITLE_BYTES, disguise, title
from hornet_convert.errors import printable

if TYPE_CHECKING:
    import requests

READ_BYTES = MIB
Report = Callable[[Phase, int, int | None, str | None], None]


@dataclass(frozen=True)
class Asked:
    """What to get: `size` is the file's length in bytes, `known` whether its digest is known."""

    url: str
    size: int | None
    known: bool


@dataclass(frozen=True)
class Arrived:
    """SHA-256 of the file; `whole` unless its end could have been a broken connection."""

    sha256: str
    whole: bool


class WrongSizeError(FaultError):
    """The server offers, or sends, another length than the file is known to have."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes", again=False)
        self.size = size


def transfer(
    session: requests.Session, asked: Asked, part: PartFile, edges: Edges, report: Report
) -> Arrived:
    """Bring `part` to the whole file.

    Raises FaultError when the tries are used up or another would not help; what arrived stays in
    the part file.
    """
    kept = part.continue_from(
        asked.url, asked.size, lambda done: report("hashing", done, asked.size, None)
    )
    state = _Transfer(session, asked, part, edges, report)
    policy, high, tries = Policy(edges.limits), kept, 0
    while True:
        tries += 1
        try:
            if state.is_complete():
                break
            state.attempt()
            break
        except FaultError as fault:
            if part.size - high >= edges.limits.substantial:
                policy.reset()
                high = part.size
            wait = policy.next_wait(fault, asked.url)
            if wait is None:
                if tries > 1:
                    fault.reason += f" (tried {tries} times)"
                raise
            detail = f"{fault.reason}; next try in {wait:.1f} s"
            report("retrying", part.size, state.total(), detail)
            edges.pause(wait)
    return Arrived(part.finish(), state.whole)


def small_body(session: requests.Session, url: str, limit: int, edges: Edges) -> bytes | None:
    """A short document whole, or its first `limit` bytes; None if an HTML page came instead.

    Many servers answer with a page for whatever they do not have. Raises FaultError.
    """
    policy = Policy(edges.limits)
    while True:
        try:
            return _small_body(session, url, limit, edges)
        except FaultError as fault:
            wait = policy.next_wait(fault, url)
            if wait is None:
                raise
            edges.pause(wait)


def _small_body(session: requests.Session, url: str, limit: int, edges: Edges) -> bytes | None:
    with opened(session, url, {}, edges) as response:
        body = body_of(response.status_code, response.headers)
        if response.status_code != 200 or isinstance(body, str) or body.encoded is not None:
            raise FaultError(f"unexpected answer {response.status_code}", again=False)
        reader = _Reader(response, body, edges, url)
        text = b""
        while len(text) < limit and (data := reader.read()):
            text += data
        if body.length is not None and reader.received < min(body.length, limit):
            raise FaultError(f"cut after {reader.received} of {body.length} bytes", again=True)
    return None if disguise(text, None) == "an HTML page" else text


class _Transfer:
    def __init__(
        self,
        session: requests.Session,
        asked: Asked,
        part: PartFile,
        edges: Edges,
        report: Report,
    ) -> None:
        self.session = session
        self.asked = asked
        self.part = part
        self.edges = edges
        self.report = report
        self.ranges = True  # until the server shows that it cannot
        self.whole = True

    def total(self) -> int | None:
        """Length of the whole file, if anyone has said."""
        return self.asked.size or (self.part.origin.total if self.part.origin else None)

    def is_complete(self) -> bool:
        """Whether the part file already is as long as the file."""
        return self.part.size > 0 and self.part.size == self.total()

    def attempt(self) -> None:
        """One request; returns when the file is complete, raises FaultError otherwise."""
        part = self.part
        headers = self._range_headers()
        self.report("connecting", part.size, self.total(), None)
        with opened(self.session, self.asked.url, headers, self.edges) as response:
            if response.status_code == 416:
                self._nothing_more(response, bool(headers))
                return
            body = body_of(response.status_code, response.headers)
            if isinstance(body, str):
                self.ranges = False
                raise FaultError(f"got {body}", again=True)
            if response.status_code == 206:
                self._check_continues(body, bool(headers))
            reader = _Reader(response, body, self.edges, self.asked.url)
            if response.status_code == 200:
                reader.refuse_disguise(response)
                self._check_length(body)
                total = self.asked.size or body.total
                # Offsets in a decoded body mean nothing to the server: without an origin the part
                # file is never continued.
                origin = Origin(self.asked.url, body.validator, total)
                part.restart(None if body.encoded else origin)
            if (total := self.total()) is not None:
                part.check_space(total)
            while data := reader.read():
                part.append(data)
                if part.size > self._most():
                    self._too_much()
                self.report("downloading", part.size, self.total(), None)
            self._check_end(body, reader)

    def _range_headers(self) -> dict[str, str]:
        part = self.part
        if not part.size or part.origin is None or not self.ranges:
            return {}
        if part.origin.validator is not None:
            return {"Range": f"bytes={part.size}-", "If-Range": part.origin.validator}
        # Without a validator the file may have changed in between; only a digest would tell.
        return {"Range": f"bytes={part.size}-"} if self.asked.known else {}

    def _nothing_more(self, response: requests.Response, asked_for_range: bool) -> None:
        """A 416: either everything is here already, or the part file is of another file."""
        if asked_for_range and complete_length(response.headers) == self.part.size:
            return
        self.part.restart(None)
        raise FaultError(
            "416, the unfinished download does not fit the file", again=asked_for_range
        )

    def _check_continues(self, body: Body, asked_for_range: bool) -> None:
        origin = self.part.origin
        fits = (
            asked_for_range
            and origin is not None
            and body.start == self.part.size
            and body.encoded is None
            and (body.total is None or self.total() in (None, body.total))
            and (body.validator is None or origin.validator in (None, body.validator))
        )
        if not fits:
            self.ranges = False
            raise FaultError("got another part than the one asked for", again=True)

    def _check_length(self, body: Body) -> None:
        if body.encoded is not None and not (self.asked.known and body.encoded in _DECODERS):
            encoding = printable(body.encoded, 40)
            raise FaultError(
                f"the answer is encoded ({encoding}) although none was asked", again=False
            )
        if body.total is None:
            return
        if self.asked.size and body.total != self.asked.size:
            raise WrongSizeError(body.total)
        if body.total > self._most():
            raise FaultError(
                f"{body.total} bytes are offered, more than {self._most()}", again=False
            )

    def _most(self) -> int:
        return self.asked.size or self.edges.limits.max_bytes

    def _too_much(self) -> None:
        size = self.part.size
        self.part.restart(None)
        if self.asked.size:
            raise WrongSizeError(size)
        raise FaultError(f"more than {self._most()} bytes arrived", again=False)

    def _check_end(self, body: Body, reader: _Reader) -> None:
        """Decide whether the body that has ended is the whole file."""
        part, total = self.part, self.total()
        if body.length is not None and reader.received != body.length:
            raise FaultError(f"cut after {part.size} of {total or 'unknown'} bytes", again=True)
        if reader.truncated:
            raise FaultError("the encoded answer ended early", again=True)
        if total is not None and part.size != total:
            raise FaultError(f"ended after {part.size} of {total} bytes", again=True)
        self.whole = total is not None or body.self_delimiting
        if not self.whole and not self.asked.known:
            raise FaultError("the server does not say how long the file is", again=False)


_DECODERS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class _Reader:
    """The body, piece by piece, with an eye on its rate."""

    def __init__(self, response: requests.Response, body: Body, edges: Edges, url: str) -> None:
        self.received = 0
        self._raw = response.raw
        self._url = url
        self._edges = edges
        self._head = b""
        bits = _DECODERS.get(body.encoded or "")
        self._decoder = zlib.decompressobj(bits) if bits else None
        self._window = (edges.monotonic(), 0)

    @property
    def truncated(self) -> bool:
        """Whether an encoded body stopped before its end mark."""
        return self._decoder is not None and not self._decoder.eof

    def read(self) -> bytes:
        """The next bytes, decoded; empty at the end."""
        head, self._head = self._head, b""
        if head:
            return head
        decoder = self._decoder
        if decoder is None:
            return self._receive()
        data = decoder.unconsumed_tail or self._receive()
        while data:
            try:
                decoded = decoder.decompress(data, READ_BYTES)
            except zlib.error as error:
                raise FaultError("the answer is not encoded as it says", again=False) from error
            if decoded:
                return decoded
            # After the end mark the rest is read only to see whether the body is complete.
            data = decoder.unconsumed_tail or self._receive()
        return b""

    def refuse_disguise(self, response: requests.Response) -> None:
        """Raise FaultError if the body is something else than a checkpoint; keeps what was read."""
        head = b""
        while len(head) < SNIFF_BYTES and (data := self.read()):
            head += data
        kind = response.headers.get("content-type")
        what = disguise(head[:SNIFF_BYTES], kind)
        if what is None:
            self._head = head
            return
        while what == "an HTML page" and len(head) < TITLE_BYTES and title(head) is None:
            data = self.read()
            if not data:
                break
            head += data
        heading = title(head) if what == "an HTML page" else None
        titled = f" titled “{heading}”" if heading else ""
        answered = f"status {response.status_code}, {printable(kind or 'no content type', 60)}"
        raise FaultError(f"got {what}{titled}, not a checkpoint ({answered})", again=False)

    def _receive(self) -> bytes:
        self._edges.check()
        with faults(self._url):
            data: bytes = self._raw.read1(READ_BYTES, decode_content=False)
        self.received += len(data)
        self._check_rate()
        return data

    def _check_rate(self) -> None:
        limits = self._edges.limits
        since, received = self._window
        now = self._edges.monotonic()
        if now - since >= limits.rate_window:
            if (self.received - received) / (now - since) < limits.min_rate:
                raise FaultError(f"slower than {limits.min_rate:.0f} bytes per second", again=True)
            self._window = (now, self.received)
