"""The forward check: one row of the verdict from two independent computations."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hornet_convert.architecture import Architecture
from hornet_convert.layouts import Layout
from hornet_convert.model.equivalence import compare_forward
from hornet_convert.report import Check, failed, passed


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
