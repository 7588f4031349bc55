"""The forward check: one row of the verdict from two independent computations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.expected import WRAPPED
from hornet_convert.conversion.plan import Plan
from hornet_convert.conversion.proof import Proof
from hornet_convert.errors import CheckFailedError
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.keys import expected_keys
from hornet_convert.model.edited import EditedWeights, measure_drift
from hornet_convert.model.equivalence import compare_forward
from hornet_convert.model.torch_load import loaded_apart
from hornet_convert.model.weights import CheckpointWeights
from hornet_convert.report.check import Check, failed, not_checked, passed
from hornet_convert.report.trace import Probe, Trace

USUAL: Final = Probe()

# Pixels to a side. A file's filters can ask for any: a few kilobytes for gigabytes of activations.
LARGEST_UNASKED: Final = 1024

# Resized filters are written in float32, so they are equal up to its rounding.
RESIZED_TOLERANCE: Final = 1e-6


def forward_check(file: ModelFile, probe: Probe = USUAL) -> Check:
    """Compare the source's own weights under their own names with the remapped ones.

    Without a size in the `probe`, a model for very large images is not checked.
    """
    identity = file.identity
    if identity.layout is None or identity.architecture is None:
        return not_checked("forward", "the model is not recognised")
    if probe.image_size is None and identity.architecture.resolution > LARGEST_UNASKED:
        return _too_large(identity.architecture)
    try:
        trace = compare_forward(
            CheckpointWeights(file.checkpoint, file.tensors),
            identity.layout,
            CheckpointWeights(file.checkpoint, file.by_reference_name),
            identity.architecture,
            identity.num_classes,
            image_size=probe.image_size,
            seed=probe.seed,
            batch=probe.batch,
            float32=True,
        )
    except CheckFailedError as error:
        return failed("forward", error.message)
    return _judged(trace, f"{_images(trace)} in float64")


def prove(file: ModelFile, plan: Plan, result: Checkpoint, tensors: Mapping[str, Tensor]) -> Proof:
    """Prove a result with torch: by the forward check, and a `.pth` by `torch.load` meanwhile."""
    if result.container == "safetensors":
        return _forward(file, plan, result, tensors)
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(loaded_apart, result.path, WRAPPED[plan.target][0])
        return replace(_forward(file, plan, result, tensors), loaded=loading.result())


def _forward(
    file: ModelFile, plan: Plan, result: Checkpoint, tensors: Mapping[str, Tensor]
) -> Proof:
    """Compare what the source computes with what the reference model does with the result.

    What was only renamed has to compute the same. What was edited has to compute what the source
    does when the same edit is made to it by other code; what rounding does beyond that is measured.
    `tensors` are the state dict of `result`, the written file opened again.
    """
    identity = file.identity
    if identity.layout is None or identity.architecture is None:
        raise ValueError("the source is not identified")
    resized = any(part.resized for part in plan.parts.values())
    if not resized and plan.architecture.resolution > LARGEST_UNASKED:
        return Proof(_too_large(plan.architecture))
    source = CheckpointWeights(file.checkpoint, file.tensors)
    # Under the names in the file, as the code of its layout understands them.
    names = expected_keys(plan.target, plan.architecture, plan.num_classes is not None)
    target = CheckpointWeights(
        result, {name: tensors[key] for key, name in names.items() if key in tensors}
    )
    try:
        trace = compare_forward(
            EditedWeights(file, plan) if plan.tokens else source,
            identity.layout,
            target,
            plan.architecture,
            plan.num_classes,
            float32=True,
        )
    except CheckFailedError as error:
        return Proof(failed("forward", error.message))
    if resized:
        trace = replace(trace, tolerance=RESIZED_TOLERANCE)
    how = f", {_how(plan, resized)};" if plan.tokens else ""
    check = _judged(trace, f"{_images(trace)} in float64{how}")
    if not plan.rounded or check.status != "pass":
        return Proof(check)
    drift = measure_drift(source, identity, target, plan)
    if not drift.finite:
        check = replace(check, status="fail", detail=f"{drift.sentence}; {check.detail}")
    return Proof(check, drift=drift.to_json(), notes=(drift.sentence,))


def _too_large(architecture: Architecture) -> Check:
    """The row for a model whose own images are larger than is computed without being asked for."""
    side = architecture.resolution
    return not_checked(
        "forward",
        f"the filters in the file are for images of {side}×{side}, more than {LARGEST_UNASKED}; "
        "give `verify` an --image-size",
    )


def _judged(trace: Trace, said: str) -> Check:
    """The row for an outcome, its trace attached; the deviations are added to what is `said`."""
    stages = ", ".join(f"{stage.relative:.1e}" for stage in trace.stages)
    final = trace.output
    said += f"{'' if said.endswith(';') else ','} largest relative deviation: stages {stages}; "
    said += f"{final.module} {final.relative:.1e} (allowed {trace.tolerance:.0e})"
    if trace.float32 is not None and math.isfinite(trace.float32.relative):
        said += f"; float32 is within {trace.float32.relative:.1e} of float64"
    if trace.passed:
        return replace(passed("forward", said), trace=trace)
    first = trace.first_diverging
    culprit = (
        "float32 gives no finite output"
        if first is None
        else f"first to differ: {trace.parts[first].module}"
    )
    return replace(failed("forward", f"{culprit}; {said}"), trace=trace)


def _images(trace: Trace) -> str:
    height, width = trace.image_size
    images = "one image" if trace.batch == 1 else f"{trace.batch} images"
    return f"{images} of {height}×{width}, seed {trace.seed},"


def _how(plan: Plan, resized: bool) -> str:
    ways = []
    if resized:
        ways.append("resizing its filters itself")
    if plan.rows is not None:
        ways.append(f"the same {len(plan.rows)} logits")
    if plan.rounded is not None:
        ways.append(f"its weights rounded to {plan.rounded} too")
    if not ways:
        return "the source up to the last part of the result"
    return f"the source edited by other code ({', '.join(ways)})"
