"""The statistics of a model's weights, read piece by piece in the file's order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.numbers.elements import numbers, pieces
from hornet_convert.numbers.standing import BlockStatistics, Statistics, TensorStatistics, judged
from hornet_convert.verification.naming import split_block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Collector:
    """Adds up the statistics of a tensor, piece by piece."""

    def __init__(self) -> None:
        self.numel = self.zeros = self.finite = 0
        self.total = self.squares = 0.0
        self.minimum, self.maximum = math.inf, -math.inf

    def update(self, values: NDArray[np.float64]) -> None:
        """Look at the next values."""
        import numpy as np

        self.numel += values.size
        finite = np.isfinite(values)
        if not finite.all():
            values = values[finite]
        if values.size == 0:
            return
        self.finite += values.size
        self.zeros += values.size - int(np.count_nonzero(values))
        with np.errstate(all="ignore"):
            self.total += float(values.sum())
            self.squares += float(np.einsum("i,i->", values, values))  # np.dot starts threads
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))

    def add(self, other: Collector) -> None:
        """Add what another one has seen."""
        self.numel += other.numel
        self.zeros += other.zeros
        self.finite += other.finite
        self.total += other.total
        self.squares += other.squares
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def result(self) -> Statistics:
        """What was seen."""
        missing = self.numel - self.finite
        if not self.finite:
            nan = math.nan
            return Statistics(self.numel, nan, nan, nan, nan, nan, 0, missing)
        mean, square = self.total / self.finite, self.squares / self.finite
        return Statistics(
            self.numel,
            mean,
            math.sqrt(max(square - mean * mean, 0.0)),
            math.sqrt(square),
            self.minimum,
            self.maximum,
            self.zeros,
            missing,
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
    rows = judged(
        [
            TensorStatistics(name, seen[name].result(), _fan_in(name, tensors[name].shape))
            for name in tensors
        ]
    )
    blocks: dict[str, list[TensorStatistics]] = {}
    for row in rows:
        blocks.setdefault(split_block(row.name)[0], []).append(row)
    return tuple(
        BlockStatistics(block, _sum([seen[row.name] for row in group]), tuple(group))
        for block, group in blocks.items()
    )


def _fan_in(name: str, shape: tuple[int, ...]) -> int:
    """Inputs of one output of a convolution or linear layer; 1 for everything else."""
    return 1 if name.endswith("complex_weight") else math.prod(shape[1:])


def _sum(collectors: Sequence[Collector]) -> Statistics:
    whole = Collector()
    for collector in collectors:
        whole.add(collector)
    return whole.result()
