"""Reading files: regular ones only, exact numbers of bytes, digests."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hornet_convert.errors import DiskError
from hornet_convert.text import printable

CHUNK: Final = 1 << 20
_LARGEST_READ: Final = 1 << 30

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """What has the path is no regular file; `kind` says what it is, "a directory"."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(errno.EINVAL, f"{kind}, not a file", str(path))
        self.kind = kind


def open_regular(path: Path) -> io.FileIO:
    """Open a regular file to read, unbuffered. Never waits, and opens no device.

    Raises OSError, for anything but a regular file NotRegularError.
    """
    _require_regular(path, path.stat().st_mode)
    file = io.FileIO(str(path), opener=_open_at_once)
    try:
        # Of what was opened, whatever the path means by now.
        _require_regular(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _require_regular(path: Path, mode: int) -> None:
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is not None:
        raise NotRegularError(path, kind)


def read_at(file: io.FileIO, offset: int, count: int) -> bytes:
    """Exactly `count` bytes from `offset`; the caller has checked that the file is long enough.

    Raises DiskError if they cannot be read, also if the file has become shorter meanwhile.
    """
    buffer = bytearray(count)
    read_into(file, offset, memoryview(buffer))
    return bytes(buffer)


def read_into(file: io.FileIO, offset: int, target: memoryview) -> None:
    """Fill `target` from `offset` on. Raises DiskError as `read_at` does."""
    done = 0
    try:
        while done < len(target):
            window = target[done : done + _LARGEST_READ]
            count = os.preadv(file.fileno(), [window], offset + done)
            if count == 0:
                raise DiskError(
                    "the file became shorter while it was read",
                    where=_name(file),
                    expected=f"{offset + len(target)} bytes",
                    found=f"{offset + done} bytes",
                    hint="Something else is writing to it: wait for that to finish and try again.",
                )
            done += count
    except OSError as error:
        raise DiskError(
            "the file cannot be read", where=_name(file), found=str(error.strerror)
        ) from error


def _name(file: io.FileIO) -> str | None:
    # A descriptor is no name: whoever knows the path adds it.
    return printable(str(file.name)) if isinstance(file.name, str) else None


def sha256_of(path: Path, *, seen: Callable[[int], None] | None = None) -> tuple[str, int]:
    """SHA-256 in hex and length in bytes of a regular file.

    `seen` is called with the number of bytes read so far. Raises OSError.
    """
    digest, length = hashlib.sha256(), 0
    buffer = memoryview(bytearray(CHUNK))
    with open_regular(path) as file:
        while got := file.readinto(buffer):
            digest.update(buffer[:got])
            length += got
            if seen is not None:
                seen(length)
    return digest.hexdigest(), length
