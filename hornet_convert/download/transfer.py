"""The bytes of one URL into a part file: resumed, retried, never taken for more than they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hornet_convert.download.answers import Body, body_of, complete_length
from hornet_convert.download.body import DECODERS, Reader
from hornet_convert.download.edges import Edges, Phase
from hornet_convert.download.http import FaultError, Policy, opened
from hornet_convert.download.partfile import Origin, PartFile
from hornet_convert.download.sources import without_credentials
from hornet_convert.errors import printable

if TYPE_CHECKING:
    import requests

Report = Callable[[Phase, int, int | None, str | None], None]


@dataclass(frozen=True)
class Asked:
    """What to get: `size` is the file's length in bytes, `known` whether its digest is known."""

    url: str
    size: int | None
    known: bool

    @property
    def recorded(self) -> str:
        """The URL as it may stand on the disk."""
        return without_credentials(self.url)


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
    task = _Transfer(session, asked, part, edges, report)
    high = part.continue_from(asked.recorded, asked.size, task.hashed)
    policy, tries = Policy(edges, asked.url), 0
    while not task.is_complete():
        tries += 1
        try:
            task.attempt()
            break
        except FaultError as fault:
            if part.size - high >= edges.limits.substantial:
                policy.reset()
                high = part.size
            wait = policy.next_wait(fault)
            if wait is None:
                fault.reason += f" (tried {tries} times)" if tries > 1 else ""
                raise
            detail = f"{fault.reason}; next try in {wait:.1f} s"
            report("retrying", part.size, task.total(), detail)
            edges.pause(wait)
    return Arrived(part.finish(), task.whole)


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

    def hashed(self, done: int) -> None:
        """Called while the kept bytes are being hashed."""
        self.edges.check()
        self.report("hashing", done, self.total(), None)

    def total(self) -> int | None:
        """Length of the whole file, if anyone has said."""
        return self.asked.size or (self.part.origin.total if self.part.origin else None)

    def is_complete(self) -> bool:
        """Whether the part file already is as long as the file."""
        return self.part.size > 0 and self.part.size == self.total()

    def attempt(self) -> None:
        """One request; returns when the file is complete, raises FaultError otherwise."""
        headers = self._range_headers()
        self.report("connecting", self.part.size, self.total(), None)
        with opened(self.session, self.asked.url, headers, self.edges) as response:
            if response.status_code == 416:
                self._nothing_more(complete_length(response.headers), bool(headers))
                return
            body = body_of(response.status_code, response.headers)
            if isinstance(body, str):
                self.ranges = False
                raise FaultError(f"got {body}", again=True)
            with Reader(response, body, self.edges, self.asked.url) as reader:
                if response.status_code == 206:
                    self._check_continues(body, bool(headers))
                else:
                    reader.refuse_disguise()
                    self._check_length(body)
                    self._start_over(body)
                self._receive(body, reader)

    def _range_headers(self) -> dict[str, str]:
        part = self.part
        if not part.size or part.origin is None or not self.ranges:
            return {}
        if part.origin.validator is not None:
            return {"Range": f"bytes={part.size}-", "If-Range": part.origin.validator}
        # Without a validator the file may have changed in between; only a digest would tell.
        return {"Range": f"bytes={part.size}-"} if self.asked.known else {}

    def _nothing_more(self, length: int | None, asked_for_range: bool) -> None:
        """A 416: either everything is here already, or the part file is of another file."""
        if asked_for_range and length == self.part.size:
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
        if body.encoded is not None and not (self.asked.known and body.encoded in DECODERS):
            encoding = printable(body.encoded, 40)
            raise FaultError(f"the answer is encoded as {encoding}, unasked", again=False)
        if body.total is None:
            return
        if self.asked.size and body.total != self.asked.size:
            raise WrongSizeError(body.total)
        most = self.edges.limits.max_bytes
        if body.total > most:
            raise FaultError(f"{body.total} bytes are offered, more than {most}", again=False)

    def _start_over(self, body: Body) -> None:
        # Offsets in a decoded body mean nothing to the server: without an origin the part file is
        # never continued.
        origin = Origin(self.asked.recorded, body.validator, self.asked.size or body.total)
        self.part.restart(None if body.encoded else origin)

    def _receive(self, body: Body, reader: Reader) -> None:
        part, total = self.part, self.total()
        if total is not None:
            part.check_space(total)
        most = total or self.edges.limits.max_bytes
        try:
            while data := reader.read():
                part.append(data)
                if part.size > most:
                    self._too_much(most)
                self.report("downloading", part.size, total, None)
        except FaultError as fault:
            fault.reason += f", after {part.size} of {total or 'unknown'} bytes" * fault.again
            raise
        if body.length is not None and reader.received != body.length:
            raise FaultError(f"cut after {part.size} of {total or 'unknown'} bytes", again=True)
        if reader.truncated:
            raise FaultError("the encoded answer ended early", again=True)
        if total is not None and part.size != total:
            raise FaultError(f"ended after {part.size} of {total} bytes", again=True)
        self.whole = total is not None or body.self_delimiting
        if not self.whole and not self.asked.known:
            raise FaultError("the server does not say how long the file is", again=False)

    def _too_much(self, most: int) -> None:
        size = self.part.size
        self.part.restart(None)
        if self.asked.size:
            raise WrongSizeError(size)
        raise FaultError(f"more than {most} bytes arrived", again=False)
