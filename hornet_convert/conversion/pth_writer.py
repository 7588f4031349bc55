"""The `.pth` container as torch has written it since 1.6, decided by names, types and shapes alone.

A zip archive, nothing compressed: `archive/data.pkl`, one entry per tensor aligned to 64 bytes, and
a few short ones. Dates are fixed and nothing is left to chance, so the same tensors give the same
bytes. Source: torch/serialization.py, caffe2/serialize/inline_container.cc, APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.tensors import Described
from hornet_convert.checkpoint.zip_record import RECORD
from hornet_convert.conversion.pickle_writer import Wrapper, pickled

ROOT: Final = "archive"
ALIGNMENT: Final = 64

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")

_VERSION, _VERSION64 = 20, 45  # of the format, needed to read an entry
_DATE: Final = 1 << 5 | 1  # 1 January 1980, the zip format's first day
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """One stored entry: where its header and its data stand."""

    name: bytes
    header: int
    data: int
    nbytes: int


class PthFile:
    """A `.pth` file to be: where each tensor goes, and everything around them.

    Parameters
    ----------
    tensors
        Descriptions by final name, in the order they are to stand.
    metadata
        Texts kept beside the pickle in an entry of their own.
    wrapper
        What is put around the state dict.

    Values of the metadata may change later, their lengths may not.
    """

    def __init__(
        self, tensors: Mapping[str, Described], metadata: Mapping[str, str], wrapper: Wrapper
    ) -> None:
        self._tensors = tensors
        self._wrapper = wrapper
        self._entries: dict[str, Entry] = {}
        self._end = 0
        before = self._around(metadata)
        for name in ("data.pkl", "byteorder"):
            self._add(name, len(before[name]))
        for key, tensor in enumerate(tensors.values()):
            self._add(f"data/{key}", tensor.nbytes)
        for name in ("version", RECORD):
            self._add(name, len(before[name]))
        self.offsets: Mapping[str, int] = {
            name: self._entries[f"data/{key}"].data for key, name in enumerate(tensors)
        }
        self.size = self._end + len(b"".join(self._directory(dict.fromkeys(self._entries, 0))))

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
            yield entry.header, _local(entry, checked[name]) + around.get(name, b"")
        yield self._end, b"".join(self._directory(checked))

    def _around(self, metadata: Mapping[str, str]) -> dict[str, bytes]:
        return {
            "data.pkl": pickled(self._tensors, self._wrapper, metadata),
            "byteorder": b"little",
            "version": b"3\n",
            RECORD: json.dumps(dict(sorted(metadata.items())), separators=(",", ":")).encode(),
        }

    def _add(self, name: str, nbytes: int) -> None:
        """Put an entry behind those there are, its data on the next multiple of the alignment."""
        path = f"{ROOT}/{name}".encode()
        least = self._end + _LOCAL.size + len(path) + len(_sizes64(nbytes)) + 4
        data = least + -least % ALIGNMENT
        self._entries[name] = Entry(path, self._end, data, nbytes)
        self._end = data + nbytes

    def _directory(self, crcs: Mapping[str, int]) -> Iterator[bytes]:
        length = 0
        for name, entry in self._entries.items():
            row = _row(entry, crcs[name])
            length += len(row)
            yield row
        count, start = len(self._entries), self._end
        if count >= _MAX16 or start >= _MAX32 or length >= _MAX32:
            made = (_END64.size - 12, _VERSION64, _VERSION64, 0, 0, count, count, length, start)
            yield _END64.pack(b"PK\x06\x06", *made)
            yield _LOCATOR.pack(b"PK\x06\x07", 0, start + length, 1)
        few, short, near = min(count, _MAX16), min(length, _MAX32), min(start, _MAX32)
        yield _END.pack(b"PK\x05\x06", 0, 0, few, few, short, near, 0)


def _local(entry: Entry, crc32: int) -> bytes:
    """The header before an entry's data, padded as torch pads it: an extra field named FB."""
    sizes64 = _sizes64(entry.nbytes)
    nbytes = _MAX32 if sizes64 else entry.nbytes
    extra = entry.data - entry.header - _LOCAL.size - len(entry.name)
    padding = extra - len(sizes64) - 4
    version = _VERSION64 if sizes64 else _VERSION
    fields = (version, 0, 0, 0, _DATE, crc32, nbytes, nbytes, len(entry.name), extra)
    filled = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    return _LOCAL.pack(b"PK\x03\x04", *fields) + entry.name + sizes64 + filled


def _row(entry: Entry, crc32: int) -> bytes:
    """An entry's row in the directory."""
    wide = [entry.nbytes] * 2 if entry.nbytes >= _MAX32 else []
    wide += [entry.header] if entry.header >= _MAX32 else []
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    version = _VERSION64 if wide else _VERSION
    nbytes, header = min(entry.nbytes, _MAX32), min(entry.header, _MAX32)
    stamps = (version, version, 0, 0, 0, _DATE, crc32, nbytes, nbytes)
    lengths = (len(entry.name), len(extra), 0, 0, 0, 0, header)
    return _ENTRY.pack(b"PK\x01\x02", *stamps, *lengths) + entry.name + extra


def _sizes64(nbytes: int) -> bytes:
    """The extra field with an entry's sizes, where they need it."""
    return struct.pack("<2H2Q", 1, 16, nbytes, nbytes) if nbytes >= _MAX32 else b""
