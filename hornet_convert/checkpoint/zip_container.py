"""The zip container of torch 1.6 and later: `<root>/data.pkl` and one stored entry per storage.

Source: torch/serialization.py, caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import io
import zlib

from hornet_convert.checkpoint.contents import Contents
from hornet_convert.checkpoint.files import read_at
from hornet_convert.checkpoint.inert import RefusedTensor, describe
from hornet_convert.checkpoint.pickle_scan import MAX_STRING, scan
from hornet_convert.checkpoint.pickles import Machine
from hornet_convert.checkpoint.tensors import Storage
from hornet_convert.checkpoint.torch_objects import StorageView, TorchMeaning, storage_type
from hornet_convert.checkpoint.zip_directory import Entry, read_directory
from hornet_convert.checkpoint.zip_record import MAX_RECORD, RECORD, parse_record
from hornet_convert.errors import (
    MalformedError,
    NotACheckpointError,
    UnsupportedError,
    printable,
)

MAX_VERSION = 10  # of the file format, the highest that torch 2.13 reads

# Names that mean something to torch, whose zip reader finds them in upper case too.
_KNOWN = frozenset(
    {
        "data.pkl",
        "byteorder",
        "version",
        "constants.pkl",
        ".format_version",
        ".storage_alignment",
        ".data/version",
        ".data/serialization_id",
        RECORD,
    }
)
_KNOWN_FOLDERS = frozenset({"data", ".data", "code", "constants"})


def read_zip(file: io.FileIO, size: int) -> Contents:
    """The contents of a zip checkpoint; of the tensors' bytes nothing is read.

    Raises MalformedError, UnsupportedError (TorchScript, compression) or NotACheckpointError.
    """
    entries = read_directory(file, size)
    _check_case(entries)
    root = _root(entries)
    _check_version(file, entries, root)
    meaning = ZipMeaning(size, entries, root, _is_big_endian(file, entries, root))
    data = _checked(file, entries[f"{root}/data.pkl"], MAX_STRING)
    end = scan(data, 0, size)
    if end != len(data):
        raise MalformedError(
            "something follows the pickle", where="data.pkl", found=f"{len(data) - end} more bytes"
        )
    machine = Machine(data, 0, meaning)
    return Contents(machine.run(), machine.globals_used, _record(file, entries, root))


class ZipMeaning(TorchMeaning):
    """Persistent ids ('storage', type, key, location, elements) looked up among the entries."""

    def __init__(self, size: int, entries: dict[str, Entry], root: str, big_endian: bool) -> None:
        super().__init__(size)
        self.entries = entries
        self.root = root
        self.big_endian = big_endian
        self.views: dict[str, tuple[tuple[str, int], StorageView]] = {}

    def persistent(self, pid: object) -> object:
        """The storage that a persistent id names. Raises MalformedError for anything else."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] not in ("storage", b"storage"):
            raise MalformedError("an unknown kind of stored object", found=describe(pid))
        _, kind, key, location, numel = pid
        dtype, itemsize = storage_type(kind)
        if not isinstance(key, str) or type(numel) is not int or numel < 0:
            raise MalformedError(
                "a storage without a proper key and count",
                found=f"{describe(key)}, {describe(numel)}",
            )
        claim = (dtype, numel)
        if key in self.views:
            claimed, view = self.views[key]
            if claimed != claim:
                raise MalformedError(f"two claims about one storage, {printable(key)!r}")
            return view
        entry = self.entries.get(f"{self.root}/data/{key}")
        if location in ("meta", b"meta"):
            return RefusedTensor("meta (shape only, no values)")
        if entry is None:
            raise MalformedError(
                "a storage is missing from the zip archive",
                expected=f"an entry data/{printable(key)}",
                hint="The file is incomplete: fetch it again.",
            )
        if entry.nbytes // itemsize != numel:
            raise MalformedError(
                "a storage has another size than the pickle says",
                where=f"zip entry data/{printable(key)}",
                expected=f"{numel} elements of {itemsize} bytes",
                found=f"{entry.nbytes} bytes",
            )
        storage = Storage(entry.offset, entry.nbytes, entry.crc32, self.big_endian)
        view = StorageView(storage, dtype, itemsize)
        self.views[key] = (claim, view)
        return view


def _check_case(entries: dict[str, Entry]) -> None:
    """Refuse `DATA.PKL` and the like, which torch would read and a strict reader pass over."""
    for entry in entries:
        name = entry.partition("/")[2]
        folder = name.partition("/")[0]
        if (name not in _KNOWN and name.casefold() in _KNOWN) or (
            folder not in _KNOWN_FOLDERS and folder.casefold() in _KNOWN_FOLDERS
        ):
            raise MalformedError(
                "a zip entry has a name of torch's in another case",
                expected=printable(name.casefold()),
                found=printable(name),
                hint="torch writes no such name: get the file from its source again.",
            )


def _root(entries: dict[str, Entry]) -> str:
    """The one folder that all entries stand in."""
    roots = {name.partition("/")[0] for name in entries if "/" in name}
    loose = [name for name in entries if "/" not in name]
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if any(_is_script(name.partition("/")[2]) for name in entries):
        raise UnsupportedError(
            "a TorchScript archive: a program, not a checkpoint",
            hint="Load it with torch.jit.load where you trust it, and save its state_dict().",
        )
    if len(pickles) > 1 or (pickles and (loose or len(roots) > 1)):
        raise MalformedError(
            "the zip archive has entries outside its folder",
            expected="one folder that holds everything",
            found=", ".join(printable(name, 60) for name in [*sorted(roots), *loose][:4]),
        )
    if not pickles:
        if len(roots) == 1 and not loose and _looks_like_torch(entries, *roots):
            raise MalformedError(
                "the zip archive has no data.pkl", hint="The file is incomplete: fetch it again."
            )
        raise NotACheckpointError(
            "a zip archive, but not one that torch wrote",
            expected="an entry <folder>/data.pkl",
            found=", ".join(printable(name, 60) for name in list(entries)[:4]) or "no entries",
        )
    return pickles[0].partition("/")[0]


def _is_script(name: str) -> bool:
    return name == "constants.pkl" or name.startswith("code/")


def _looks_like_torch(entries: dict[str, Entry], root: str) -> bool:
    return f"{root}/version" in entries or any(n.startswith(f"{root}/data/") for n in entries)


def _check_version(file: io.FileIO, entries: dict[str, Entry], root: str) -> None:
    entry = entries.get(f"{root}/.data/version") or entries.get(f"{root}/version")
    if entry is None:
        return
    text = _checked(file, entry, 64).strip()
    if not text.isdigit() or not 1 <= int(text) <= MAX_VERSION:
        raise UnsupportedError(
            "an unknown version of the checkpoint format",
            expected=f"1 to {MAX_VERSION}",
            found=printable(repr(text)),
        )


def _is_big_endian(file: io.FileIO, entries: dict[str, Entry], root: str) -> bool:
    entry = entries.get(f"{root}/byteorder")
    order = b"little" if entry is None else _checked(file, entry, 64)
    if order not in (b"little", b"big"):
        raise MalformedError("an unknown byte order", expected="little or big", found=repr(order))
    return order == b"big"


def _record(file: io.FileIO, entries: dict[str, Entry], root: str) -> dict[str, str]:
    """What a file of ours says of itself; nothing in any other."""
    entry = entries.get(f"{root}/{RECORD}")
    return {} if entry is None else parse_record(_checked(file, entry, MAX_RECORD))


def _checked(file: io.FileIO, entry: Entry, limit: int) -> bytes:
    """The bytes of an entry, compared with its checksum."""
    where = f"zip entry {printable(entry.name)!r}"
    if entry.nbytes > limit:
        raise MalformedError(
            "a zip entry is too large for what it is",
            where=where,
            expected=f"at most {limit} bytes",
            found=f"{entry.nbytes} bytes",
        )
    data = read_at(file, entry.offset, entry.nbytes)
    if zlib.crc32(data) != entry.crc32:
        raise MalformedError(
            "a zip entry does not match its checksum",
            where=where,
            expected=f"CRC-32 {entry.crc32:08x}",
            found=f"{zlib.crc32(data):08x}",
            hint="The file is damaged: fetch it again.",
        )
    return data
