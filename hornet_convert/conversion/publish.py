"""Putting a finished file in its place, so that nothing partial ever stands under a final name.

A file is written under a temporary name in its target folder, synced, and renamed. The temporary
file is locked while its writer lives: one that is not locked was left by a killed run and is swept.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from hornet_convert.errors import DiskError, printable

PREFIX = ".hornet-convert-"
SUFFIX = ".tmp"
_OWN = re.compile(re.escape(PREFIX) + "[0-9a-f]{16}" + re.escape(SUFFIX))
STALE_SECONDS = 86400.0  # where locks do nothing, a leftover is known by its age

_HINTS = {
    errno.ENOSPC: "Free some space there, or name another folder with --out.",
    errno.EDQUOT: "Free some of your quota, or name another folder with --out.",
    errno.EFBIG: "The file system or a limit of this process allows no file of that size.",
    errno.EACCES: "Name a folder you may write to with --out.",
    errno.EPERM: "Name a folder you may write to with --out.",
    errno.EROFS: "Name a folder you may write to with --out.",
    errno.ENOTDIR: "Name a folder with --out.",
    errno.EEXIST: "Name a folder with --out.",
}


@contextlib.contextmanager
def disk_errors(where: Path, doing: str) -> Iterator[None]:
    """Turn an OSError inside into a DiskError that names the place and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = _HINTS.get(error.errno or 0, "Nothing was left under a final name.")
        raise DiskError(f"{doing} failed: {reason}", where=str(where), hint=hint) from error


class Temporary:
    """An open, locked temporary file: `fd` to write to, `path` where it stands for now."""

    def __init__(self, folder: Path) -> None:
        self.path, self.fd = _create_locked(folder)
        while not self.path.exists():  # swept between its making and its locking
            os.close(self.fd)
            self.path, self.fd = _create_locked(folder)

    def publish(self, final: Path) -> None:
        """Rename to `final`, replacing a file that stands there, and sync the folder.

        Raises DiskError if something else stands there: a folder, a device, a FIFO.
        """
        refuse_special(final)
        self.path.replace(final)
        sync_folder(final.parent)

    def close(self) -> None:
        """Close, and remove the file if it was not published."""
        os.close(self.fd)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def _create_locked(folder: Path) -> tuple[Path, int]:
    path = folder / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(fd, fcntl.LOCK_EX)
    return path, fd


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[Temporary]:
    """A temporary file in `folder`, which is made if need be; gone afterwards unless published."""
    with disk_errors(folder, "making a file"):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        file = Temporary(folder)
    try:
        yield file
    finally:
        file.close()


def publish_bytes(data: bytes, final: Path) -> None:
    """Write a small file whole, or not at all."""
    with temporary(final.parent) as file, disk_errors(final, "writing"):
        write_all(file.fd, memoryview(data), 0)
        os.fsync(file.fd)
        file.publish(final)


def write_all(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


def refuse_special(final: Path) -> None:
    """Raise DiskError if what has the name is neither a file nor a link."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = final.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise DiskError(
                "what has the result's name is not a file",
                where=printable(str(final), 1000),
                hint="Name another place; what stands there is left alone.",
            )


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files whose writer is gone; returns what was removed."""
    swept = []
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        if _OWN.fullmatch(path.name) is None:
            continue
        with contextlib.suppress(OSError):
            if stat.S_ISREG(path.lstat().st_mode) and _is_abandoned(path):
                path.unlink()
                swept.append(path)
    return swept


def _is_abandoned(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this file system
        return time.time() - os.fstat(fd).st_mtime > STALE_SECONDS
    finally:
        os.close(fd)
    return True


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power failure, where the file system can."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)
