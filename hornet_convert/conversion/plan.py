"""The plan of a result: which tensor of the source each tensor is made of, and how. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.tensors import BY_TORCH_NAME, DTYPES, DType, Tensor
from hornet_convert.checks.identity import CLASSIFIER, FINAL_NORM, Identity
from hornet_convert.conversion.request import Edits, Precision, Target
from hornet_convert.errors import UsageError
from hornet_convert.family.architecture import Architecture, Shape
from hornet_convert.family.layouts import Layout, translate
from hornet_convert.numbers.casting import CASTABLE

BACKBONE_NORMS: Final = ("norm0", "norm1", "norm2", "norm3")
"""What the authors' detection and segmentation backbones have beside these weights."""


@dataclass(frozen=True)
class Part:
    """One tensor of the result, by what it is made of.

    `name` is its reference name, `source` the tensor in the source under `key`; `dtype` and `shape`
    are of the result; `rows` are those taken of the first axis, None for all.
    """

    key: str
    name: str
    source: Tensor
    dtype: DType
    shape: Shape
    rows: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes in the result."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def resized(self) -> bool:
        """Whether it is a filter of another size than the source's."""
        return self.rows is None and self.shape != self.source.shape

    @property
    def recast(self) -> bool:
        """Whether the element type changes."""
        return self.dtype != self.source.dtype

    @property
    def streams(self) -> bool:
        """Whether it can be made piece by piece as the source is read."""
        return self.rows is None and not self.resized

    @property
    def edited(self) -> bool:
        """Whether its bytes are not the source's."""
        return self.recast or not self.streams


@dataclass(frozen=True)
class Plan:
    """The result, tensor by tensor.

    `parts` are by key of the result, in the order of the computation. `tokens` are the edits that
    change something, in the order made: `224to384px`, `in1k-head`, `no-head`, `backbone`,
    `float16`; they go into name and metadata. `left_out` are reference names of the source's
    tensors that the result does not have, `starts_fresh` what the code that loads it has beside
    these weights. `notes` say what was asked for and changes nothing, and what a user should know.
    """

    target: Target
    parts: Mapping[str, Part]
    architecture: Architecture
    num_classes: int | None
    tokens: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    starts_fresh: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rounded(self) -> str | None:
        """The element type that numbers were rounded to; None if every number is kept.

        A wider type has every number of a narrower one.
        """
        for part in self.parts.values():
            if part.recast and part.dtype.itemsize <= part.source.dtype.itemsize:
                return part.dtype.torch
        return None

    @property
    def rows(self) -> tuple[int, ...] | None:
        """The rows taken of the classifier; None for all."""
        return next((part.rows for part in self.parts.values() if part.rows is not None), None)


def plan(
    identity: Identity, tensors: Mapping[str, Tensor], edits: Edits, target: Target = "reference"
) -> Plan:
    """How the result is made of a sound state dict.

    `tensors` are the source's by its own keys. Raises UsageError for a combination that cannot be,
    naming the part that conflicts.
    """
    origin = identity.architecture
    if origin is None:
        raise ValueError("only an identified state dict can be planned for")
    edits.check(origin, target)
    goal = Architecture(origin.width, edits.resolution) if edits.resolution else origin
    rows = edits.rows(identity.num_classes)
    without_head = edits.head == "none" or target == "backbone"
    num_classes = None if without_head else len(rows) if rows else identity.num_classes
    keys = {name: key for key, name in identity.names.items()}
    layout: Layout = "official" if target == "backbone" else target
    # OpenMMLab's detectors take a backbone without norms as it is; they have a norm for each stage.
    normless = target == "backbone" or (target == "openmmlab" and identity.backbone)
    parts: dict[str, Part] = {}
    for name, shape in goal.shapes(num_classes).items():
        if normless and name in FINAL_NORM:
            continue
        if name not in keys:
            raise UsageError(
                f"--layout {target} conflicts with the checkpoint, which is a backbone",
                expected="a final norm (head.norm), which only a classification checkpoint has",
                hint="Take --layout backbone.",
            )
        source = tensors[keys[name]]
        dtype = _dtype(name, source, shape, edits.dtype)
        part = Part(keys[name], name, source, dtype, shape, rows if name in CLASSIFIER else None)
        if (part.recast or part.resized) and source.dtype.code not in CASTABLE:
            raise UsageError(
                f"--{'dtype' if part.recast else 'resolution'} conflicts with the checkpoint's "
                f"{source.dtype.torch}",
                where=name,
                expected="float64, float32, float16 or bfloat16",
                hint="Leave it out: the tensors can be copied as they are.",
            )
        key = translate(name, "reference", layout)
        if key is None:
            raise ValueError(f"{name} has no name in the {layout} layout")
        parts[key] = part
    tokens, notes = _tokens_and_notes(edits, identity, goal, target, parts)
    used = {part.name for part in parts.values()}
    return Plan(
        target,
        parts,
        goal,
        num_classes,
        tokens,
        left_out=tuple(name for name in keys if name not in used),
        starts_fresh=BACKBONE_NORMS if normless else (),
        notes=notes,
    )


def _dtype(name: str, source: Tensor, shape: Shape, precision: Precision | None) -> DType:
    """Element type of a tensor in the result."""
    if name.endswith(".complex_weight"):
        # Filters stay in float32 at any precision, and interpolated values need it.
        narrow = source.dtype.itemsize < 4 and shape != source.shape
        return DTYPES["F32"] if precision is not None or narrow else source.dtype
    return source.dtype if precision is None else BY_TORCH_NAME[precision]


def _tokens_and_notes(
    edits: Edits,
    identity: Identity,
    goal: Architecture,
    target: Target,
    parts: Mapping[str, Part],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tokens: list[str] = []
    notes: list[str] = []
    origin = identity.architecture
    if origin is not None and edits.resolution is not None:
        if goal == origin:
            notes.append(f"--resolution: the filters are sized for {goal.resolution} already")
        else:
            tokens.append(f"{origin.resolution}to{goal.resolution}px")
    if any(part.rows is not None for part in parts.values()):
        tokens.append("in1k-head")
    if target == "backbone":
        tokens.append("backbone")
        notes.append(
            "a backbone for detection or segmentation: the norms it has after each stage are in no "
            f"classification checkpoint and start fresh there: {', '.join(BACKBONE_NORMS)}"
        )
    elif edits.head == "none":
        if identity.num_classes is None:
            notes.append("--head none: there is no classifier to leave out")
        else:
            tokens.append("no-head")
    if target == "openmmlab" and (arch := goal.openmmlab_arch()) is not None:
        notes.append(f"mmpretrain has no name for this model; its backbone takes arch={arch}")
    if edits.dtype is not None:
        if any(part.recast for part in parts.values()):
            tokens.append(edits.dtype)
        else:
            notes.append(f"--dtype: the tensors are {edits.dtype} already")
    return tuple(tokens), tuple(notes)
