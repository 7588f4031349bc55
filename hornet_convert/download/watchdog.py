"""The one place that bounds how long a request may take: from its connection to its last byte.

A read timeout bounds each wait for a byte. It does not bound a server, or a proxy, that sends one
byte of a header or of a chunk length every few seconds. A `Watchdog` looks on from a thread of its
own and shuts the socket down: when a whole window has been spent waiting for fewer bytes of the
body than the lowest rate allows, and when the caller wants to stop.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from hornet_convert.download.edges import TICK, Edges

_local = threading.local()  # `watchdog`: that of the request this thread makes


class ExpiredError(TimeoutError):
    """The server was too slow, and has been cut off."""


class Watchdog:
    """Looks after one request. Use as a context manager, and wrap each wait in `waiting`.

    Time in which nobody waits for the server, because the disk is busy, does not count.
    """

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._sockets: list[socket.socket] = []
        self._since: float | None = None
        self._waited = 0.0
        self._bytes = 0
        self._expired = False

    def __enter__(self) -> Watchdog:
        _local.watchdog = self
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        _local.watchdog = None
        self._stopped.set()
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()

    def watch(self, sock: socket.socket) -> None:
        """Take over a connection: a duplicate, which TLS does not take away."""
        with self._lock:
            self._sockets.append(sock.dup())

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around one wait for the server. Raises ExpiredError if it was cut off meanwhile."""
        with self._lock:
            self._since = self._edges.monotonic()
        try:
            yield
        except Exception as error:
            self._require_alive(error)
            raise
        finally:
            with self._lock:
                self._waited += self._edges.monotonic() - (self._since or 0.0)
                self._since = None
        self._require_alive(None)  # what was cut short can pass for complete

    def received(self, count: int) -> None:
        """So many bytes of the body have come."""
        with self._lock:
            self._bytes += count

    def answered(self) -> None:
        """The header is complete: the body has a window of its own."""
        with self._lock:
            self._waited, self._bytes = 0.0, 0

    def _require_alive(self, error: Exception | None) -> None:
        self._edges.check()
        if self._expired:
            raise ExpiredError("too slow") from error

    def _run(self) -> None:
        while not self._stopped.wait(min(TICK, self._edges.limits.timeout / 4)):
            with self._lock:
                if self._too_slow() or self._edges.cancel.is_set():
                    for sock in self._sockets:
                        with contextlib.suppress(OSError):
                            sock.shutdown(socket.SHUT_RDWR)

    def _too_slow(self) -> bool:
        limits = self._edges.limits
        since = self._since
        waited = self._waited + (0.0 if since is None else self._edges.monotonic() - since)
        if waited >= limits.timeout:
            self._expired = self._expired or self._bytes < limits.min_rate * waited
            self._waited, self._bytes = 0.0, 0
            if since is not None:
                self._since = self._edges.monotonic()
        return self._expired


class _Response(http.client.HTTPResponse):
    """Passes over interim answers, 102 and 103, of which http.client knows 100 alone."""

    def _read_status(self) -> Any:
        parent: Any = super()
        while (answer := parent._read_status())[1] in (102, 103):
            http.client.parse_headers(self.fp)
        return answer


def _watched(sock: socket.socket) -> socket.socket:
    """The socket, known to the watchdog of this thread."""
    if (watchdog := getattr(_local, "watchdog", None)) is not None:
        watchdog.watch(sock)
    return sock


class _Connection(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _watched(super()._new_conn())


class _SafeConnection(HTTPSConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _watched(super()._new_conn())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _SafeConnection


class WatchedAdapter(HTTPAdapter):
    """requests' adapter on these connections, directly or through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self._use_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        """Make the pools of connections through a proxy."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        self._use_pools(manager)
        return manager

    @staticmethod
    def _use_pools(manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}
