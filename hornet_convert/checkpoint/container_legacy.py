"""The container torch wrote before 1.6: five pickles back to back, then the storages.

The pickles are a magic number, the protocol version, system information, the object, and the keys
of the storages; then for each key an int64 count of elements and the elements, always
little-endian. Source: torch/serialization.py, torch/csrc/serialization.cpp.
"""

from __future__ import annotations

import io
from functools import partial
from typing import Final

from hornet_convert.checkpoint.inert import Call, Contents, describe
from hornet_convert.checkpoint.pickle_stream import Stream
from hornet_convert.checkpoint.pickles import MAX_MEMORY, Machine, Meaning
from hornet_convert.checkpoint.refusals import cut_off, not_of_torch
from hornet_convert.checkpoint.tensors import Storage
from hornet_convert.checkpoint.torch_names import MAGIC
from hornet_convert.checkpoint.torch_objects import StorageId, TorchMeaning, storage_key
from hornet_convert.errors import MalformedError, NotACheckpointError, UnsupportedError
from hornet_convert.files.reading import read_at
from hornet_convert.text import listed, printable

PROTOCOL: Final = 1001
_LONG: Final = b"\x8a\n" + MAGIC.to_bytes(10, "little") + b"."
# The magic number in every protocol of pickle, as it writes it and in no other form.
_BEGINNINGS: Final = (
    b"L%dL\n." % MAGIC,
    b"\x80\x02" + _LONG,
    b"\x80\x03" + _LONG,
    b"\x80\x04\x95\r\0\0\0\0\0\0\0" + _LONG,
    b"\x80\x05\x95\r\0\0\0\0\0\0\0" + _LONG,
)


def read_legacy(file: io.FileIO, size: int) -> Contents:
    """The contents of a legacy checkpoint; of the tensors' bytes nothing is read.

    Raises NotACheckpointError for a pickle that torch did not write, MalformedError otherwise.
    """
    read = partial(read_at, file)
    stream = Stream(read, _end_of_magic(file, size), size)
    protocol = _plain(stream, "protocol version")
    if protocol != PROTOCOL:
        raise UnsupportedError("an unknown legacy format", found=describe(protocol))
    _plain(stream, "system information")
    # The object comes first, but how long each storage is stands in it. So it is read twice: for
    # what it says of storages, and again when it is known where they lie.
    start, meaning = stream.tell(), _LegacyMeaning()
    Machine(stream, meaning, MAX_MEMORY + size).run()
    keys = _plain(stream, "storage keys")
    meaning.offsets = _locate(file, size, stream.tell(), keys, meaning.claims)
    machine = Machine(Stream(read, start, size), meaning, MAX_MEMORY + size)
    return machine.run(), machine.globals_used, {}


def _end_of_magic(file: io.FileIO, size: int) -> int:
    """Position after the magic number; anything else is some other program's pickle."""
    head = read_at(file, 0, min(size, max(map(len, _BEGINNINGS))))
    for beginning in _BEGINNINGS:
        if head.startswith(beginning):
            return len(beginning)
        if size > 4 and beginning.startswith(head):
            raise cut_off("the file ends within its first pickle", len(beginning), size)
    raise NotACheckpointError(
        "a pickle, but not one that torch wrote",
        expected="torch's magic number first",
        hint="Nothing of it was run. Convert it with the program that wrote it.",
    )


def _plain(stream: Stream, what: str) -> object:
    """The value of one of the pickles around the object.

    Raises MalformedError for a name to import, which a plain load would follow here too.
    """
    machine = Machine(stream, Meaning())
    value = machine.run()
    if machine.globals_used:
        names = listed([printable(name, 60) for name in machine.globals_used], most=4)
        raise not_of_torch(f"the pickle of the {what} imports names", found=names)
    return value


class _LegacyMeaning(TorchMeaning):
    """Storages at `offsets`, views of them, and the classes of modules."""

    def __init__(self) -> None:
        super().__init__(6, self._storage)
        self.offsets: dict[str, int] | None = None
        self.views: dict[str, tuple[str, int, int]] = {}

    def persistent(self, pid: object) -> object:
        """A storage, or of ('module', class, source file, source) the class."""
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] in ("module", b"module"):
            return pid[1]
        return super().persistent(pid)

    def call(self, call: Call) -> object:
        """What torch would make, once it is known from what."""
        return call if self.offsets is None else super().call(call)

    def _storage(self, found: StorageId) -> Storage:
        at = (self.offsets or {}).get(found.key, 0)
        if found.view is None:
            return Storage(at, found.numel * found.itemsize)
        match found.view:  # as torch 0.1 to 0.3 wrote it
            case (view_key, int(first), int(numel)) if min(first, numel) >= 0:
                key = storage_key(view_key)
            case _:
                raise MalformedError("an invalid view of a storage", found=describe(found.view))
        if first + numel > found.numel:
            raise MalformedError("a view reaches beyond its storage", found=describe(found.view))
        # torch keeps views and storages under one set of keys: the first one counts.
        claim = (found.key, first, numel)
        if key in self.claims or self.views.setdefault(key, claim) != claim:
            raise MalformedError(f"two conflicting records of one view of a storage, {key!r}")
        return Storage(at + first * found.itemsize, numel * found.itemsize)


def _locate(
    file: io.FileIO, size: int, position: int, keys: object, claims: dict[str, StorageId]
) -> dict[str, int]:
    """Where the bytes of each storage lie; every one claimed is there, nothing else is."""
    if not isinstance(keys, list):
        raise MalformedError("the storage keys are not a list", found=describe(keys))
    offsets: dict[str, int] = {}
    for given in keys:
        claim = claims.get(key := storage_key(given))
        if claim is None:
            raise MalformedError("a storage that nothing refers to", found=key)
        if key in offsets:
            raise MalformedError("a storage occurs twice in the file", found=key)
        offsets[key] = position + 8
        end = position + 8 + claim.numel * claim.itemsize
        if position + 8 <= size:
            count = int.from_bytes(read_at(file, position, 8), "little", signed=True)
            if count != claim.numel:
                raise MalformedError(
                    f"storage {key!r} does not have the size that the pickle says",
                    expected=f"{claim.numel} elements",
                    found=str(count),
                )
        if end > size:
            raise cut_off("the file ends within a storage", end, size, f"storage {key!r}")
        position = end
    missing = [key for key in claims if key not in offsets]
    if missing:
        raise MalformedError("storages that the file does not hold", found=listed(missing))
    if position != size:
        expected, found = f"{position} bytes", f"{size} bytes"
        raise not_of_torch("there is data after the last storage", expected=expected, found=found)
    return offsets
