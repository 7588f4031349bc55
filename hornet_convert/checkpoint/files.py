"""An open file and the bytes of it: every read is exact, or an error that says why not."""

from __future__ import annotations

import io
import os

from hornet_convert.errors import DiskError, printable


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
            count = os.preadv(file.fileno(), [target[done : done + (1 << 30)]], offset + done)
            if count == 0:
                raise DiskError(
                    "the file became shorter while it was read",
                    where=printable(str(file.name)),
                    hint="Make sure nothing else writes to it, then try again.",
                )
            done += count
    except OSError as error:
        raise DiskError(
            "the file cannot be read", where=printable(str(file.name)), found=str(error.strerror)
        ) from error
