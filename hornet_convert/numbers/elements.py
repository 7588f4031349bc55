"""The values of a tensor in a file, piece by piece, in float64: bounded memory for any size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from hornet_convert.checkpoint.files import read_into
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import DType, Tensor
from hornet_convert.numbers import casting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIECE: Final = 1 << 14  # elements at a time: a few float64 arrays of them stay in the cache

_NUMPY: Final = {
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
    "C64": "<f4", "C128": "<f8",
}  # fmt: skip


def pieces(
    checkpoint: Checkpoint, tensor: Tensor, elements: int = PIECE
) -> Iterator[NDArray[np.uint8]]:
    """The bytes of a tensor, dense and little-endian, `elements` elements at a time.

    Only a tensor that does not stand in the file as it is (strided, big-endian) is read whole. A
    piece is valid until the next one. Raises DiskError if the bytes cannot be read.
    """
    import numpy as np

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
    import numpy as np

    if dtype.code in casting.SOURCES:
        with np.errstate(invalid="ignore"):  # signalling NaN: a value like any other here
            return casting.decode(data.data, dtype).astype(np.float64)
    if dtype.code == "F8_E5M2":
        return (data.astype("<u2") << 8).view("<f2").astype(np.float64)
    if dtype.code == "F8_E4M3":
        return _float8_e4m3()[data]
    return data.view(_NUMPY[dtype.code]).astype(np.float64)


@cache
def _float8_e4m3() -> NDArray[Any]:
    """Value of each of the 256 patterns: bias 7, no infinities, NaN where all bits are set."""
    import numpy as np

    bits = np.arange(256)
    exponent, mantissa = (bits >> 3) & 15, bits & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    values = np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal)
    values[(bits & 127) == 127] = np.nan
    return np.where(bits & 128, -values, values)
