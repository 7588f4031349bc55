"""Changing the element type of numbers, rounded once to the nearest, ties to even.

Source: IEEE 754; bfloat16 is the upper half of a float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.tensors import DType

NUMPY: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
    "C64": "<f4", "C128": "<f8",
}  # fmt: skip
"""numpy's type for each element type it has; of a complex number, that of one part."""

CASTABLE: Final = frozenset({"F64", "F32", "F16", "BF16"})


@dataclass
class Losses:
    """What rounding did to finite numbers: how many became infinite, how many zero."""

    overflowed: int = 0
    vanished: int = 0


def cast(
    data: memoryview, source: DType, target: DType, losses: Losses | None = None
) -> NDArray[np.uint8]:
    """Dense little-endian numbers of one type as bytes of another; losses are added up.

    Both types are float64, float32, float16 or bfloat16.
    """
    values = decode(data, source)
    result = encode(values, target)
    if losses is not None and target.itemsize <= source.itemsize:
        _count(values, result, target, losses)
    return result.view("u1")


def decode(data: memoryview, dtype: DType) -> NDArray[Any]:
    """Numbers as numpy has them; bfloat16 as float32, which holds it exactly."""
    if dtype.code == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, NUMPY[dtype.code])


def encode(values: NDArray[Any], dtype: DType) -> NDArray[Any]:
    """Rounded numbers: an array of the type, for bfloat16 of its bits."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype.code != "BF16":
            return values.astype(NUMPY[dtype.code])
        if values.dtype.itemsize == 8:
            values = _rounded_to_odd(values)
        bits = values.astype("<f4", copy=False).view("<u4")
        rounded = bits >> 16
        rounded &= 1
        rounded += 0x7FFF
        rounded += bits  # wraps only for NaN, whose bits are set below
        rounded >>= 16
        halves = rounded.astype("<u2")
        nan = np.isnan(values)
        if nan.any():
            halves[nan] = (bits[nan] >> 16) | 0x0040
        return halves


def _rounded_to_odd(values: NDArray[Any]) -> NDArray[Any]:
    """float64 as float32, the last bit odd where inexact: what rounds that again rounds once."""
    nearest = values.astype("<f4")
    bits = nearest.view("<u4")
    widened = nearest.astype("<f8")
    inexact = np.isfinite(values) & (widened != values)
    bits -= (inexact & (np.abs(widened) > np.abs(values))).astype("<u4")  # towards zero
    bits |= inexact.astype("<u4")
    return nearest


def _count(values: NDArray[Any], result: NDArray[Any], target: DType, losses: Losses) -> None:
    numbers = decode(result.view("u1").data, target)
    infinite = np.isinf(numbers)
    if infinite.any():
        losses.overflowed += int(np.count_nonzero(infinite & np.isfinite(values)))
    zeros = numbers.size - int(np.count_nonzero(numbers))
    if zeros:
        losses.vanished += zeros - (values.size - int(np.count_nonzero(values)))
