"""The safetensors container, decided by names, types, shapes and metadata alone.

Format: an unsigned 64-bit little-endian length, that many bytes of JSON, then the data, gapless.
Keys and metadata are sorted, so the same tensors give the same bytes in every process (the
safetensors library's own writer orders metadata at random).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping

from hornet_convert.checkpoint.tensors import Described


class SafetensorsFile:
    """A safetensors file to be: where each tensor goes, and the header before them.

    `tensors` are by final name. Wider element types come first, so that every tensor is aligned to
    its elements; within one type, by name. Values of the metadata may change later, their lengths
    may not.
    """

    def __init__(self, tensors: Mapping[str, Described], metadata: Mapping[str, str]) -> None:
        self._tensors = tensors
        self._starts: dict[str, int] = {}
        end = 0
        for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
            self._starts[name] = end
            end += tensors[name].nbytes
        before = len(self._header(metadata))
        self.offsets = {name: before + start for name, start in self._starts.items()}

    def frame(
        self, metadata: Mapping[str, str], crcs: Mapping[str, int]
    ) -> Iterator[tuple[int, bytes]]:
        """Everything in the file but the tensors, as (offset, bytes); it records no CRC."""
        yield 0, self._header(metadata)

    def _header(self, metadata: Mapping[str, str]) -> bytes:
        entries: dict[str, object] = {
            "__metadata__": dict(sorted({"format": "pt", **metadata}.items()))
        }
        for name in sorted(self._tensors):
            tensor, start = self._tensors[name], self._starts[name]
            entries[name] = {
                "dtype": tensor.dtype.code,
                "shape": list(tensor.shape),
                "data_offsets": [start, start + tensor.nbytes],
            }
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=True).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text
