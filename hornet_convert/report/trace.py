"""The forward check part by part: what was run, and how far the two computations are apart. Pure.

The torch side of it is in `model/`; this is what reports hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

TOLERANCE: Final = 1e-9  # relative to the largest value of a part
AROUND: Final = 2  # parts shown on either side of the first that diverges


@dataclass(frozen=True)
class Probe:
    """The input of the forward check: seeded images, and how many.

    `image_size` is one side in pixels, or height and width; None for the model's own resolution.
    `float32` asks how far the model in float32 is from itself in float64: that says nothing about
    the file.
    """

    image_size: int | tuple[int, int] | None = None
    seed: int = 0
    batch: int = 1
    float32: bool = False


@dataclass(frozen=True)
class Deviation:
    """How far apart the two outputs of one part of the network are.

    A part is the stem, a downsampling, a block, the final norm or the classifier; `module` is its
    name in the reference model. `absolute` is the largest difference of the two outputs, `largest`
    the largest absolute value in the source's.
    """

    module: str
    absolute: float
    largest: float

    @property
    def relative(self) -> float:
        """Difference relative to the largest value; infinite for NaN, infinities and all zeros."""
        if not math.isfinite(self.absolute) or not math.isfinite(self.largest) or not self.largest:
            return math.inf
        return self.absolute / self.largest

    @property
    def stage(self) -> int | None:
        """Stage 0 to 3; None for the stem and the head."""
        return int(self.module.split(".")[1]) if self.module.startswith("stages.") else None


@dataclass(frozen=True)
class Trace:
    """All parts in the order of the computation, and the deviation that is allowed.

    `float32` is how far the reference model's output in float32 is from its output in float64: what
    a user of the model will see; None if that was not measured.
    """

    parts: tuple[Deviation, ...]
    image_size: tuple[int, int]
    seed: int
    batch: int
    tolerance: float = TOLERANCE
    float32: Deviation | None = None

    @property
    def output(self) -> Deviation:
        """The last part: the logits, or without a classifier the features."""
        return self.parts[-1]

    @property
    def stages(self) -> tuple[Deviation, ...]:
        """The last block of each stage."""
        return tuple({part.stage: part for part in self.parts if part.stage is not None}.values())

    @property
    def passed(self) -> bool:
        """Whether no part deviates by more than is allowed, and float32 gives numbers too."""
        finite = self.float32 is None or math.isfinite(self.float32.relative)
        return bool(self.parts) and self.first_diverging is None and finite

    @property
    def first_diverging(self) -> int | None:
        """Index of the first part that deviates by more than is allowed."""
        return next(
            (n for n, part in enumerate(self.parts) if not part.relative <= self.tolerance), None
        )

    @property
    def around(self) -> tuple[Deviation, ...]:
        """The first part that diverges and its neighbours; empty if none does."""
        at = self.first_diverging
        if at is None:
            return ()
        return self.parts[max(at - AROUND, 0) : at + AROUND + 1]

    def to_json(self) -> dict[str, Any]:
        """The `forward` member of the JSON document."""
        at = self.first_diverging
        return {
            "image_size": list(self.image_size),
            "seed": self.seed,
            "batch": self.batch,
            "tolerance": self.tolerance,
            "first_diverging": None if at is None else self.parts[at].module,
            "float32": None if self.float32 is None else self.float32.relative,
            "parts": [
                {
                    name: getattr(part, name)
                    for name in ("module", "absolute", "largest", "relative")
                }
                for part in self.parts
            ],
        }
