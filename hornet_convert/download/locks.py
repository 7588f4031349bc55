"""One writer at a time per cached file, and knowing whether the lock means anything.

The kernel releases the lock when its holder dies, so a lock file left behind blocks nobody.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

from hornet_convert.download.edges import Edges

POLL = 0.1
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def exclusive(path: Path, edges: Edges, waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock at `path`; yields whether it keeps others out.

    It does not where the file system has no locks, or pretends. A second, independent attempt while
    the first is held tells. `waiting` is called once if another process holds the lock. Raises
    OSError if the lock file cannot be made, CancelledError if the caller wants to stop.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    told = False
    while True:
        edges.check()
        try:
            lock.acquire(timeout=POLL, poll_interval=POLL / 2)
            break
        except Timeout:
            if not told:
                waiting()
                told = True
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            yield False
            return
    try:
        yield _keeps_out(path)
    finally:
        lock.release()


def _keeps_out(path: Path) -> bool:
    from filelock import FileLock, Timeout

    probe = FileLock(path)
    try:
        probe.acquire(timeout=0)
    except (Timeout, RuntimeError):
        return True
    probe.release()
    return False
