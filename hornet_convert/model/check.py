"""The forward check: one row of the verdict from two independent computations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import torch

from hornet_convert.errors import CheckFailedError
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.layouts import Layout
from hornet_convert.model.equivalence import Equivalence, compare_forward
from hornet_convert.verification.report import Check, failed, not_checked, passed
from hornet_convert.verification.trace import Part, Probe, Trace

USUAL = Probe()

# Pixels to a side. A file's filters can ask for any: a few kilobytes for gigabytes of activations.
LARGEST_UNASKED: Final = 1024


def forward_check(
    source: Mapping[str, torch.Tensor],
    layout: Layout,
    target: Mapping[str, torch.Tensor],
    architecture: Architecture,
    num_classes: int | None,
    probe: Probe = USUAL,
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
    probe
        The images. Without a size, a model for very large ones is not checked.
    """
    if probe.image_size is None and architecture.resolution > LARGEST_UNASKED:
        return too_large(architecture)
    try:
        result = compare_forward(
            source,
            layout,
            target,
            architecture,
            num_classes,
            image_size=probe.image_size,
            seed=probe.seed,
            batch=probe.batch,
            float32=True,
        )
    except CheckFailedError as error:
        return failed("forward", error.message)
    return judged(result, f"{_images(result)} in float64, largest relative deviation: ")


def too_large(architecture: Architecture) -> Check:
    """The row for a model whose own images are larger than is computed without being asked for."""
    side = architecture.resolution
    return not_checked(
        "forward",
        f"the filters in the file are for images of {side}×{side}, more than {LARGEST_UNASKED}; "
        "give `verify` an --image-size",
    )


def judged(result: Equivalence, said: str) -> Check:
    """The row for an outcome, its trace attached; the deviations are added to what is `said`."""
    stages = ", ".join(f"{stage.relative:.1e}" for stage in result.stages)
    final = result.output
    said += f"stages {stages}; {final.module} {final.relative:.1e} (allowed {result.tolerance:.0e})"
    if result.float32 is not None and math.isfinite(result.float32.relative):
        said += f"; float32 is within {result.float32.relative:.1e} of float64"
    if result.passed:
        check = passed("forward", said)
    else:
        first = result.first_diverging
        culprit = f"first to differ: {first}" if first else "float32 gives no finite output"
        check = failed("forward", f"{culprit}; {said}")
    return replace(check, trace=_trace(result))


def _images(result: Equivalence) -> str:
    height, width = result.image_size
    images = "one image" if result.batch == 1 else f"{result.batch} images"
    return f"{images} of {height}×{width}, seed {result.seed},"


def _trace(result: Equivalence) -> Trace:
    return Trace(
        tuple(
            Part(part.module, part.absolute, part.largest, part.relative)
            for part in result.deviations
        ),
        result.image_size,
        result.seed,
        result.batch,
        result.tolerance,
        None if result.float32 is None else result.float32.relative,
    )
