"""The statistics of a model's weights, read piece by piece in the file's order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.numbers.elements import numbers, pieces
from hornet_convert.report.statistics import BlockStatistics, Statistics, TensorStatistics, judged
from hornet_convert.text import split_block


class Collector:
    """Adds up the statistics of a tensor, piece by piece, or of several tensors."""

    def __init__(self, others: Sequence[Collector] = ()) -> None:
        self.numel: int = sum(other.numel for other in others)
        self.zeros: int = sum(other.zeros for other in others)
        self.finite: int = sum(other.finite for other in others)
        self.total: float = sum((other.total for other in others), 0.0)
        self.squares: float = sum((other.squares for other in others), 0.0)
        self.minimum: float = min((other.minimum for other in others), default=math.inf)
        self.maximum: float = max((other.maximum for other in others), default=-math.inf)

    @np.errstate(all="ignore")
    def update(self, values: NDArray[np.float64]) -> None:
        """Look at the next values."""
        self.numel += values.size
        finite = np.isfinite(values)
        if not finite.all():
            values = values[finite]
        if values.size == 0:
            return
        self.finite += values.size
        self.zeros += values.size - int(np.count_nonzero(values))
        self.total += float(values.sum())
        self.squares += float(np.einsum("i,i->", values, values))  # np.dot starts threads
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))

    def result(self) -> Statistics:
        """What was seen."""
        missing = self.numel - self.finite
        if not self.finite:
            nan = math.nan
            return Statistics(self.numel, nan, nan, nan, nan, nan, 0, missing)
        mean, square = self.total / self.finite, self.squares / self.finite
        deviation = math.sqrt(max(square - mean * mean, 0.0))
        bounds = self.minimum, self.maximum
        return Statistics(
            self.numel, mean, deviation, math.sqrt(square), *bounds, self.zeros, missing
        )


def weight_statistics(
    checkpoint: Checkpoint,
    tensors: Mapping[str, Tensor],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[BlockStatistics, ...]:
    """Read the tensors of a model, given by reference name, and sum up their values.

    Blocks come in the order of `tensors`. Raises DiskError if the file cannot be read.
    """
    seen: dict[str, Collector] = {}
    total, done = sum(tensor.nbytes for tensor in tensors.values()), 0
    for name in sorted(tensors, key=lambda name: tensors[name].storage.offset):
        collector = seen[name] = Collector()
        for piece in pieces(checkpoint, tensors[name]):
            collector.update(numbers(piece, tensors[name].dtype))
        done += tensors[name].nbytes
        if progress is not None:
            progress(done, total)
    blocks: dict[str, list[TensorStatistics]] = {}
    for row in judged(
        [TensorStatistics(n, seen[n].result(), _fan_in(n, tensors[n].shape)) for n in tensors]
    ):
        blocks.setdefault(split_block(row.name)[0], []).append(row)
    return tuple(
        BlockStatistics(block, Collector([seen[row.name] for row in rows]).result(), tuple(rows))
        for block, rows in blocks.items()
    )


def _fan_in(name: str, shape: tuple[int, ...]) -> int:
    """Inputs of one output of a convolution or linear layer; 1 for everything else."""
    return 1 if name.endswith("complex_weight") else math.prod(shape[1:])
