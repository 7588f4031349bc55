"""The container torch wrote before 1.6: five pickles back to back, then the storages.

The pickles are a magic number, the protocol version, system information, the object, and the keys
of the storages; then for each key an int64 count of elements and the elements, always
little-endian. Source: torch/serialization.py, torch/csrc/serialization.cpp.
"""

from __future__ import annotations

import io
from typing import Final

from hornet_convert.checkpoint.contents import Contents
from hornet_convert.checkpoint.files import read_at
from hornet_convert.checkpoint.inert import Call, Global, RefusedTensor, describe
from hornet_convert.checkpoint.pickle_scan import MAX_STRING, TruncatedError, scan
from hornet_convert.checkpoint.pickles import Machine, Meaning
from hornet_convert.checkpoint.tensors import Storage
from hornet_convert.checkpoint.torch_objects import StorageView, TorchMeaning, storage_type
from hornet_convert.errors import MalformedError, NotACheckpointError, UnsupportedError, printable

MAGIC: Final = 0x1950A86A20F9469CFC6C
PROTOCOL: Final = 1001
_MAGIC_PICKLE: Final = b"\x8a\n" + MAGIC.to_bytes(10, "little") + b"."
_FIRST_READ: Final = 1 << 18
_LONGEST_MAGIC: Final = 64  # bytes of the first pickle, in any protocol

# Text, or an integer's bytes: integers can be made to share one hash, which takes quadratic time.
Key = str | bytes


def read_legacy(file: io.FileIO, size: int) -> Contents:
    """The contents of a legacy checkpoint; of the tensors' bytes nothing is read.

    Raises NotACheckpointError for a pickle that torch did not write, MalformedError otherwise.
    """
    prefix = _Prefix(file, size)
    starts = [0, _end_of_magic(prefix)]
    for _ in range(4):
        starts.append(prefix.end_of_pickle(starts[-1]))
    data = prefix.data
    protocol = _plain(data, starts[1], "protocol version")
    if protocol != PROTOCOL:
        raise UnsupportedError(
            "an unknown version of the legacy format",
            expected=str(PROTOCOL),
            found=describe(protocol),
        )
    _plain(data, starts[2], "system information")
    # The object comes first, but how long each storage is stands in it. So it is read twice: once
    # for the claims about storages, and again when it is known where they lie.
    claims = _Claims()
    Machine(data, starts[3], claims).run()
    keys = _plain(data, starts[4], "storage keys")
    storages = _locate(file, size, starts[5], keys, claims.by_key)
    machine = Machine(data, starts[3], _LegacyMeaning(size, storages))
    return Contents(machine.run(), machine.globals_used)


def _end_of_magic(prefix: _Prefix) -> int:
    """Position after the magic number; anything else is some other program's pickle."""
    head = prefix.data[:_LONGEST_MAGIC]
    try:
        end = scan(head, 0, len(head))
        is_torch = Machine(head, 0, Meaning()).run() == MAGIC
    except MalformedError:
        if len(head) > 4 and _MAGIC_PICKLE.startswith(head[2:]):
            raise _ends_within_pickles(len(_MAGIC_PICKLE) + 2, prefix.size) from None
        is_torch = False
    if is_torch:
        _plain(head, 0, "magic number")
        return end
    raise NotACheckpointError(
        "a pickle, but not one that torch wrote",
        expected="torch's magic number first",
        hint="Nothing of it was run. Convert it with the program that wrote it.",
    )


def _plain(data: bytes, start: int, what: str) -> object:
    """The value of one of the pickles around the object.

    Raises MalformedError for a name to import, which a plain load would follow here too.
    """
    machine = Machine(data, start, Meaning())
    value = machine.run()
    if machine.globals_used:
        raise MalformedError(
            f"the pickle of the {what} asks to import names",
            expected="none: torch writes only plain values there",
            found=", ".join(printable(name, 60) for name in [*machine.globals_used][:4]),
            hint="Nothing of it was run. Get the file from its source again.",
        )
    return value


class _Prefix:
    """As much of the beginning of the file as its pickles need."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self.file = file
        self.size = size
        self.data = read_at(file, 0, min(size, _FIRST_READ))

    def end_of_pickle(self, start: int) -> int:
        """Position after the pickle at `start`, reading more of the file until it ends."""
        while True:
            try:
                return scan(self.data, start, self.size)
            except TruncatedError as error:
                if error.need > self.size:
                    raise _ends_within_pickles(error.need, self.size) from error
                if error.need > MAX_STRING:
                    raise MalformedError(
                        "pickles beyond all measure",
                        expected=f"at most {MAX_STRING} bytes",
                        found=f"at least {error.need} bytes",
                    ) from error
                # Twice as much each time, so that all scans together stay linear.
                wanted = min(self.size, max(error.need, 2 * len(self.data)))
                self.data += read_at(self.file, len(self.data), wanted - len(self.data))


def _ends_within_pickles(need: int, size: int) -> MalformedError:
    return MalformedError(
        "the file ends within its pickles",
        expected=f"at least {need} bytes",
        found=f"{size} bytes",
        hint="The file is cut off: fetch it again.",
    )


def _key(value: object) -> Key | None:
    """The key that a value of the pickle is, None if it can be none."""
    if type(value) is int:
        return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return value if isinstance(value, str) else None


class _StorageId:
    """A persistent id ('storage', type, key, location, elements, view), its parts checked."""

    def __init__(self, pid: object) -> None:
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] not in ("storage", b"storage"):
            raise MalformedError("an unknown kind of stored object", found=describe(pid))
        _, kind, given, self.location, numel, view = pid
        self.dtype, self.itemsize = storage_type(kind)
        key = _key(given)
        if key is None:
            raise MalformedError("a storage without a proper key", found=describe(given))
        if type(numel) is not int or numel < 0:
            raise MalformedError("a storage without a proper count", found=describe(numel))
        self.key: Key = key
        self.numel: int = numel
        self.view = _view(view)

    @property
    def claim(self) -> tuple[str, int, int]:
        """Element type, bytes of an element and count: the same wherever the key is named."""
        return self.dtype, self.itemsize, self.numel


def _view(view: object) -> tuple[Key, int, int] | None:
    """(key, offset, elements) of a view of a storage, as torch 0.1 to 0.3 wrote it."""
    if view is None:
        return None
    if isinstance(view, tuple) and len(view) == 3:
        given, offset, numel = view
        key = _key(given)
        counts = type(offset) is int and type(numel) is int and offset >= 0 and numel >= 0
        if counts and key is not None:
            return key, offset, numel
    raise MalformedError("a broken view of a storage", found=describe(view))


def _module(pid: object) -> object | None:
    """The class in a persistent id ('module', class, source file, source)."""
    if isinstance(pid, tuple) and len(pid) == 4 and pid[0] in ("module", b"module"):
        return pid[1] if isinstance(pid[1], Global) else None
    return None


class _Claims(Meaning):
    """Notes what the object says about its storages."""

    def __init__(self) -> None:
        self.by_key: dict[Key, tuple[str, int, int]] = {}

    def persistent(self, pid: object) -> object:
        if _module(pid) is None:
            found = _StorageId(pid)
            if self.by_key.setdefault(found.key, found.claim) != found.claim:
                raise MalformedError(f"two claims about one storage, {_show(found.key)}")
        return _module(pid)

    def call(self, call: Call) -> object:
        # Stand-in for everything: the tree is thrown away.
        return call

    def build(self, target: object, state: object) -> None:
        return None


class _LegacyMeaning(TorchMeaning):
    """Persistent ids looked up among the storages that were located."""

    def __init__(self, size: int, storages: dict[Key, Storage]) -> None:
        super().__init__(size)
        self.storages = storages
        self.views: dict[Key, tuple[Key, int, int]] = {}

    def persistent(self, pid: object) -> object:
        module = _module(pid)
        if module is not None:
            return module
        found = _StorageId(pid)
        if found.location in ("meta", b"meta"):
            return RefusedTensor("meta (shape only, no values)")
        storage = self.storages[found.key]
        if found.view is not None:
            key, offset, numel = found.view
            # torch keeps views and storages under one set of keys: the first one counts.
            claim = (found.key, offset, numel)
            if key in self.storages or self.views.setdefault(key, claim) != claim:
                raise MalformedError(f"two claims about one view of a storage, {_show(key)}")
            if offset + numel > found.numel:
                raise MalformedError(
                    "a view reaches beyond its storage",
                    expected=f"at most {found.numel} elements",
                    found=f"offset {offset}, {numel} elements",
                )
            start = storage.offset + offset * found.itemsize
            storage = Storage(start, numel * found.itemsize)
        return StorageView(storage, found.dtype, found.itemsize)


def _locate(
    file: io.FileIO,
    size: int,
    position: int,
    keys: object,
    claims: dict[Key, tuple[str, int, int]],
) -> dict[Key, Storage]:
    """Where each storage lies; every one claimed is there, nothing else is."""
    if not isinstance(keys, list):
        raise MalformedError("the storage keys are no list", found=describe(keys))
    storages: dict[Key, Storage] = {}
    for given in keys:
        key = _key(given)
        if key is None or key not in claims:
            raise MalformedError("a storage that nothing refers to", found=describe(given))
        if key in storages:
            raise MalformedError("a storage stands in the file twice", found=_show(key))
        _, itemsize, numel = claims[key]
        if position + 8 > size:
            raise _cut(key, position + 8, size)
        count = int.from_bytes(read_at(file, position, 8), "little", signed=True)
        if count != numel:
            raise MalformedError(
                "a storage has another size than the pickle says",
                where=f"storage {_show(key)}, byte {position}",
                expected=f"{numel} elements",
                found=str(count),
            )
        storage = Storage(position + 8, numel * itemsize)
        position = storage.offset + storage.nbytes
        if position > size:
            raise _cut(key, position, size)
        storages[key] = storage
    missing = [key for key in claims if key not in storages]
    if missing:
        raise MalformedError(
            "storages that the file does not hold",
            expected=f"{len(claims)} storages",
            found=f"{len(storages)}; the first missing one is {_show(missing[0])}",
        )
    if position != size:
        raise MalformedError(
            "something follows the last storage",
            expected=f"{position} bytes",
            found=f"{size} bytes",
            hint="torch writes no such bytes: get the file from its source again.",
        )
    return storages


def _cut(key: Key, needed: int, size: int) -> MalformedError:
    return MalformedError(
        "the file ends within a storage",
        where=f"storage {_show(key)}",
        expected=f"at least {needed} bytes",
        found=f"{size} bytes",
        hint="The file is cut off: fetch it again.",
    )


def _show(key: Key) -> str:
    shown = repr(key) if isinstance(key, str) else str(int.from_bytes(key, "little", signed=True))
    return printable(shown, 60)
