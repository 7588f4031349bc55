"""What a file is, by its kind and its first bytes."""

from __future__ import annotations

import io
import pickletools
import re
from functools import partial
from typing import Final, Literal

from hornet_convert.checkpoint.pickle_stream import OPCODES, Stream, TooLargeError
from hornet_convert.checkpoint.pickles import Machine, Meaning
from hornet_convert.checkpoint.refusals import not_of_torch
from hornet_convert.checkpoint.torch_names import MAGIC
from hornet_convert.errors import MalformedError, NotACheckpointError, UnsupportedError
from hornet_convert.files.reading import read_at
from hornet_convert.text import printable

Container = Literal["zip", "legacy", "safetensors", "onnx"]

_HEAD: Final = 4096
_MAX_TEXT_PICKLE: Final = 1 << 20
_MAX_STEPS: Final = 100_000
_MAKES_NUMBERS: Final = frozenset(
    ["INT", "LONG", "GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"]
)
# What the pickle of a number cannot do: torch.load gives it no objects from elsewhere.
_WITHOUT_HELP: Final = frozenset(["PERSID", "BINPERSID", "NEXT_BUFFER"])
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
_AGAIN: Final = "Fetch the checkpoint again, from its source or another one."
_HTML: Final = re.compile(rb"<!doctype\s+html|<html\b|<head\b|<title\b|<body\b", re.IGNORECASE)
_TITLE: Final = re.compile(rb"<title[^>]{0,200}>(.{0,400}?)</title", re.IGNORECASE | re.DOTALL)


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
        _refuse_other_readers(file, size, head)
        if _may_be_torch_pickle(file, size):
            raise MalformedError(
                "a safetensors file that is a pickle too: readers would find different weights",
                hint=_AGAIN,
            )
        return "safetensors"
    for signature, name, hint in _SIGNATURES:
        if head.startswith(signature):
            raise NotACheckpointError(f"{name}, not a checkpoint", hint=hint or _AGAIN)
    _refuse_text(head)
    _refuse_other_readers(file, size, head)
    if re.match(rb"\x08[\x01-\x7f]", head):  # an ONNX model's first field: its IR version
        return "onnx"
    if head[:1] == b"\x80" or _is_text_pickle(file, size, head):
        return "legacy"
    raise NotACheckpointError(
        "not a checkpoint of any known kind",
        expected="a zip or legacy file of torch, safetensors or ONNX",
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
    stream = Stream(partial(read_at, file), 0, size)
    try:
        Machine(stream, Meaning()).run()
    except MalformedError:
        return False
    return stream.tell() == size


def _refuse_other_readers(file: io.FileIO, size: int, head: bytes) -> None:
    """Refuse what torch takes for a tar archive, or others for a zip archive behind something."""
    import tarfile  # imported here: a zip file, the usual one, does not get this far
    import zipfile

    try:
        # By the rules of Python's tarfile, which torch.load asks before all else.
        tarfile.TarInfo.frombuf(head[:512], tarfile.ENCODING, "surrogateescape")
    except tarfile.TarError:
        pass
    else:
        raise UnsupportedError(
            "a tar archive, as torch wrote checkpoints before 0.1.11",
            hint="Load it with torch where you trust it, and save it again.",
        )
    if zipfile.is_zipfile(file):
        found = printable(repr(head[:16]))
        raise not_of_torch("there is data before the zip archive", found=found)


def _may_be_torch_pickle(file: io.FileIO, size: int) -> bool:
    """Whether an unpickler that starts at byte 0 could find torch's magic number there.

    It could if it gets to the end of a pickle past a number, or past a name, which may make one.
    """
    stream = Stream(partial(read_at, file), 0, size, skipping=True)
    found, depth = False, 0  # of the stack, at most
    try:
        for _ in range(_MAX_STEPS):
            op, read = OPCODES.get(stream.opcode(), (None, None))
            if op is None or op.name in _WITHOUT_HELP:
                return False
            # What lies above a mark may be nothing.
            depth -= len(op.stack_before) - (pickletools.markobject in op.stack_before)
            if depth < op.name.endswith("PUT"):  # which needs a value, and leaves it there
                return False
            if op.name == "STOP":
                return found
            raw = b"" if read is None else read(stream)
            depth += len(op.stack_after)
            if op.name in ("GLOBAL", "INST"):
                raw.decode()  # as an import would
            if op.name in ("LONG1", "LONG4"):  # skipped, it may be any number
                found = found or not raw or int.from_bytes(raw, "little") == MAGIC
            found = found or op.name in _MAKES_NUMBERS
    except TooLargeError:
        return True
    except (MalformedError, UnicodeDecodeError):
        return False
    return True
