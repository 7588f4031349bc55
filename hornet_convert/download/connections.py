"""HTTP connections that give up on a header that never ends.

A read timeout bounds each wait for a byte. A server that sends one header byte every few seconds,
or one `100 Continue` after another, never exceeds it; these connections bound the whole header.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

READ_TIMEOUTS_PER_HEADER = 2


@contextlib.contextmanager
def _whole_header(connection: HTTPConnection) -> Iterator[None]:
    sock, timeout = connection.sock, connection.timeout
    if sock is None or not isinstance(timeout, int | float):
        yield
        return
    limit = READ_TIMEOUTS_PER_HEADER * timeout
    expired = threading.Event()

    def cut() -> None:
        expired.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if expired.is_set():
            raise TimeoutError(f"no complete header within {limit:g} s") from error
        raise
    finally:
        timer.cancel()
    # A header that was cut short can pass for a complete one.
    if expired.is_set():
        raise TimeoutError(f"no complete header within {limit:g} s")


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        with _whole_header(self):
            return super().getresponse()


class _SafeConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        with _whole_header(self):
            return super().getresponse()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _SafeConnection


_POOLS = {"http": _Pool, "https": _SafePool}


class Adapter(HTTPAdapter):
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
        manager.pool_classes_by_scheme = _POOLS
