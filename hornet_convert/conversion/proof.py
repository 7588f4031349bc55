"""What is demanded of a result before it is published, and what a conversion did to the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.plan import Plan
from hornet_convert.conversion.readback import Loaded, Wanted
from hornet_convert.numbers.casting import Losses
from hornet_convert.report.check import Check
from hornet_convert.text import by_block


@dataclass(frozen=True)
class Proof:
    """The forward check of a result, and what belongs to it.

    `loaded` is what torch makes of a `.pth`, a sentence if it refuses it, None where that was not
    tried; `drift` how far rounding moved the outputs.
    """

    check: Check
    loaded: Loaded | str | None = None
    drift: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


Prove = Callable[[ModelFile, Wanted, Checkpoint], Proof]
"""Compares what the source computes with what the reference model does with the result.

Given the source, what was asked for, and the written file opened again. It needs torch, so it comes
from above.
"""


def overflow(plan: Plan, losses: Mapping[str, Losses]) -> str | None:
    """The numbers of the result that rounding made infinite, in a sentence; None without any."""
    overflowed = {key: loss.overflowed for key, loss in losses.items() if loss.overflowed}
    if not overflowed:
        return None
    names = by_block([plan.parts[key].name for key in overflowed])
    return (
        f"{sum(overflowed.values())} numbers are too large for {plan.rounded} and would become "
        f"infinite: {names}; bfloat16 reaches as far as float32"
    )


def edits_note(plan: Plan, losses: Mapping[str, Losses]) -> list[str]:
    """What was changed, in a sentence; empty if nothing was."""
    parts = plan.parts.values()
    text = []
    if resized := sum(part.resized for part in parts):
        side = plan.architecture.resolution
        text.append(f"{resized} filters resized for {side}×{side} images")
    if plan.rows is not None:
        text.append(f"{len(plan.rows)} rows of the classifier taken, those of ImageNet-1k")
    if plan.left_out:
        text.append(f"left out: {by_block(plan.left_out)}")
    recast = sum(part.recast for part in parts)
    if plan.rounded:
        vanished = sum(loss.vanished for loss in losses.values())
        text.append(f"{recast} tensors rounded to {plan.rounded}, {vanished} numbers to zero")
    elif recast:
        text.append(f"{recast} tensors written in a wider type, exactly")
    if not text:
        return []
    edited = "; ".join(text)
    return [f"edited: {edited}. The verdict is on the source, not on what was made of it"]
