"""Putting a finished file in its place, so that nothing partial ever stands under a final name.

A file is written under a temporary name in its target folder, synced, and renamed. The temporary
file is locked while its writer lives: one that is not locked was left by a killed run and is swept.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hornet_convert.errors import DiskError
from hornet_convert.files.errors import disk_errors
from hornet_convert.interrupts import LOCK, tidying
from hornet_convert.text import printable

PREFIX: Final = ".hornet-convert-"
SUFFIX: Final = ".tmp"
FOLDER_LOCK: Final = ".lock"
_RANDOM: Final = "[0-9a-f]" * 16  # in a name, as a pattern of the shell
STALE_SECONDS: Final = 86400.0  # where locks do nothing, a leftover is known by its age

_unfinished: set[Path] = set()
"""What this process would leave behind if it ended now: temporary files and folders."""


class Temporary:
    """An open, locked temporary file: `fd` to write to, `path` where it stands for now."""

    def __init__(self, folder: Path) -> None:
        self._make(folder)
        while not _is_at(self.path, self.fd):  # swept between its making and its locking
            self.close()
            self._make(folder)

    def _make(self, folder: Path) -> None:
        self.path = folder / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
        with LOCK:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            _unfinished.add(self.path)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self.fd, fcntl.LOCK_EX)

    def publish(self, final: Path) -> None:
        """Rename to `final`, replacing a file that stands there, and sync the folder.

        Raises DiskError if something else stands there: a folder, a device, a FIFO.
        """
        refuse_special(final)
        self.path.replace(final)
        _unfinished.discard(self.path)
        sync_folder(final.parent)

    def close(self) -> None:
        """Close, and remove the file if it was not published."""
        if self.path in _unfinished:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            _unfinished.discard(self.path)
        os.close(self.fd)


def _is_at(path: Path, fd: int) -> bool:
    """Whether the open file is the one that has the path."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def temporary(folder: Path, option: str = "--out") -> Iterator[Temporary]:
    """A temporary file in `folder`, which is made if need be; gone afterwards unless published.

    `option` is the one by which the user can name another folder. Raises DiskError.
    """
    with disk_errors(folder, "creating a file", option):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        file = Temporary(folder)
    try:
        yield file
    finally:
        file.close()


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str, option: str = "--out") -> Iterator[Path]:
    """A folder of its own in `parent`, gone afterwards with all that is in it.

    Those that killed runs left there go first.
    """
    final = parent / f"{prefix}{secrets.token_hex(8)}"
    new = parent / f".{final.name}"
    with disk_errors(parent, "creating a temporary folder", option):
        parent.mkdir(parents=True, exist_ok=True)
        sweep_folders(parent, prefix)
        with LOCK:
            new.mkdir()
            _unfinished.update((new, final))
        fd = os.open(new / FOLDER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        with disk_errors(parent, "creating a temporary folder", option):
            new.rename(final)  # only what is locked has a name that is swept
        yield final
    finally:
        os.close(fd)
        for path in (new, final):
            shutil.rmtree(path, ignore_errors=True)
            _unfinished.discard(path)


def sweep_folders(parent: Path, prefix: str) -> None:
    """Remove the folders of `temporary_folder` whose maker is gone."""
    for folder in parent.glob(f"{prefix}{_RANDOM}"):
        with contextlib.suppress(OSError):
            fd, other = _opened_twice(folder / FOLDER_LOCK)
            try:
                if _locked(fd) and _locked(other) is False:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(fd)
                os.close(other)


def discard_unfinished() -> None:
    """Remove what this process would leave behind, because it is about to end at once."""
    for path in tuple(_unfinished):
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


tidying.append(discard_unfinished)


def publish_bytes(data: bytes, final: Path, option: str = "--out") -> None:
    """Write a small file whole, or not at all. Raises DiskError.

    `option` is the one by which the user can name another place.
    """
    with temporary(final.parent, option) as file, disk_errors(final, "writing", option):
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
    for path in folder.glob(f"{PREFIX}{_RANDOM}{SUFFIX}"):
        with contextlib.suppress(OSError):
            if stat.S_ISREG(path.lstat().st_mode) and _sweep_one(path):
                swept.append(path)
    return swept


def _sweep_one(path: Path) -> bool:
    """Remove a temporary file if it is abandoned; whether it was.

    The lock is held until the file is gone: its writer, who may be about to lock it, then finds it
    gone and makes another.
    """
    fd, other = _opened_twice(path)
    try:
        if _locked(fd) is False or not _is_at(path, fd):
            return False
        sure = _locked(other) is False  # else this file system has no locks, or pretends
        if not sure and time.time() - os.fstat(fd).st_mtime <= STALE_SECONDS:
            return False
        path.unlink()
        return True
    finally:
        os.close(fd)
        os.close(other)


def _opened_twice(path: Path) -> tuple[int, int]:
    """Two independent descriptors: a lock on the one keeps the other out, where there are locks."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags), os.open(path, flags)


def _locked(fd: int) -> bool | None:
    """Lock an open file: whether that went well, None where there are no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
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
