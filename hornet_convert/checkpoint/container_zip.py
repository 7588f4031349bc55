"""The zip container of torch 1.6 and later: `<root>/data.pkl` and one stored entry per storage.

Source: torch/serialization.py, caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import io
import zlib

from hornet_convert.checkpoint.inert import Contents
from hornet_convert.checkpoint.metadata import MAX_RECORD, RECORD, parse_record
from hornet_convert.checkpoint.pickle_stream import MAX_PICKLE, Stream
from hornet_convert.checkpoint.pickles import MAX_MEMORY, Machine
from hornet_convert.checkpoint.refusals import not_of_torch
from hornet_convert.checkpoint.tensors import Storage
from hornet_convert.checkpoint.torch_objects import StorageId, TorchMeaning
from hornet_convert.checkpoint.zip_directory import Entry, read_directory
from hornet_convert.errors import MalformedError, NotACheckpointError, UnsupportedError
from hornet_convert.files.reading import read_at
from hornet_convert.text import listed, printable

MAX_VERSION = 10  # of the file format, the highest that torch 2.13 reads
_MAX_SHORT = 64  # bytes of a version or a byte order

# Names that mean something to torch, whose zip reader finds them in upper case too.
_KNOWN = frozenset(
    {
        *("data.pkl", "byteorder", "version", "constants.pkl", RECORD),
        *(".format_version", ".storage_alignment", ".data/version", ".data/serialization_id"),
    }
)
_KNOWN_FOLDERS = frozenset({"data", ".data", "code", "constants"})


def read_zip(file: io.FileIO, size: int) -> Contents:
    """The contents of a zip checkpoint; of the tensors' bytes nothing is read.

    Raises MalformedError, UnsupportedError (TorchScript, compression) or NotACheckpointError.
    """
    archive = _Archive(file, _in_one_folder(read_directory(file, size, _refuse_programs)))
    _check_version(archive)
    order = archive.bytes_of("byteorder", _MAX_SHORT)
    if order not in (None, b"little", b"big"):
        raise MalformedError("an unknown byte order", expected="little or big", found=repr(order))
    alignment = archive.bytes_of(".storage_alignment", _MAX_SHORT)
    if alignment is not None and not alignment.isdigit():
        raise MalformedError(
            "an invalid alignment of storages", expected="a number", found=repr(alignment)
        )
    data = archive.bytes_of("data.pkl", MAX_PICKLE) or b""
    stream = Stream(lambda at, count: data[at : at + count], 0, len(data))
    meaning = TorchMeaning(5, lambda found: archive.storage(found, order == b"big"))
    machine = Machine(stream, meaning, MAX_MEMORY + size)
    root = machine.run()
    if stream.tell() != len(data):
        more = f"{len(data) - stream.tell()} more bytes"
        raise not_of_torch("there is data after the pickle", where="data.pkl", found=more)
    record = archive.bytes_of(RECORD, MAX_RECORD)
    return root, machine.globals_used, {} if record is None else parse_record(record)


class _Archive:
    """The entries of a zip file by their names within its one folder."""

    def __init__(self, file: io.FileIO, entries: dict[str, Entry]) -> None:
        self.file = file
        self.entries = entries

    def bytes_of(self, name: str, limit: int) -> bytes | None:
        """The bytes of an entry, compared with its checksum; None if there is no such entry."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.nbytes > limit:
            raise not_of_torch(
                f"the zip entry {name!r} is too large for what it is",
                expected=f"at most {limit} bytes",
                found=f"{entry.nbytes} bytes",
            )
        data = read_at(self.file, entry.offset, entry.nbytes)
        if zlib.crc32(data) != entry.crc32:
            raise MalformedError(
                f"the zip entry {name!r} does not match its checksum",
                expected=f"CRC-32 {entry.crc32:08x}",
                found=f"{zlib.crc32(data):08x}",
                hint="The file is damaged: fetch it again.",
            )
        return data

    def storage(self, found: StorageId, big_endian: bool) -> Storage:
        """Where the bytes of a storage stand."""
        entry = self.entries.get(f"data/{found.key}")
        if entry is None:
            expected = f"an entry data/{found.key}"
            raise not_of_torch("a storage is missing from the zip archive", expected=expected)
        if entry.nbytes != found.numel * found.itemsize:
            raise MalformedError(
                f"the zip entry data/{found.key} does not have the size that the pickle says",
                expected=f"{found.numel} elements of {found.itemsize} bytes",
                found=f"{entry.nbytes} bytes",
            )
        return Storage(entry.offset, entry.nbytes, entry.crc32, big_endian)


def _refuse_programs(names: list[str]) -> None:
    """Name the archives of torch that hold programs, whatever else is wrong with them."""
    inner = [name.partition("/")[2] for name in names]
    if any(name == "constants.pkl" or name.startswith("code/") for name in inner):
        raise UnsupportedError(
            "a TorchScript archive: a program, not a checkpoint",
            hint="Load it with torch.jit.load where you trust it, and save its state_dict().",
        )
    if any(name == "archive_format" or name.startswith("models/") for name in inner):
        raise UnsupportedError(
            "an exported program (.pt2): not a checkpoint",
            hint="Load it with torch.export.load where you trust it, and save its state_dict.",
        )


def _in_one_folder(entries: dict[str, Entry]) -> dict[str, Entry]:
    """The entries by their names without the one folder that all of them stand in."""
    roots = {name.partition("/")[0] for name in entries}
    inner = {name.partition("/")[2]: entry for name, entry in entries.items()}
    for name in inner:
        folder = name.partition("/")[0]
        if (name not in _KNOWN and name.casefold() in _KNOWN) or (
            folder not in _KNOWN_FOLDERS and folder.casefold() in _KNOWN_FOLDERS
        ):
            what = "a zip entry has a name of torch's in another case"
            raise not_of_torch(what, expected=printable(name.casefold()), found=printable(name))
    shown = listed([printable(name, 60) for name in entries], most=4)
    by_torch = "version" in inner or any(name.startswith("data/") for name in inner)
    if "data.pkl" not in inner and not (len(roots) == 1 and by_torch):
        raise NotACheckpointError(
            "a zip archive, but not one that torch wrote",
            expected="an entry <folder>/data.pkl",
            found=shown or "no entries",
        )
    if len(roots) > 1 or "" in inner:
        raise not_of_torch("the zip archive has entries outside its folder", found=shown)
    if "data.pkl" not in inner:
        raise not_of_torch("the zip archive has no data.pkl", found=shown)
    return inner


def _check_version(archive: _Archive) -> None:
    """Of two versions, torch takes the one in `.data`; without any, it refuses the file."""
    text = archive.bytes_of(".data/version", _MAX_SHORT)
    if text is None:
        text = archive.bytes_of("version", _MAX_SHORT) or b""
    number = text.strip()
    if not number.isdigit() or not 1 <= int(number) <= MAX_VERSION:
        raise UnsupportedError(
            "an unknown version of the checkpoint format",
            expected=f"1 to {MAX_VERSION}",
            found=printable(repr(text)),
        )
