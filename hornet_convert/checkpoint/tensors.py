"""A tensor in a file, described and not read: dtype, shape, strides, and where its bytes lie.

A checkpoint is a table of these until something must be computed. Nothing here opens a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True)
class DType:
    """An element type. `code` is its name in the safetensors format, `torch` its name in torch."""

    code: str
    torch: str
    itemsize: int
    kind: str  # "float", "int", "bool", "complex"

    @property
    def swapped(self) -> int:
        """Bytes that form one number, to be swapped together: half of a complex element."""
        return self.itemsize // 2 if self.kind == "complex" else self.itemsize


_ROWS: Final = (
    ("F64", "float64", 8, "float"),
    ("F32", "float32", 4, "float"),
    ("F16", "float16", 2, "float"),
    ("BF16", "bfloat16", 2, "float"),
    ("F8_E4M3", "float8_e4m3fn", 1, "float"),
    ("F8_E5M2", "float8_e5m2", 1, "float"),
    ("I64", "int64", 8, "int"),
    ("I32", "int32", 4, "int"),
    ("I16", "int16", 2, "int"),
    ("I8", "int8", 1, "int"),
    ("U64", "uint64", 8, "int"),
    ("U32", "uint32", 4, "int"),
    ("U16", "uint16", 2, "int"),
    ("U8", "uint8", 1, "int"),
    ("BOOL", "bool", 1, "bool"),
    ("C64", "complex64", 8, "complex"),
    ("C128", "complex128", 16, "complex"),
)

DTYPES: Final = {row[0]: DType(*row) for row in _ROWS}
BY_TORCH_NAME: Final = {dtype.torch: dtype for dtype in DTYPES.values()}


class Described(Protocol):
    """What a file's header says of a tensor, whether it stands in a file or is yet to be made."""

    @property
    def dtype(self) -> DType:
        """Element type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor written out densely."""


@dataclass(frozen=True)
class Storage:
    """A run of bytes of the file that tensors are views of, checked to lie inside the file.

    `offset` and `nbytes` are absolute bytes of the file. `crc32` is the checksum the container
    records for exactly these bytes, None where it records none.
    """

    offset: int
    nbytes: int
    crc32: int | None = None
    big_endian: bool = False


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: `first` and `strides` count elements, as in torch.

    Whoever builds one has checked that every element it reaches lies inside the storage.
    """

    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    first: int
    storage: Storage

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor written out densely."""
        return self.numel * self.dtype.itemsize

    @property
    def span(self) -> tuple[int, int] | None:
        """(offset, bytes) in the file, if the dense little-endian tensor stands there as it is."""
        axes = zip(self.shape, self.strides, dense_strides(self.shape), strict=True)
        # The stride of an axis of length 1 reaches nothing and may be any number.
        if self.numel and any(size > 1 and stride != want for size, stride, want in axes):
            return None
        if self.storage.big_endian and self.dtype.itemsize > 1:
            return None
        return self.storage.offset + self.first * self.dtype.itemsize, self.nbytes


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements of a dense tensor."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
