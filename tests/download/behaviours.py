"""What a misbehaving server does, as functions that answer one request each."""

from __future__ import annotations

from tests.download.fault_server import ETAG, Answer, Exchange
from tests.download.setting import BODY, OTHER

TAG = f"ETag: {ETAG}"
DATE = "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT"
OCTETS = "Content-Type: application/octet-stream"
N = len(BODY)
FLIPPED = BODY[:99_999] + bytes([BODY[99_999] ^ 1]) + BODY[100_000:]
PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Not \x1b[31m found &amp; gone</title></head>gone</html>"
)


HALF = N // 2
OK = "HTTP/1.1 200 OK\n"
LENGTH = f"Content-Length: {N}"

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def cut(at: int, *lines: str, reset: bool = False) -> Answer:
    """The file or the range asked for, cut at an offset of the file."""

    def answer(exchange: Exchange) -> None:
        exchange.ranged(BODY, *(lines or (TAG,)), upto=at)
        if reset:
            exchange.reset()

    return answer


def steps(exchange: Exchange) -> None:
    """Range after range, 60 000 bytes at a time."""
    exchange.ranged(BODY, TAG, upto=(exchange.asked.offset or 0) + 60_000)


def crumbs(exchange: Exchange) -> None:
    """Range after range, 5000 bytes at a time."""
    exchange.ranged(BODY, TAG, upto=(exchange.asked.offset or 0) + 5000)


def raw(*pieces: str | bytes) -> Answer:
    """Bytes as they are; a str is a block of header lines, ended properly."""

    def answer(exchange: Exchange) -> None:
        for piece in pieces:
            if isinstance(piece, str):
                exchange.send(piece.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
            else:
                exchange.body(piece)

    return answer


def whole(data: bytes, *lines: str, status: str = "200 OK") -> Answer:
    """A complete answer."""
    return lambda exchange: exchange.whole(data, *lines, status=status)


def status(line: str, *lines: str) -> Answer:
    """A refusal with a short plain body."""
    return whole(b"sorry", "Content-Type: text/plain", *lines, status=line)


def partial(start: int, span: str, data: bytes, *lines: str) -> Answer:
    """A 206 whatever was asked for."""
    return lambda exchange: exchange.whole(
        data[start:], f"Content-Range: {span}", *lines, status="206 Partial Content"
    )


def chunked(data: bytes, *, size: int = 7000, end: bytes = b"0\r\n\r\n") -> Answer:
    """A body in chunks, ended as given."""

    def answer(exchange: Exchange) -> None:
        exchange.head("200 OK", "Transfer-Encoding: chunked", TAG)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            exchange.send(f"{len(piece):x}\r\n".encode())
            exchange.body(piece)
            exchange.send(b"\r\n")
        exchange.send(end)

    return answer


def redirect(target: str, code: str = "302 Found") -> Answer:
    """A redirect; `{url}` in the target is the server's own."""

    def answer(exchange: Exchange) -> None:
        exchange.head(
            code, f"Location: {target.format(url=exchange.server.url)}", "Content-Length: 0"
        )

    return answer


def silent(seconds: float, before: Answer | None = None) -> Answer:
    """Nothing more after what `before` sends."""

    def answer(exchange: Exchange) -> None:
        if before is not None:
            before(exchange)
        exchange.wait(seconds)

    return answer


def endless(piece: bytes, *, pause: float = 0.0, head: bytes = b"") -> Answer:
    """The same bytes again and again, for as long as the other side listens."""

    def answer(exchange: Exchange) -> None:
        exchange.send(head)
        while not exchange.server.stopping.is_set():
            exchange.send(piece)
            if pause:
                exchange.wait(pause)

    return answer


def dribbled_head(exchange: Exchange) -> None:
    """A header that comes so slowly that it never ends."""
    exchange.dribble(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000, pause=0.05)


def dribbled_body(exchange: Exchange) -> None:
    """A body at some hundred bytes per second."""
    exchange.head("200 OK", f"Content-Length: {N}", TAG)
    exchange.dribble(BODY, pause=0.005)


def no_ranges(line: str, upto: int | None = None) -> Answer:
    """A server that refuses requests for a part, and sends the whole."""

    def answer(exchange: Exchange) -> None:
        if exchange.asked.offset is None:
            exchange.ranged(BODY, TAG, upto=upto)
        else:
            status(line)(exchange)

    return answer


def disposition(exchange: Exchange) -> None:
    """The file, with a name for it that no one should follow."""
    exchange.ranged(
        BODY,
        TAG,
        "Content-Disposition: attachment; filename=../../../x; filename*=utf-8''%2e%2e%2fx",
    )


def own_tag(tag: str, data: bytes = BODY, upto: int | None = None) -> Answer:
    """A good server whose file has another ETag."""
    return lambda exchange: exchange.ranged(data, f"ETag: {tag}", upto=upto)


def ignoring_if_range(exchange: Exchange) -> None:
    """Half of the file, then the range of another file under another ETag."""
    start = exchange.asked.offset
    if start is None:
        exchange.whole(BODY, 'ETag: "second"')
    else:
        partial(start, f"bytes {start}-{N - 1}/{N}", OTHER, 'ETag: "second"')(exchange)
