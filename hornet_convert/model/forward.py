"""The forward check: one row of the verdict from two independent computations."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.expected import Contents
from hornet_convert.conversion.places import WRAPPED, tensors_in
from hornet_convert.conversion.proof import Proof
from hornet_convert.conversion.readback import Wanted
from hornet_convert.errors import CheckFailedError
from hornet_convert.family.architecture import Architecture
from hornet_convert.model.edited import EditedWeights, measure_drift
from hornet_convert.model.equivalence import compare_forward
from hornet_convert.model.torch_load import loaded_apart
from hornet_convert.model.weights import CheckpointWeights
from hornet_convert.report.check import Check, failed, not_checked, passed
from hornet_convert.report.progress import DRIFT, FORWARD, Progress, reading
from hornet_convert.report.trace import Probe, Trace

USUAL: Final = Probe()

# Pixels to a side. A file's filters can ask for any: a few kilobytes for gigabytes of activations.
LARGEST_UNASKED: Final = 1024

# Resized filters are written in float32, so they are equal up to its rounding.
RESIZED_TOLERANCE: Final = 1e-6


def forward_check(file: ModelFile, probe: Probe = USUAL, progress: Progress | None = None) -> Check:
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
            float32=probe.float32,
            progress=reading(progress, FORWARD),
        )
    except CheckFailedError as error:
        return failed("forward", error.message)
    return _judged(trace, f"{_images(trace)} in float64")


def prove(
    file: ModelFile, asked: Wanted, result: Checkpoint, progress: Progress | None = None
) -> Proof:
    """Prove a result with torch: by the forward check, and a `.pth` by `torch.load` meanwhile."""
    if result.container == "safetensors":
        return _forward(file, asked, result, progress)
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(loaded_apart, result.path, WRAPPED[asked.result.layout][0])
        return replace(_forward(file, asked, result, progress), loaded=loading.result())


def _forward(
    file: ModelFile, asked: Wanted, result: Checkpoint, progress: Progress | None
) -> Proof:
    """Compare what the source computes with what the reference model does with the result.

    What was only renamed has to compute the same. What was edited has to compute what the source
    does when the same edit is made to it by other code; what rounding does beyond that is measured.
    `result` is the written file opened again: its names are understood as the code of its layout
    understands them.
    """
    made, layout = asked.result, file.identity.layout
    if layout is None:
        raise ValueError("the source is not identified")
    architecture = Architecture.from_name(made.model)
    if not made.resized and architecture.resolution > LARGEST_UNASKED:
        return Proof(_too_large(architecture))
    source = CheckpointWeights(file.checkpoint, asked.choice.tensors)
    there = tensors_in(result, made.layout)
    named = {row.name: there[key] for key, row in made.tensors.items() if key in there}
    target = CheckpointWeights(result, named)
    edited = not made.copied or len(made.tensors) != len(asked.source.tensors)
    try:
        trace = compare_forward(
            EditedWeights(file.checkpoint, asked),
            layout,
            target,
            architecture,
            made.num_classes,
            float32=edited,
            progress=reading(progress, FORWARD),
        )
    except CheckFailedError as error:
        return Proof(failed("forward", error.message))
    if made.resized:
        trace = replace(trace, tolerance=RESIZED_TOLERANCE)
    edits = f", {_how(made)};" if edited else ""
    check = _judged(trace, f"{_images(trace)} in float64{edits}")
    if not made.rounded or check.status != "pass":
        return Proof(check)
    drift = measure_drift(source, target, asked, reading(progress, DRIFT))
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


def _judged(trace: Trace, text: str) -> Check:
    """The row for an outcome, its trace attached; the deviations are added to `text`."""
    stages = ", ".join(f"{stage.relative:.1e}" for stage in trace.stages)
    final = trace.output
    text += f"{'' if text.endswith(';') else ','} largest relative deviation: stages {stages}; "
    text += f"{final.module} {final.relative:.1e} (allowed {trace.tolerance:.0e})"
    if trace.float32 is not None and math.isfinite(trace.float32.relative):
        text += f"; float32 is within {trace.float32.relative:.1e} of float64"
    if trace.passed:
        return replace(passed("forward", text), trace=trace)
    first = trace.first_diverging
    culprit = (
        "float32 gives no finite output"
        if first is None
        else f"first to differ: {trace.parts[first].module}"
    )
    return replace(failed("forward", f"{culprit}; {text}"), trace=trace)


def _images(trace: Trace) -> str:
    height, width = trace.image_size
    images = "one image" if trace.batch == 1 else f"{trace.batch} images"
    return f"{images} of {height}×{width}, seed {trace.seed},"


def _how(made: Contents) -> str:
    ways = []
    if made.resized:
        ways.append("resizing its filters itself")
    if made.rows is not None:
        ways.append(f"the same {len(made.rows)} logits")
    if made.rounded is not None:
        ways.append(f"its weights rounded to {made.rounded} too")
    if not ways:
        return "the source up to the last part of the result"
    return f"the source edited by other code ({', '.join(ways)})"
