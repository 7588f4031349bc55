"""The checks that need no model: facts in, one row of the verdict out. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import printable
from hornet_convert.family import zoo
from hornet_convert.family.architecture import LAYER_SCALE_INIT
from hornet_convert.numbers.values import ValueCheck
from hornet_convert.verification.identity import Identity
from hornet_convert.verification.naming import by_block, listed
from hornet_convert.verification.report import Check, failed, not_checked, passed

INITIAL_WITHIN: Final = 0.02  # rounding 1e-6 to float16 moves it by 1.3 %


def container(kind: str, damaged: Iterable[str], checked: int, total: int) -> Check:
    """Judge the container by the CRCs of the weights' bytes.

    `damaged` names the tensors whose storage does not match; `checked` of `total` bytes had a CRC.
    """
    bad = list(damaged)
    if bad:
        return failed("container", f"CRC mismatch, bytes have changed: {listed(bad)}")
    if kind == "zip" and checked:
        return passed("container", f"zip, well-formed; CRC right for {checked:,} bytes of weights")
    return not_checked(
        "container", f"a {kind} file is well-formed but records no CRC of its weights"
    )


def model(identity: Identity, asked: str | None) -> Check:
    """Judge whether layout and model were recognised, and the model is the one asked for."""
    if identity.layout is None:
        keys = listed([printable(key) for key in identity.unknown])
        return failed("model", f"no key belongs to a HorNet in any layout; found {keys or 'none'}")
    if identity.architecture is None:
        return failed("model", f"keys in {identity.layout} layout, but no width can be read off")
    name = identity.architecture.name
    if asked is not None and asked != name:
        return failed("model", f"the file holds {name}, not {asked}")
    row = identity.published
    what = f"{row.label} ({name})" if row else f"{name}, a HorNet that is not one of the nine"
    classes = "no classifier" if identity.num_classes is None else f"{identity.num_classes} classes"
    as_asked = ", as asked for" if asked else ""
    return passed("model", f"{what}{as_asked}, {identity.layout} layout, {classes}")


def keys(identity: Identity) -> Check:
    """List all missing, extra and doubled keys at once, by block."""
    if identity.architecture is None:
        return not_checked("keys", "the model is not recognised")
    problems = []
    if identity.missing and not identity.backbone:
        problems.append(f"{len(identity.missing)} missing: {by_block(identity.missing)}")
    if identity.unknown:
        extra = by_block([printable(key) for key in identity.unknown])
        problems.append(f"{len(identity.unknown)} not of this model: {extra}")
    if identity.doubled:
        groups = listed([" = ".join(map(printable, group)) for group in identity.doubled])
        problems.append(f"{len(identity.doubled)} given twice: {groups}")
    if problems:
        return failed("keys", "; ".join(problems))
    without = "" if identity.num_classes is not None else "; there is no classifier (head.fc)"
    if identity.backbone:
        without += " and no final norm (head.norm): a backbone for detection or segmentation"
    return passed("keys", f"all {len(identity.names)} there, none beside{without}")


def shapes_and_dtypes(identity: Identity, tensors: Mapping[str, Tensor]) -> Check:
    """Judge every tensor's shape against the definition, and its element type."""
    if identity.architecture is None:
        return not_checked("tensors", "the model is not recognised")
    problems = []
    if identity.misshapen:
        rows = [
            f"{wrong.name} is {_shape(wrong.found)}, should be {_shape(wrong.expected)}"
            for wrong in identity.misshapen
        ]
        problems.append(f"{len(rows)} of the wrong shape: {listed(rows, '; ')}")
    strange = [key for key in identity.names if tensors[key].dtype.kind != "float"]
    if strange:
        rows = [f"{printable(key)} is {tensors[key].dtype.torch}" for key in strange]
        problems.append(f"{len(rows)} not floating-point: {listed(rows)}")
    if problems:
        return failed("tensors", "; ".join(problems))
    dtypes = sorted({tensors[key].dtype.torch for key in identity.names})
    return passed("tensors", f"{len(identity.names)} of the right shape, {', '.join(dtypes)}")


def values(
    identity: Identity,
    seen: Mapping[str, ValueCheck],
    untrained: Sequence[str],
) -> Check:
    """Judge the values: finite, not all zero, layer scales no longer as initialised.

    `seen` is by source key; `untrained` are what `untrained_layer_scales` gives.
    """
    if not seen:
        return not_checked("values", "there are no tensors of a HorNet")
    name = identity.names
    infinite = [name.get(key, key) for key, value in seen.items() if not value.finite]
    zero = [name.get(key, key) for key, value in seen.items() if value.zero]
    zero_weights = [key for key in zero if not key.endswith(".bias")]
    problems = [
        f"{len(bad)} {what}: {by_block(bad)}"
        for what, bad in (
            ("with NaN or infinity", infinite),
            ("all zero", zero_weights),
            (f"layer scales still at their initial {LAYER_SCALE_INIT:g} (not trained)", untrained),
        )
        if bad
    ]
    if problems:
        return failed("values", "; ".join(problems))
    zero_biases = len(zero)
    also = f"; {zero_biases} biases are all zero: {by_block(zero)}" if zero_biases else ""
    return passed(
        "values", f"{len(seen)} tensors finite, none all zero, layer scales trained{also}"
    )


def untrained_layer_scales(
    identity: Identity, bounds: Callable[[str], tuple[float, float] | None]
) -> list[str]:
    """Reference names of the layer scales that still have their initial value.

    `bounds` gives the smallest and largest value of a tensor by source key.
    """
    return [
        name
        for key, name in identity.names.items()
        if name.endswith((".gamma1", ".gamma2")) and _is_initial(bounds(key))
    ]


def _is_initial(bounds: tuple[float, float] | None) -> bool:
    if bounds is None:
        return False
    low, high = bounds
    return all(abs(value / LAYER_SCALE_INIT - 1) <= INITIAL_WITHIN for value in (low, high))


def parameters(identity: Identity, tensors: Mapping[str, Tensor]) -> Check:
    """Compare the number of parameters with the published figure, the head taken as published."""
    row = identity.published
    if identity.architecture is None or not identity.complete:
        return not_checked("parameters", "the keys are not those of a model")
    total = sum(tensors[key].numel for key in identity.names)
    if row is None:
        return not_checked(
            "parameters", f"{identity.name} is not published; the file holds {total:,}"
        )
    shapes = identity.architecture.shapes(identity.num_classes)
    defined = sum(math.prod(shapes[name]) for name in identity.names.values())
    published = identity.architecture.parameters(row.published_classes)
    at_published = total - defined + published
    said = f"{total:,} in the file"
    if identity.num_classes != row.published_classes:
        said += f", {at_published:,} with {row.published_classes} classes"
    if not row.parameters_are_right and at_published == published:
        return passed(
            "parameters",
            f"{said}; the published {row.parameters_m} M is an erratum: {row.errata[0]}",
        )
    if abs(at_published / 1e6 - row.parameters_m) <= zoo.PARAMETERS_TOLERANCE_M:
        return passed("parameters", f"{said}; published: {row.parameters_m} M")
    return failed("parameters", f"{said}; published: {row.parameters_m} M")


def recorded_fingerprint(computed: str | None, recorded: str | None) -> Check:
    """Compare the fingerprint with the one a safetensors file of ours records in its metadata."""
    if computed is None:
        return not_checked("fingerprint", "the keys are not those of a model")
    if recorded is None:
        return not_checked("fingerprint", f"the file records none; computed: {computed}")
    if recorded != computed:
        return failed(
            "fingerprint", f"the file records {printable(recorded)}, the weights have {computed}"
        )
    return passed("fingerprint", f"{computed}, as the file records")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a scalar"
