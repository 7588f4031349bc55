"""The forward check part by part: what was run, and how far the two computations are apart. Pure.

The torch side of it is in `model/`; this is what reports hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

AROUND: Final = 2  # parts shown on either side of the first that diverges


@dataclass(frozen=True)
class Probe:
    """The input of the forward check.

    `image_size` is one side in pixels, or height and width; None for the model's own resolution.
    `seed` and `batch` are of the images and how many.
    """

    image_size: int | tuple[int, int] | None = None
    seed: int = 0
    batch: int = 1


@dataclass(frozen=True)
class Part:
    """One part of the network: stem, downsampling, block, final norm or classifier.

    `absolute` is the largest difference of the two outputs, `largest` the largest value of the
    source's, `relative` their quotient, infinite where that says nothing.
    """

    module: str
    absolute: float
    largest: float
    relative: float


@dataclass(frozen=True)
class Trace:
    """All parts in the order of the computation, and the deviation that is allowed.

    `float32` is how far the reference model in float32 is from itself in float64, relative to the
    largest output; None if that was not measured.
    """

    parts: tuple[Part, ...]
    image_size: tuple[int, int]
    seed: int
    batch: int
    tolerance: float
    float32: float | None = None

    @property
    def first_diverging(self) -> int | None:
        """Index of the first part that deviates by more than is allowed."""
        return next(
            (n for n, part in enumerate(self.parts) if not part.relative <= self.tolerance), None
        )

    @property
    def around(self) -> tuple[Part, ...]:
        """The first part that diverges and its neighbours; empty if none does."""
        at = self.first_diverging
        if at is None:
            return ()
        return self.parts[max(at - AROUND, 0) : at + AROUND + 1]

    def to_json(self) -> dict[str, Any]:
        """The `forward` member of the JSON document; what is not finite is null."""
        at = self.first_diverging
        return {
            "image_size": list(self.image_size),
            "seed": self.seed,
            "batch": self.batch,
            "tolerance": self.tolerance,
            "first_diverging": None if at is None else self.parts[at].module,
            "float32": _finite(self.float32),
            "parts": [
                {
                    "module": part.module,
                    "absolute": _finite(part.absolute),
                    "largest": _finite(part.largest),
                    "relative": _finite(part.relative),
                }
                for part in self.parts
            ],
        }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
