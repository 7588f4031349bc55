"""The outcome of `compare` as an HTML page. Pure strings."""

from __future__ import annotations

from collections.abc import Mapping

from hornet_convert.comparison.outcome import Comparison, Side
from hornet_convert.family.architecture import Shape
from hornet_convert.html.environment import pieces, render
from hornet_convert.report.report import ALARM


def comparison_page(found: Comparison, about: Mapping[str, str]) -> str:
    """The whole page on two checkpoints; `about` says when it was made, and by what."""
    a, b = _facts(found.a), _facts(found.b)
    short = bool(found) or found.unrelated
    return render(
        "comparison.html.j2",
        about,
        found=found,
        alarm=ALARM,
        lead=found.sentence if short else _counts(found),
        looks=[] if short else pieces(found.sentence.removesuffix("."), ". ")[:-1],
        sides=[(name, a[name], b[name]) for name in a if a[name] or b[name]],
        only=[("Only in A", found.missing), ("Only in B", found.added)],
        reshaped=[(each.name, _shape(each.a), _shape(each.b)) for each in found.reshaped],
    )


def _counts(found: Comparison) -> str:
    counts = {
        "the same bit for bit": found.same,
        "changed": len(found.changed),
        "of another shape": len(found.reshaped),
        "only in A": len(found.missing),
        "only in B": len(found.added),
    }
    return "Tensors: " + ", ".join(f"{n} {what}" for what, n in counts.items() if n) + "."


def _facts(side: Side) -> dict[str, object]:
    return {
        "File": side.path,
        "Model": side.model or "not a HorNet",
        "Key layout": side.layout,
        "Container": side.container,
        "Classes": side.num_classes,
        "Tensors": side.tensors,
        "Damaged tensors": len(side.damaged),
        "SHA-256 of the file": side.sha256,
        "Fingerprint of the weights": side.fingerprint,
    }


def _shape(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "scalar"
