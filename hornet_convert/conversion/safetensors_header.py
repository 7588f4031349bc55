"""The header of a safetensors file: pure bytes, decided by names, dtypes, shapes and metadata.

Format: an unsigned 64-bit little-endian length, that many bytes of JSON, then the data, gapless.
Keys and metadata are sorted, so the same tensors give the same bytes in every process (the
safetensors library's own writer orders metadata at random).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hornet_convert.checkpoint.tensors import Described


@dataclass(frozen=True)
class Placement:
    """Where everything goes: the header's bytes, each tensor's absolute offset, the file's size."""

    header: bytes
    offsets: Mapping[str, int]
    size: int


def place(tensors: Mapping[str, Described], metadata: Mapping[str, str]) -> Placement:
    """Lay out tensors, given by their final names, in a new file.

    Wider element types come first, so that every tensor is aligned to its elements; within one
    type, by name.
    """
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    starts: dict[str, int] = {}
    position = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
        starts[name] = position
        position += tensors[name].nbytes
    for name in sorted(tensors):
        tensor = tensors[name]
        entries[name] = {
            "dtype": tensor.dtype.code,
            "shape": list(tensor.shape),
            "data_offsets": [starts[name], starts[name] + tensor.nbytes],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    header = struct.pack("<Q", len(text)) + text
    offsets = {name: len(header) + start for name, start in starts.items()}
    return Placement(header, offsets, len(header) + position)


class SafetensorsFile:
    """A safetensors file to be: where each tensor goes, and the header before them.

    `tensors` are by final name. Values of the metadata may change later, their lengths may not.
    """

    def __init__(self, tensors: Mapping[str, Described], metadata: Mapping[str, str]) -> None:
        self._tensors = tensors
        placement = place(tensors, {"format": "pt", **metadata})
        self.offsets = placement.offsets
        self.size = placement.size

    def frame(
        self, metadata: Mapping[str, str], crcs: Mapping[str, int]
    ) -> Iterator[tuple[int, bytes]]:
        """Everything in the file but the tensors, as (offset, bytes); it records no CRC."""
        yield 0, place(self._tensors, {"format": "pt", **metadata}).header
