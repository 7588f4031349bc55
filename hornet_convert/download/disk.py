"""Disk errors said in one way, and small files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from hornet_convert.download.digests import open_regular
from hornet_convert.errors import DiskError

TEMPORARY = ".tmp-"

_ELSEWHERE = "Name a folder you may write to with --cache or HORNET_CONVERT_CACHE."
_HINTS = {
    errno.ENOSPC: "Free some space there (`hornet-convert cache list` shows what the cache holds), "
    "or name another folder with --cache.",
    errno.EDQUOT: "Free some of your quota, or name another folder with --cache.",
    errno.EFBIG: "The file system or a limit of this process allows no file of that size: "
    "name another folder with --cache.",
    errno.EIO: "The disk reports a defect: name another folder with --cache.",
}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def disk_errors(where: Path, doing: str) -> Iterator[None]:
    """Turn an OSError inside into a DiskError that names the place and what to do."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, where, doing) from error


def disk_error(error: OSError, where: Path, doing: str) -> DiskError:
    """The DiskError that says what `error` means for whoever waits for the file."""
    reason = error.strerror or str(error) or type(error).__name__
    hint = _HINTS.get(error.errno or 0, _ELSEWHERE)
    return DiskError(f"{doing} failed: {reason}", where=str(where), hint=hint)


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Replace a small JSON file atomically; mode by umask. Raises OSError."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_json(path: Path, limit: int = 1 << 20) -> dict[str, object] | None:
    """The object a small JSON file holds; None if there is none or it is damaged. Raises OSError.

    Anything but a regular file is an OSError, without waiting for a FIFO's other end. Sidecars are
    written by this package alone, so a damaged one means "know nothing", never more.
    """
    try:
        with io.BufferedReader(open_regular(path)) as file:
            text = file.read(limit + 1)
        document = json.loads(text) if len(text) <= limit else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
