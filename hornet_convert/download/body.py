"""The body of a response, piece by piece: decoded if need be, never slower than allowed."""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final

from hornet_convert.download.answers import Body, body_of
from hornet_convert.download.edges import MIB, Edges
from hornet_convert.download.http import FaultError, Policy, faults, opened
from hornet_convert.download.sniff import SNIFF_BYTES, TITLE_BYTES, disguise, title
from hornet_convert.errors import printable

if TYPE_CHECKING:
    import requests

READ_BYTES: Final = MIB

# zlib's window bits for what servers send although identity was asked for.
DECODERS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}

_TITLE_END: Final = b"</title"


class Reader:
    """Reads a body. Use as a context manager; every fault of the connection is a FaultError.

    `received` counts the bytes that came over the connection, before decoding.
    """

    def __init__(self, response: requests.Response, body: Body, edges: Edges, url: str) -> None:
        self.received = 0
        self._length = body.length
        self._response = response
        self._url = url
        self._edges = edges
        self._head = b""
        bits = DECODERS.get(body.encoded or "")
        self._decoder = zlib.decompressobj(bits) if bits else None
        self._rate = _Rate(edges)
        self._watch = _Watch(response, edges.limits.rate_window)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watch.stop()

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

    def refuse_disguise(self) -> None:
        """Raise FaultError if the body is something else than a checkpoint.

        What had to be read for that is given again by `read`.
        """
        head = b""
        while len(head) < SNIFF_BYTES and (data := self.read()):
            head += data
        kind = self._response.headers.get("content-type")
        what = disguise(head[:SNIFF_BYTES], kind)
        if not head and self._length is None:
            # A connection that broke within the header looks like an answer without any.
            raise FaultError("the connection was closed without an answer", again=True)
        if what is None:
            self._head = head
            return
        heading = ""
        if what == "an HTML page":
            found = title(self._page(head))
            heading = f"titled “{found}”, " if found else ""
        kind = f"type {printable(kind, 60)}" if kind else "no content type"
        status = self._response.status_code
        reason = f"got {what}, not a checkpoint ({heading}status {status}, {kind})"
        raise FaultError(reason, again=False)

    def _page(self, start: bytes) -> bytes:
        """The page that starts so, as far as its title; pieces of one byte take no longer."""
        page, fresh = bytearray(start), len(start)
        with contextlib.suppress(FaultError):
            while len(page) < TITLE_BYTES and _TITLE_END not in page[-fresh:].lower():
                data = self.read()
                if not data:
                    break
                page += data
                fresh = len(data) + len(_TITLE_END) - 1
        return bytes(page[:TITLE_BYTES])

    def _receive(self) -> bytes:
        self._edges.check()
        with faults(self._url), self._watch.one_read(), self._rate.waiting():
            data: bytes = self._response.raw.read1(READ_BYTES, decode_content=False)
        self.received += len(data)
        self._rate.check(self.received)
        return data


class _Rate:
    """The average rate over the time spent waiting for the server, not for the disk."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._waited = 0.0
        self._received = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around one read."""
        since = self._edges.monotonic()
        yield
        self._waited += self._edges.monotonic() - since

    def check(self, received: int) -> None:
        """Raise FaultError if a whole window has passed below the lowest rate."""
        limits = self._edges.limits
        if self._waited < limits.rate_window:
            return
        if received - self._received < limits.min_rate * self._waited:
            raise FaultError(f"slower than {limits.min_rate:.0f} bytes per second", again=True)
        self._waited, self._received = 0.0, received


class _Watch:
    """Cuts the connection when one read takes too long.

    Chunk headers and trailers can keep the HTTP library busy for ever without giving it a byte of
    the body to return, and without a pause that a read timeout would notice.
    """

    def __init__(self, response: requests.Response, limit: float) -> None:
        self._response = response
        self._limit = limit
        self._reads = 0
        self._reading = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._expired = False
        self._thread.start()

    @contextlib.contextmanager
    def one_read(self) -> Iterator[None]:
        """Around one read."""
        self._reads += 1
        self._reading = True
        try:
            yield
        except Exception as error:
            if self._expired:
                raise TimeoutError("the body does not go on") from error
            raise
        finally:
            self._reading = False
        if self._expired:
            raise TimeoutError("the body does not go on")

    def stop(self) -> None:
        """No more reads follow."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        seen = -1
        while not self._stopped.wait(self._limit):
            if self._reading and self._reads == seen:
                self._expired = True
                with contextlib.suppress(Exception):
                    self._response.raw.shutdown()
            seen = self._reads


def small_body(session: requests.Session, url: str, limit: int, edges: Edges) -> bytes | None:
    """A short document whole, or at least its first `limit` bytes; None if a page came instead.

    Many servers answer with an HTML page for whatever they do not have. Raises FaultError.
    """
    policy = Policy(edges, url)
    while True:
        try:
            return _small_body(session, url, limit, edges)
        except FaultError as fault:
            wait = policy.next_wait(fault)
            if wait is None:
                raise
            edges.pause(wait)


def _small_body(session: requests.Session, url: str, limit: int, edges: Edges) -> bytes | None:
    with opened(session, url, {}, edges) as response:
        body = body_of(response.status_code, response.headers)
        if response.status_code != 200 or isinstance(body, str):
            raise FaultError(f"unexpected answer {response.status_code}", again=False)
        with Reader(response, body, edges, url) as reader:
            text = bytearray()
            while len(text) < limit and (data := reader.read()):
                text += data
            cut = reader.truncated or body.length not in (None, reader.received)
            if cut and len(text) < limit:
                raise FaultError(f"cut after {reader.received} bytes", again=True)
    return None if disguise(bytes(text[:SNIFF_BYTES]), None) == "an HTML page" else bytes(text)
