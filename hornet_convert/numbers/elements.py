"""The values of a tensor in a file, piece by piece: bounded memory for any size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import DType, Tensor
from hornet_convert.files.reading import read_into
from hornet_convert.numbers.casting import CASTABLE, NUMPY, decode

PIECE: Final = 1 << 14  # elements at a time: a few float64 arrays of them stay in the cache


def pieces(
    checkpoint: Checkpoint, tensor: Tensor, elements: int = PIECE
) -> Iterator[NDArray[np.uint8]]:
    """The bytes of a tensor, dense and little-endian, `elements` elements at a time.

    Only a tensor that does not stand in the file as it is (strided, big-endian) is read whole. A
    piece is valid until the next one. Raises DiskError if the bytes cannot be read.
    """
    step = elements * tensor.dtype.itemsize
    if tensor.span is None:
        data = checkpoint.read(tensor)
        yield from (data[start : start + step] for start in range(0, len(data), step))
        return
    offset, nbytes = tensor.span
    buffer = np.empty(min(step, nbytes), np.uint8)
    for start in range(0, nbytes, step):
        piece = buffer[: min(step, nbytes - start)]
        read_into(checkpoint.file, offset + start, piece.data)
        yield piece


def numbers(data: NDArray[np.uint8], dtype: DType) -> NDArray[np.float64]:
    """Elements of any type as float64; of a complex one the real and imaginary parts in turn."""
    if dtype.code in CASTABLE:
        with np.errstate(invalid="ignore"):  # signalling NaN: a value like any other here
            return decode(data.data, dtype).astype(np.float64)
    if dtype.code == "F8_E5M2":
        return (data.astype("<u2") << 8).view("<f2").astype(np.float64)
    if dtype.code == "F8_E4M3":
        return _float8_e4m3()[data]
    return data.view(NUMPY[dtype.code]).astype(np.float64)


@cache
def _float8_e4m3() -> NDArray[Any]:
    """Value of each of the 256 patterns: bias 7, no infinities, NaN where all bits are set."""
    bits = np.arange(256)
    exponent, mantissa = (bits >> 3) & 15, bits & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    values = np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal)
    values[(bits & 127) == 127] = np.nan
    return np.where(bits & 128, -values, values)


# Where numpy has no such type: the unsigned view, the bits that are all set in a value that is not
# finite, and the bits that are not the sign.
_BIT_PATTERNS: Final = {
    "BF16": ("<u2", 0x7F80, 0x7FFF),
    "F8_E5M2": ("u1", 0x7C, 0x7F),
    "F8_E4M3": ("u1", 0x7F, 0x7F),
}


class ValueCheck:
    """Collects, piece by piece, whether a tensor is finite everywhere and zero everywhere.

    Pieces hold whole elements, dense and little-endian. Integers and booleans are always finite.
    """

    def __init__(self, dtype: DType) -> None:
        self._dtype = dtype
        self.finite = self.zero = True

    def update(self, data: memoryview) -> None:
        """Look at the next piece."""
        code = self._dtype.code
        if code in _BIT_PATTERNS:
            kind, exponent, magnitude = _BIT_PATTERNS[code]
            values: NDArray[Any] = np.frombuffer(data, kind) & magnitude
            self.finite = self.finite and not ((values & exponent) == exponent).any()
        elif self._dtype.kind == "float":
            values = np.frombuffer(data, NUMPY[code])
            self.finite = self.finite and bool(np.isfinite(values).all())
        else:
            values = np.frombuffer(data, np.uint8)
        self.zero = self.zero and not values.any()
