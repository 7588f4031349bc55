"""A server on loopback that can misbehave in any way, because it writes raw bytes."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

ETAG = '"first"'


@dataclass(frozen=True)
class Asked:
    """One request: its path with query, and its headers with names in lower case."""

    path: str
    headers: dict[str, str]

    @property
    def offset(self) -> int | None:
        """Where the range asked for begins; None without a range."""
        match = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("range", ""))
        return int(match[1]) if match else None

    @property
    def end(self) -> int | None:
        """Where it ends, exclusive; None for the end of the file."""
        match = re.fullmatch(r"bytes=\d+-(\d+)", self.headers.get("range", ""))
        return int(match[1]) + 1 if match else None


class Exchange:
    """One request and the connection to answer it on."""

    def __init__(self, server: FaultServer, connection: socket.socket, asked: Asked) -> None:
        self.server = server
        self.connection = connection
        self.asked = asked

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.connection.sendall(data)

    def head(self, status: str, *lines: str) -> None:
        """Write a status line and header lines."""
        text = "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""])
        self.send(text.encode("latin-1"))

    def body(self, data: bytes) -> None:
        """Write bytes of a body, and count them."""
        if self.asked.path not in self.server.pages:
            self.server.sent += len(data)
        self.send(data)

    def whole(self, data: bytes, *lines: str, status: str = "200 OK") -> None:
        """A complete, correct answer."""
        self.head(status, f"Content-Length: {len(data)}", *lines)
        self.body(data)

    def ranged(self, data: bytes, *lines: str, upto: int | None = None) -> None:
        """What a good server answers: the range if one is asked for and its condition holds.

        `upto` cuts the answer before that offset of the file.
        """
        start = self.asked.offset
        condition = self.asked.headers.get("if-range")
        if start is not None and start >= len(data):
            self.head(
                "416 Range Not Satisfiable",
                f"Content-Range: bytes */{len(data)}",
                "Content-Length: 0",
            )
        elif start is not None and condition in (None, *(ln.partition(": ")[2] for ln in lines)):
            end = min(self.asked.end or len(data), len(data))
            span = f"Content-Range: bytes {start}-{end - 1}/{len(data)}"
            self.head("206 Partial", span, f"Content-Length: {end - start}", *lines)
            self.body(data[start : min(end, end if upto is None else upto)])
        else:
            self.head("200 OK", f"Content-Length: {len(data)}", "Accept-Ranges: bytes", *lines)
            self.body(data[:upto])

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait(self, seconds: float) -> None:
        """Say nothing for a while; ends early when the other side is gone or the server stops."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.server.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.02)
            if readable:
                return

    def dribble(self, data: bytes, pause: float) -> None:
        """Write a byte at a time."""
        for n in range(len(data)):
            if self.server.stopping.is_set():
                return
            self.send(data[n : n + 1])
            time.sleep(pause)


Answer = Callable[[Exchange], None]


@dataclass
class FaultServer:
    """Answers every path as `pages` say, else with `answers` in turn; the last one stays.

    `requests` are all requests in order, `sent` the bytes written for the file.
    """

    answers: list[Answer]
    pages: dict[str, Answer] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    requests: list[Asked] = field(default_factory=list)
    sent: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> FaultServer:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._turn = 0
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in [self._accepting, *self._threads]:
            thread.join(5)

    def restart(self) -> None:
        """Let running answers end, forget what was asked, begin with the first answer again."""
        for thread in self._threads:
            thread.join(5)
        self.requests.clear()
        self.sent = self._turn = 0

    @property
    def url(self) -> str:
        """Base URL."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def files(self) -> list[Asked]:
        """The requests for the file itself, in order."""
        return [asked for asked in self.requests if asked.path not in self.pages]

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # Whoever hangs up early, on either side, is part of the game.
        with contextlib.suppress(OSError):
            connection.settimeout(20)
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                for asked in _requests(connection):
                    self.requests.append(asked)
                    self._answer(asked)(Exchange(self, connection, asked))
                    break

    def _answer(self, asked: Asked) -> Answer:
        if asked.path in self.pages:
            return self.pages[asked.path]
        answer = self.answers[min(self._turn, len(self.answers) - 1)]
        self._turn += 1
        return answer


def _requests(connection: socket.socket) -> Iterator[Asked]:
    text = b""
    while b"\r\n\r\n" not in text:
        data = connection.recv(65536)
        if not data:
            return
        text += data
        if text.startswith(b"\x16\x03"):  # TLS, to a server that speaks none
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
    first, *lines = text.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    yield Asked(first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs})
