"""What a file is, by its kind and its first bytes."""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path
from typing import Final, Literal

from hornet_convert.checkpoint.files import read_at
from hornet_convert.checkpoint.pickle_scan import scan
from hornet_convert.errors import (
    DiskError,
    MalformedError,
    NotACheckpointError,
    UnsupportedError,
    UsageError,
    printable,
)

Container = Literal["zip", "legacy", "safetensors"]

_HEAD: Final = 4096
_MAX_TEXT_PICKLE: Final = 1 << 20
_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# (first bytes, what such a file is, what to do next)
_SIGNATURES: Final = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer", "Run `git lfs pull`."),
    (b"\x1f\x8b", "gzip data", "Unpack it with gunzip first."),
    (b"BZh", "bzip2 data", "Unpack it first."),
    (b"\xfd7zXZ\x00", "xz data", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "zstandard data", "Unpack it first."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", None),
    (b"GGUF", "a GGUF file", None),
    (b"\x93NUMPY", "a numpy array", None),
    (b"\x89PNG", "a PNG image", None),
    (b"\xff\xd8\xff", "a JPEG image", None),
    (b"%PDF", "a PDF document", None),
    (b"\x7fELF", "a program", None),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first."),
    (b"Rar!", "a rar archive", "Unpack it first."),
)
_AGAIN: Final = "Get the checkpoint from its source again, or from another one."
_HTML: Final = re.compile(rb"<!doctype\s+html|<html\b|<head\b|<title\b|<body\b", re.IGNORECASE)
_TITLE: Final = re.compile(rb"<title[^>]{0,200}>(.{0,400}?)</title", re.IGNORECASE | re.DOTALL)


def open_regular(path: Path) -> tuple[io.FileIO, int]:
    """The open file, unbuffered, and its size. Never waits, and opens no device.

    Raises UsageError if there is none, NotACheckpointError for what is no regular file, DiskError
    if it may not be read.
    """
    shown = printable(str(path))
    try:
        _check_kind(path.stat().st_mode, shown)
        file = io.FileIO(str(path), "rb", opener=_open_at_once)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError("there is no such file", where=shown, hint="Check the path.") from error
    except OSError as error:
        raise DiskError("the file cannot be opened", where=shown, found=error.strerror) from error
    try:
        status = os.fstat(file.fileno())  # of what was opened, whatever the path means by now
        _check_kind(status.st_mode, shown)
    except BaseException:
        file.close()
        raise
    return file, status.st_size


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _check_kind(mode: int, shown: str) -> None:
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise NotACheckpointError(
                f"{name}, not a file", where=shown, hint="Give the path of a checkpoint file."
            )


def sniff(file: io.FileIO, size: int) -> Container:
    """Which reader the file is for.

    Raises NotACheckpointError, UnsupportedError or MalformedError that names what it is instead.
    """
    if size == 0:
        raise NotACheckpointError("the file is empty", hint=_AGAIN)
    head = read_at(file, 0, min(size, _HEAD))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if size > 8 and head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return "safetensors"
    for signature, name, hint in _SIGNATURES:
        if head.startswith(signature):
            raise NotACheckpointError(f"{name}, not a checkpoint", hint=hint or _AGAIN)
    if head[257:262] == b"ustar" or _is_old_tar(head):
        raise UnsupportedError(
            "a tar archive, as torch wrote checkpoints before 0.1.11",
            hint="Load it with torch where you trust it, and save it again.",
        )
    _refuse_text(head)
    if _ends_like_zip(file, size):
        raise MalformedError(
            "something stands before the zip archive",
            expected="PK at byte 0",
            found=printable(repr(head[:16])),
            hint="torch writes no such bytes: get the file from its source again.",
        )
    if head[:1] == b"\x80" or _is_text_pickle(file, size, head):
        return "legacy"
    raise NotACheckpointError(
        "not a checkpoint of any kind known here",
        expected="a zip or legacy file of torch, or safetensors",
        found=f"a file of {size} bytes that starts with {printable(repr(head[:16]))}",
        hint=_AGAIN,
    )


def _refuse_text(head: bytes) -> None:
    """Name a web page, XML or JSON that came instead of a checkpoint."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        if _HTML.search(text):
            title = _TITLE.search(text)
            quoted = "" if title is None else " ".join(title[1].decode("utf-8", "replace").split())
            raise NotACheckpointError(
                "got an HTML page, not a checkpoint",
                found=f"a page titled {printable(quoted, 100)!r}" if quoted else None,
                hint=_AGAIN,
            )
        raise NotACheckpointError("got XML, not a checkpoint", hint=_AGAIN)
    if text[:1] in (b"{", b"[") and b"\0" not in text and re.match(rb"[{\[]\s*[\"{\[\]}\d]", text):
        raise NotACheckpointError(
            "got JSON, not a checkpoint", found=printable(repr(text[:60])), hint=_AGAIN
        )


def _is_text_pickle(file: io.FileIO, size: int, head: bytes) -> bool:
    """Torch's magic number in protocol 0 or 1, or a whole pickle of them, which has no mark."""
    if re.match(rb"L\d{10,40}L?\n\.", head):
        return True
    if size > _MAX_TEXT_PICKLE or head[:1] not in b"(c]}I" or read_at(file, size - 1, 1) != b".":
        return False
    try:
        return scan(read_at(file, 0, size), 0, size) == size
    except MalformedError:
        return False


def _is_old_tar(head: bytes) -> bool:
    """A tar header by the rules of Python's tarfile, which torch.load asks before all else.

    It takes more forms of the checksum than the octal of the standard.
    """
    import tarfile  # imported here: only a legacy file gets this far

    try:
        tarfile.TarInfo.frombuf(head[:512], tarfile.ENCODING, "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _ends_like_zip(file: io.FileIO, size: int) -> bool:
    return size > 22 and read_at(file, size - 22, 4) == b"PK\x05\x06"
