"""SHA-256 of files at rest, and of bytes while they pass."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import queue
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

CHUNK: Final = 1 << 20
QUEUED: Final = 8

_STOP: Final = b""


def sha256_of(
    path: Path, *, limit: int | None = None, seen: Callable[[int], None] | None = None
) -> tuple[str, int]:
    """SHA-256 in hex and length in bytes of a file, or of its first `limit` bytes.

    `seen` is called with the number of bytes read so far. Raises OSError; for anything but a
    regular file too, without waiting for a FIFO's other end.
    """
    digest = hashlib.sha256()
    length = feed(digest.update, path, limit=limit, seen=seen)
    return digest.hexdigest(), length


def open_regular(path: Path) -> io.FileIO:
    """Open a regular file to read; OSError for anything else, which might never end or begin."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return io.FileIO(descriptor)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "Not a regular file", str(path))


def feed(
    update: Callable[[memoryview], None],
    path: Path,
    *,
    limit: int | None = None,
    seen: Callable[[int], None] | None = None,
) -> int:
    """Pass a file's first `limit` bytes, or all, to `update`; returns how many there were."""
    with open_regular(path) as file:
        buffer = memoryview(bytearray(CHUNK))
        done = 0
        while limit is None or done < limit:
            got = file.readinto(buffer if limit is None else buffer[: limit - done])
            if not got:
                break
            update(buffer[:got])
            done += got
            if seen is not None:
                seen(done)
    return done


class PassingDigest:
    """SHA-256 of what passes, computed on a thread of its own.

    Hashing releases the interpreter lock, so it overlaps receiving and writing. At most `QUEUED`
    pieces wait, which bounds the memory.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._queue: queue.Queue[bytes] = queue.Queue(QUEUED)
        self._thread: threading.Thread | None = None

    def update(self, data: bytes) -> None:
        """Add bytes; waits while too many pieces are pending."""
        if not data:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
            self._thread.start()
        self._queue.put(data)

    def update_now(self, data: memoryview) -> None:
        """Add bytes of a buffer that is reused afterwards."""
        self.settle()
        self._digest.update(data)

    def settle(self) -> None:
        """Wait until everything passed so far is in the digest."""
        if self._thread is not None:
            self._queue.put(_STOP)
            self._thread.join()
            self._thread = None

    def hexdigest(self) -> str:
        """The digest of everything passed so far."""
        self.settle()
        return self._digest.hexdigest()

    def _run(self) -> None:
        while data := self._queue.get():
            self._digest.update(data)
