"""The `.pth` container as torch has written it since 1.6, decided by names, types and shapes alone.

A zip archive, nothing compressed: `archive/data.pkl`, one entry per tensor aligned to 64 bytes, and
a few short ones. Dates are fixed and nothing is left to chance, so the same tensors give the same
bytes. The pickle holds a state dict and nothing else, in protocol 2, as torch writes it;
`torch.load(weights_only=True)` reads it. Source: torch/serialization.py, torch/_utils.py,
caffe2/serialize/inline_container.cc, APPNOTE.TXT 6.3.10, CPython's Lib/pickletools.py.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from zipfile import ZipInfo

from hornet_convert.checkpoint.metadata import RECORD
from hornet_convert.checkpoint.tensors import Described, dense_strides
from hornet_convert.checkpoint.torch_names import STORAGE_TYPES
from hornet_convert.conversion.request import Target

_STORAGE: Final = {
    torch: name for name, (torch, _) in STORAGE_TYPES.items() if name != "UntypedStorage"
}
_ORDERED_DICT: Final = b"ccollections\nOrderedDict\n"
_REBUILD: Final = b"ctorch._utils\n_rebuild_tensor_v2\n"
# Element types that have no storage class of their own, such as the 8-bit floats.
_REBUILD_UNTYPED: Final = b"ctorch._utils\n_rebuild_tensor_v3\n"
_UNTYPED: Final = "ctorch.storage\nUntypedStorage\n"

ROOT: Final = "archive"
ALIGNMENT: Final = 64

_ROW: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")

_VERSION, _VERSION64 = 20, 45  # of the format, needed to read an entry
_DATE: Final = 1 << 5 | 1  # 1 January 1980, the zip format's first day
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


class PthFile:
    """A `.pth` file to be: where each tensor goes, and everything around them.

    `tensors` are by final name in the order they are to stand, `metadata` texts kept beside the
    pickle in an entry of their own; what is put around the state dict is what the code of `layout`
    expects. Values of the metadata may change later, their lengths may not.
    """

    def __init__(
        self, tensors: Mapping[str, Described], metadata: Mapping[str, str], layout: Target
    ) -> None:
        self._tensors = tensors
        self._layout = layout
        self._entries: dict[str, ZipInfo] = {}
        self.offsets: dict[str, int] = {}
        self._end = 0
        before = self._around(metadata)
        for name in ("data.pkl", "byteorder"):
            self._add(name, len(before[name]))
        for key, (name, tensor) in enumerate(tensors.items()):
            self.offsets[name] = self._add(f"data/{key}", tensor.nbytes)
        for name in ("version", RECORD):
            self._add(name, len(before[name]))

    def frame(
        self, metadata: Mapping[str, str], crcs: Mapping[str, int]
    ) -> Iterator[tuple[int, bytes]]:
        """Everything in the file but the tensors, as (offset, bytes).

        `crcs` are the CRC-32 of the tensors by name.
        """
        around = self._around(metadata)
        checked = {name: zlib.crc32(data) for name, data in around.items()}
        checked |= {f"data/{key}": crcs[name] for key, name in enumerate(self._tensors)}
        for name, entry in self._entries.items():
            entry.CRC = checked[name]
            yield entry.header_offset, entry.FileHeader() + around.get(name, b"")
        directory = b"".join(map(_row, self._entries.values()))
        yield self._end, directory + _end(len(self._entries), self._end, len(directory))

    def _around(self, metadata: Mapping[str, str]) -> dict[str, bytes]:
        return {
            "data.pkl": pickled(self._tensors, self._layout, metadata),
            "byteorder": b"little",
            "version": b"3\n",
            RECORD: json.dumps(dict(sorted(metadata.items())), separators=(",", ":")).encode(),
        }

    def _add(self, name: str, nbytes: int) -> int:
        """Put an entry behind those there are; its data begin on the next aligned place.

        Padded as torch pads it: by an extra field named FB.
        """
        entry = self._entries[name] = ZipInfo(f"{ROOT}/{name}")
        entry.header_offset, entry.CRC = self._end, 0
        entry.file_size = entry.compress_size = nbytes
        padding = -(self._end + len(entry.FileHeader()) + 4) % ALIGNMENT
        entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
        data = self._end + len(entry.FileHeader())
        self._end = data + nbytes
        return data


def _row(entry: ZipInfo) -> bytes:
    """An entry's row in the directory."""
    sizes, header = [entry.file_size] * 2, entry.header_offset
    wide = [*(sizes if sizes[0] >= _MAX32 else ()), *([header] if header >= _MAX32 else ())]
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    name, version = entry.filename.encode(), _VERSION64 if wide else _VERSION
    stamps = (version, version, 0, 0, 0, _DATE, entry.CRC, *(min(n, _MAX32) for n in sizes))
    lengths = (len(name), len(extra), 0, 0, 0, 0, min(header, _MAX32))
    return _ROW.pack(b"PK\x01\x02", *stamps, *lengths) + name + extra


def _end(count: int, start: int, length: int) -> bytes:
    """What ends a directory of `count` rows, `length` bytes from `start` on."""
    end = b""
    if count >= _MAX16 or start >= _MAX32 or length >= _MAX32:
        made = (_END64.size - 12, _VERSION64, _VERSION64, 0, 0, count, count, length, start)
        end += _END64.pack(b"PK\x06\x06", *made)
        end += _LOCATOR.pack(b"PK\x06\x07", 0, start + length, 1)
    few, short, near = min(count, _MAX16), min(length, _MAX32), min(start, _MAX32)
    return end + _END.pack(b"PK\x05\x06", 0, 0, few, few, short, near, 0)


def pickled(tensors: Mapping[str, Described], layout: Target, metadata: Mapping[str, str]) -> bytes:
    """The pickle of tensors whose storages are named "0", "1", … in their order.

    The authors save a state dict under `model`, mmengine under `state_dict` beside a `meta`, which
    holds the `metadata` here; the others have nothing around it.
    """
    state = _state_dict(tensors)
    if layout == "official":
        state = b"}" + _text("model") + state + b"s"
    elif layout == "openmmlab":
        texts = b"".join(_text(name) + _text(value) for name, value in sorted(metadata.items()))
        meta = _text("meta") + b"}(" + texts + b"u"
        state = b"}(" + meta + _text("state_dict") + state + b"u"
    return b"\x80\x02" + state + b"."


def _state_dict(tensors: Mapping[str, Described]) -> bytes:
    memo = _Memo()
    parts = [memo.once(_ORDERED_DICT), b")R("]
    for key, (name, tensor) in enumerate(tensors.items()):
        dtype = tensor.dtype
        typed = dtype.torch in _STORAGE
        storage = f"ctorch\n{_STORAGE[dtype.torch]}\n" if typed else _UNTYPED
        numel = tensor.nbytes // dtype.itemsize if typed else tensor.nbytes
        parts += (
            _text(name),
            memo.once(_REBUILD if typed else _REBUILD_UNTYPED),
            b"((",
            memo.once(_text("storage")),
            memo.once(storage.encode()),
            _text(str(key)),
            memo.once(_text("cpu")),
            _integer(numel) + b"tQ",
            _integer(0) + _integers(tensor.shape) + _integers(dense_strides(tensor.shape)),
            b"\x89" + memo.once(_ORDERED_DICT) + b")R",
            b"tR" if typed else memo.once(f"ctorch\n{dtype.torch}\n".encode()) + b"tR",
        )
    return b"".join((*parts, b"u"))


class _Memo:
    """Writes a value out the first time and refers to it afterwards."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}

    def once(self, opcodes: bytes) -> bytes:
        """The opcodes, or those that fetch what they gave before."""
        if opcodes in self._places:
            return b"h" + bytes((self._places[opcodes],))
        place = self._places[opcodes] = len(self._places)
        return opcodes + b"q" + bytes((place,))


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<L", len(raw)) + raw


def _integers(numbers: Sequence[int]) -> bytes:
    if not numbers:
        return b")"
    return b"(" + b"".join(map(_integer, numbers)) + b"t"


def _integer(number: int) -> bytes:
    """A number from 0 up, in the shortest form."""
    if number < 1 << 8:
        return b"K" + struct.pack("<B", number)
    if number < 1 << 16:
        return b"M" + struct.pack("<H", number)
    if number < 1 << 31:
        return b"J" + struct.pack("<l", number)
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little")
    return b"\x8a" + bytes((len(raw),)) + raw
