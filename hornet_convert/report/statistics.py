"""How the numbers in a model look, tensor by tensor and block by block, and what stands out. Pure.

For reports that people read: nothing here is a check.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final, Literal

from hornet_convert.text import split_block

WILD: Final = 10.0  # times, or one part of, what is usual for a tensor of its kind
WILD_BIAS: Final = 100.0  # biases are small, and vary
OWN_STAGE: Final = 5  # blocks a stage must have to be measured against itself

Standing = Literal["usual", "large", "small", "dead", "not finite"]


@dataclass(frozen=True)
class Statistics:
    """Of the finite values of a tensor or a block; NaN where there are none.

    `zeros` and `not_finite` count elements; `rms` is the root of the mean square.
    """

    numel: int
    mean: float
    std: float
    rms: float
    minimum: float
    maximum: float
    zeros: int
    not_finite: int


@dataclass(frozen=True)
class TensorStatistics:
    """One tensor, by reference name, and how it stands among those of its kind.

    `fan_in` is how many inputs one output sums up: weights are the smaller the more there are.
    `ratio` is its size relative to what is usual, None where nothing can be said.
    """

    name: str
    values: Statistics
    fan_in: int = 1
    ratio: float | None = None
    standing: Standing = "usual"


@dataclass(frozen=True)
class BlockStatistics:
    """One block of the network, or its stem, a downsampling, its head."""

    block: str
    values: Statistics
    tensors: tuple[TensorStatistics, ...]


def judged(rows: Sequence[TensorStatistics]) -> list[TensorStatistics]:
    """The rows with what stands out marked: dead, not finite, far larger or smaller than usual.

    Usual is the median size of the tensors of the same kind in the blocks of the stage, or of the
    network where the stage is short; size is the rms, times the root of the fan-in.
    """
    sizes = defaultdict[tuple[str, ...], list[float]](list)  # by kind, and by kind and stage
    for row in rows:
        block, kind = split_block(row.name)
        if ".blocks." in block and row.values.rms > 0:
            sizes[(kind,)].append(_size(row))
            sizes[kind, block.split(".")[1]].append(_size(row))
    judged_rows = []
    for row in rows:
        block, kind = split_block(row.name)
        known: list[float] = []
        if ".blocks." in block:
            ours = sizes[kind, block.split(".")[1]]
            known = ours if len(ours) >= OWN_STAGE else sizes[(kind,)]
        ratio = _size(row) / median(known) if known else None
        standing = _standing(kind, row.values, ratio)
        judged_rows.append(replace(row, ratio=ratio, standing=standing))
    return judged_rows


def _size(row: TensorStatistics) -> float:
    return row.values.rms * math.sqrt(row.fan_in)


def _standing(kind: str, values: Statistics, ratio: float | None) -> Standing:
    if values.not_finite:
        return "not finite"
    is_bias = kind.endswith("bias")
    if values.zeros == values.numel:
        return "usual" if is_bias else "dead"
    limit = WILD_BIAS if is_bias else WILD
    if ratio is not None and ratio >= limit:
        return "large"
    if ratio is not None and ratio <= 1 / limit:
        return "small"
    return "usual"


def outstanding(blocks: Sequence[BlockStatistics]) -> list[str]:
    """A sentence for each tensor that is not as its kind usually is."""
    rows = (row for block in blocks for row in block.tensors if row.standing != "usual")
    return [f"{row.name} {_says(row)}" for row in rows]


def _says(row: TensorStatistics) -> str:
    ratio = row.ratio or 1.0
    return {
        "not finite": f"holds NaN or infinity {row.values.not_finite:,} times",
        "dead": "is zero everywhere",
        "large": f"is {ratio:.3g} times as large as is usual for it",
        "small": f"is {1 / ratio:.3g} times smaller than is usual for it",
    }[row.standing]
