"""What a conversion did to the weights, and the proof that it did nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.conversion.plan import Plan
from hornet_convert.numbers.casting import Losses
from hornet_convert.verification.naming import by_block
from hornet_convert.verification.report import Check, failed, not_checked
from hornet_convert.verification.subject import Subject
from hornet_convert.verification.verify import NO_FORWARD, forward_equivalence


@dataclass(frozen=True)
class Proof:
    """The forward check of a result; with rounded weights, how far its outputs moved."""

    check: Check
    drift: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def prove(
    subject: Subject,
    plan: Plan,
    result: Checkpoint,
    tensors: Mapping[str, Tensor],
    *,
    forward: bool,
) -> Proof:
    """Compare what the source computes with what the reference model does with the result.

    What was only renamed has to compute the same. What was edited has to compute what the source
    does when the same edit is made to it by other code; what rounding does beyond that is measured.

    Parameters
    ----------
    subject, plan
        The source, and what was made of it.
    result, tensors
        The written file opened again, and the state dict in it.
    forward
        Whether to compute at all, which needs torch.
    """
    by_reference_name = {part.name: tensors[key] for key, part in plan.parts.items()}
    rounded = plan.rounded
    if not forward:
        notes = (f"how far {rounded} moves the outputs was not measured: {NO_FORWARD}",)
        return Proof(not_checked("forward", NO_FORWARD), notes=notes if rounded else ())
    if not plan.tokens:
        return Proof(forward_equivalence(subject, result, by_reference_name))
    from hornet_convert.model.edited import edited_check, measure_drift
    from hornet_convert.model.weights import CheckpointWeights

    source = CheckpointWeights(subject.checkpoint, subject.tensors)
    target = CheckpointWeights(result, by_reference_name)
    check = edited_check(source, subject.identity, target, plan)
    if not rounded or check.status != "pass":
        return Proof(check)
    drift = measure_drift(source, subject.identity, target, plan)
    if not drift.finite:
        check = replace(check, status="fail", detail=f"{drift.sentence}; {check.detail}")
    return Proof(check, drift.to_json(), (drift.sentence,))


def values_of_result(row: Check, plan: Plan, losses: Mapping[str, Losses]) -> Check:
    """The check of the values, which fails too if rounding made numbers of the result infinite."""
    overflowed = {key: loss.overflowed for key, loss in losses.items() if loss.overflowed}
    if row.code != "values" or not overflowed:
        return row
    names = by_block([plan.parts[key].name for key in overflowed])
    said = (
        f"{sum(overflowed.values())} numbers are too large for {plan.rounded} and would become "
        f"infinite: {names}; bfloat16 reaches as far as float32"
    )
    return failed("values", said if row.status != "fail" else f"{row.detail}; {said}")


def edits_note(plan: Plan, losses: Mapping[str, Losses]) -> str | None:
    """What was changed, in a sentence; None if nothing was."""
    parts = plan.parts.values()
    said = []
    resized = sum(part.resized for part in parts)
    if resized:
        side = plan.architecture.resolution
        said.append(f"{resized} filters resized for {side}×{side} images")
    if plan.rows is not None:
        said.append(f"{len(plan.rows)} rows of the classifier taken, those of ImageNet-1k")
    if plan.left_out:
        said.append(f"left out: {by_block(plan.left_out)}")
    recast = sum(part.recast for part in parts)
    if plan.rounded:
        vanished = sum(loss.vanished for loss in losses.values())
        said.append(f"{recast} tensors rounded to {plan.rounded}, {vanished} numbers to zero")
    elif recast:
        said.append(f"{recast} tensors written in a wider type, exactly")
    if not said:
        return None
    return f"edited: {'; '.join(said)}. The verdict is on the source, not on what was made of it"
