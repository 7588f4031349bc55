"""The forward check: one row of the verdict from two independent computations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from hornet_convert.architecture import Architecture
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.layouts import Layout
from hornet_convert.model.equivalence import compare_forward
from hornet_convert.report import Check, failed, passed


class CheckpointWeights(Mapping[str, torch.Tensor]):
    """Tensors of an open checkpoint by name, each read when it is asked for."""

    def __init__(self, checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
        self._checkpoint = checkpoint
        self._tensors = tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read one tensor, in its own dtype and shape."""
        tensor = self._tensors[name]
        data = torch.from_numpy(self._checkpoint.read(tensor))
        dtype: torch.dtype = getattr(torch, tensor.dtype.torch)
        return data.view(dtype).reshape(tensor.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def forward_check(
    source: Mapping[str, torch.Tensor],
    layout: Layout,
    target: Mapping[str, torch.Tensor],
    architecture: Architecture,
    num_classes: int | None,
) -> Check:
    """Compare the source's own weights under their own names with the remapped ones.

    Parameters
    ----------
    source
        The source's tensors by its own keys, which are in `layout`.
    target
        The remapped tensors by reference name.
    architecture, num_classes
        What they are.
    """
    result = compare_forward(source, layout, target, architecture, num_classes)
    stages = ", ".join(f"{deviation:.1e}" for deviation in result.stages)
    said = (
        f"one seeded {result.image_size}×{result.image_size} image in float64, largest relative "
        f"deviation: stages {stages}; {result.final_name} {result.final:.1e} "
        f"(allowed {result.tolerance:.0e})"
    )
    if result.passed:
        return passed("forward", said)
    return failed("forward", f"{said}; first to differ: {result.first_diverging}")
