"""How two tensors of one shape differ, collected piece by piece, and what that looks like."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.tensors import DTYPES, DType
from hornet_convert.numbers import casting
from hornet_convert.numbers.elements import numbers

Kind = Literal["type", "precision", "last digits", "scale", "few", "ema", "other"]

ROUNDED: Final = ("F32", "F16", "BF16")
LAST_DIGITS: Final = 4  # units of the coarser type's precision
SAME_DIRECTION: Final = 1e-12  # 1 - cos² of tensors that are multiples, rounded to float32
GLANCE: Final = 256  # elements
FEW: Final = 0.01  # of the elements
EMA_DISTANCE: Final = 0.2  # ‖a - b‖ / ‖a‖
EMA_CORRELATION: Final = 0.98
_PRECISION: Final = {"F64": 2.0**-53, "F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-8}


@dataclass(frozen=True)
class Difference:
    """The outcome for one tensor.

    `numel` counts numbers, two in a complex element, `different` those that differ, `not_finite`
    those that differ and are not finite on one side at least. `largest_absolute` is the largest
    difference of two finite values, `largest_relative` that relative to the largest of A's;
    `distance` the norm of the difference relative to that of A; `correlation` Pearson's, NaN where
    one side is constant; `factor` that by which A has to be multiplied to come nearest to B.

    `kind` is what it looks like: another element "type" with the same values; a "precision" change;
    other "last digits"; a multiple ("scale"); a "few" elements; a small and smooth change as
    between a model and its average ("ema"); "other". `rounding` is, for a precision change, the
    side that is the other one rounded, and the element type it was rounded to.
    """

    numel: int
    different: int
    largest_absolute: float
    largest_relative: float
    not_finite: int
    distance: float
    correlation: float
    factor: float
    kind: Kind
    rounding: tuple[Literal["a", "b"], str] | None = None


class Comparer:
    """Collects the difference of two tensors, A and B, from pieces of the same elements of both."""

    def __init__(self, a: DType, b: DType) -> None:
        self._a, self._b = a, b
        self._numel = self._different = self._finite = self._not_finite = 0
        self._last_digits = LAST_DIGITS * max(_PRECISION.get(d.code, 0.0) for d in (a, b))
        self._largest = self._largest_a = self._largest_ulps = 0.0
        # Sums of a, b, a², b², ab, (a - b)² over the elements that are finite on both sides.
        self._sums = [0.0] * 6
        self._roundings = list(_roundings(a, b))
        self._complex_and_real = (a.kind == "complex") != (b.kind == "complex")

    @np.errstate(all="ignore")  # what overflows in float64 comes out as not a number
    def update(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
        """Look at the next piece of both, as bytes."""
        x, y = numbers(a, self._a), numbers(b, self._b)
        if self._complex_and_real:  # of a real number the imaginary part is 0
            x, y = _with_imaginary(x, self._a), _with_imaginary(y, self._b)
        self._numel += x.size
        if self._a == self._b:  # bit by bit: 0 and -0 are two values, and NaN is one
            bits = f"u{len(a) // max(x.size, 1)}"
            unequal = a.view(bits) != b.view(bits)
        else:
            unequal = (x != y) & ~(np.isnan(x) & np.isnan(y))
        count = int(np.count_nonzero(unequal))
        self._different += count
        self._roundings = [rounding for rounding in self._roundings if _is_rounded(x, y, *rounding)]
        if not math.isfinite(x.sum() + y.sum()):
            finite = np.isfinite(x) & np.isfinite(y)
            self._not_finite += int(np.count_nonzero(unequal & ~finite))
            x, y = x[finite], y[finite]
        self._finite += x.size
        if x.size:
            self._add(x, y, count > 0)

    def _add(self, x: NDArray[np.float64], y: NDArray[np.float64], differ: bool) -> None:
        """Add up finite values."""
        self._largest_a = max(self._largest_a, float(x.max()), -float(x.min()))
        sums = [x.sum(), y.sum(), _dot(x, x), _dot(y, y), _dot(x, y), 0.0]
        if differ:
            difference = x - y
            sums[5] = _dot(difference, difference)
            np.abs(difference, out=difference)
            self._largest = max(self._largest, float(difference.max()))
            # What is a rounding so far differs in the last digits of the coarser type at most.
            if not self._roundings and self._largest_ulps <= self._last_digits:
                largest = np.maximum(np.abs(x), np.abs(y))
                np.maximum(largest, np.finfo(np.float64).tiny, out=largest)
                self._largest_ulps = max(self._largest_ulps, float((difference / largest).max()))
        for index, value in enumerate(sums):
            self._sums[index] += float(value)

    def result(self) -> Difference:
        """What was found in all pieces."""
        sum_a, sum_b, aa, bb, ab, dd = self._sums
        n = max(self._finite, 1)
        variance = (aa - sum_a * sum_a / n) * (bb - sum_b * sum_b / n)
        correlation = (ab - sum_a * sum_b / n) / math.sqrt(variance) if variance > 0 else math.nan
        distance = math.sqrt(dd / aa) if aa else (math.inf if dd else 0.0)
        factor = ab / aa if aa else math.nan
        turned = 1 - ab / aa * (ab / bb) if aa and bb else float(bb != 0)
        kind = self._kind(distance, correlation, factor, turned)
        rounding = self._roundings[0] if kind == "precision" else None
        return Difference(
            self._numel,
            self._different,
            self._largest,
            self._largest / self._largest_a if self._largest_a else math.inf,
            self._not_finite,
            distance,
            min(max(correlation, -1.0), 1.0),
            factor,
            kind,
            rounding,
        )

    def _kind(self, distance: float, correlation: float, factor: float, turned: float) -> Kind:
        if self._complex_and_real:
            return "other"
        if not self._different:
            return "type"
        if self._roundings:
            return "precision"
        if self._not_finite:
            return "other"
        if self._largest_ulps <= self._last_digits:
            return "last digits"
        if self._different < max(FEW * self._numel, 2):
            return "few"
        if turned <= SAME_DIRECTION and abs(factor - 1) > 1e-6:
            return "scale"
        close = math.isnan(correlation) or correlation >= EMA_CORRELATION
        return "ema" if close and distance <= EMA_DISTANCE else "other"


def _roundings(a: DType, b: DType) -> Iterable[tuple[Literal["a", "b"], str]]:
    """What one side may have been rounded to and still have its type."""
    if a.code in casting.CASTABLE and b.code in casting.CASTABLE:
        for code in ROUNDED:
            if DTYPES[code].itemsize <= b.itemsize and DTYPES[code].itemsize < a.itemsize:
                yield "b", code
            if DTYPES[code].itemsize <= a.itemsize and DTYPES[code].itemsize < b.itemsize:
                yield "a", code


def _is_rounded(x: NDArray[Any], y: NDArray[Any], side: Literal["a", "b"], code: str) -> bool:
    """Whether one array is the other one rounded to an element type."""
    whole, rounded = (x, y) if side == "b" else (y, x)
    for part in (slice(GLANCE), slice(GLANCE, None)):  # most are found not to be at a glance
        again = numbers(casting.encode(whole[part], DTYPES[code]).view(np.uint8), DTYPES[code])
        if not np.array_equal(again, rounded[part], equal_nan=True):
            return False
    return True


def _with_imaginary(x: NDArray[np.float64], dtype: DType) -> NDArray[np.float64]:
    """Real and imaginary parts in turn, of numbers that are complex already or real."""
    return x if dtype.kind == "complex" else np.stack((x, np.zeros_like(x)), axis=-1).ravel()


def _dot(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Sum of the products; not the BLAS library's, which starts threads for it."""
    return float(np.einsum("i,i->", x, y))
