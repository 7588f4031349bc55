"""The forward check: one row of the verdict from two independent computations."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hornet_convert.architecture import Architecture
from hornet_convert.errors import CheckFailedError
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
    try:
        result = compare_forward(source, layout, target, architecture, num_classes)
    except CheckFailedError as error:
        return failed("forward", error.message)
    height, width = result.image_size
    stages = ", ".join(f"{stage.relative:.1e}" for stage in result.stages)
    output = "logits" if num_classes is not None else "features"
    said = (
        f"one seeded {height}×{width} image in float64, largest relative deviation: "
        f"stages {stages}; {output} {result.output.relative:.1e} "
        f"(allowed {result.tolerance:.0e})"
    )
    if result.passed:
        return passed("forward", said)
    return failed("forward", f"{said}; first to differ: {result.first_diverging}")
