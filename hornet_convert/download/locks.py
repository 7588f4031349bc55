"""One writer at a time, and knowing whether the lock means anything.

The kernel releases the lock when its holder dies, so a lock file left behind blocks nobody.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from hornet_convert.download.edges import TICK, Edges
from hornet_convert.text import printable

PATIENCE: Final = 1.0  # seconds before the user is told what is waited for
NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def exclusive(
    path: Path,
    edges: Edges,
    waiting: Callable[[str], None] = lambda holder: None,
    longest: float | None = None,
) -> Iterator[bool]:
    """Hold the lock at `path`; yields whether it keeps others out.

    It does not where the file system has no locks, or pretends: a second attempt tells.
    `waiting` is called, with the name of the holder, once it has taken a moment.

    Raises OSError if the lock file cannot be made, or is held for `longest` seconds (TimeoutError);
    CancelledError if the caller wants to stop.
    """
    begun, told = time.monotonic(), False
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # another user's; it can be locked all the same
        descriptor = os.open(path, flags | os.O_RDONLY)
    try:
        while (held := _try(descriptor)) is False:
            waited = time.monotonic() - begun
            if longest is not None and waited > longest:
                raise TimeoutError(errno.ETIMEDOUT, f"{holder(path)} holds the lock", str(path))
            if waited > PATIENCE and not told:
                waiting(holder(path))
                told = True
            edges.check()
            edges.cancel.wait(TICK)
        if held:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        yield held is True and not is_free(path)
    finally:
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock at a path, as far as the file system has locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        return _try(descriptor) is not False
    finally:
        os.close(descriptor)


def holder(path: Path) -> str:
    """Who holds a lock, as it says itself."""
    try:
        process, _, host = path.read_text("utf-8", "replace")[:200].strip().partition(" ")
    except OSError:
        process, host = "", ""
    return printable(f"process {process} on {host}" if host else "another process", 100)


def _try(descriptor: int) -> bool | None:
    """Take the lock: whether that went well, None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return True
