"""What the operating system says of a disk, as an error that says what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hornet_convert.errors import DiskError
from hornet_convert.text import printable

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# {folder} is what to name another folder with.
_ELSEWHERE: Final = "Name a folder you may write to with {folder}."
_HINTS: Final = {
    errno.ENOSPC: "Free some space there, or name another folder with {folder}.",
    errno.EDQUOT: "Free some of your quota, or name another folder with {folder}.",
    errno.EFBIG: "The file system or a limit of this process allows no file of that size: "
    "name another folder with {folder}.",
    errno.EIO: "The disk reports a defect: name another folder with {folder}.",
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.ENOTDIR: "Name a folder with {folder}.",
    errno.EEXIST: "Name a folder with {folder}.",
}


@contextlib.contextmanager
def disk_errors(where: Path, doing: str, folder: str = "--out") -> Iterator[None]:
    """Turn an OSError inside into a DiskError that names the place and what to do.

    `folder` is the option by which the user can name another folder.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(error, where, doing, folder) from error


def disk_error(error: OSError, where: Path, doing: str, folder: str = "--out") -> DiskError:
    """The DiskError that says what `error` means for whoever waits for the file."""
    reason = error.strerror or str(error) or type(error).__name__
    hint = _HINTS.get(error.errno or 0, _ELSEWHERE).format(folder=folder)
    if doing.startswith("reading"):
        hint = "Check its permissions and the disk."
    return DiskError(f"{doing} failed: {reason}", where=printable(str(where), 1000), hint=hint)
