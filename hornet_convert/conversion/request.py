"""What a conversion is asked for, and what it may change besides names. Pure.

What cannot be had without making up weights is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from hornet_convert.errors import UsageError
from hornet_convert.family import labels, zoo
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.file_names import Format
from hornet_convert.report.claims import Claim
from hornet_convert.report.verdict import Requirement
from hornet_convert.text import printable

Target = Literal["reference", "official", "openmmlab", "backbone"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)

Precision = Literal["float32", "float16", "bfloat16"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)

HEADS: Final = ("keep", "none", "in1k")

STEP: Final = 32  # pixels of the image per pixel of the last map
LARGEST: Final = 2048


@dataclass(frozen=True)
class Edits:
    """What is to be changed.

    `head` is "keep"; "none" for features; "in1k" for the 1000 rows of a 21k head that are the
    classes of ImageNet-1k; or a number of classes, which must be there or be had by "in1k".
    `resolution` is the side in pixels of the image that the global-local filters are resized for,
    `dtype` the element type of every tensor but the filters, which are then float32.
    """

    head: str | int = "keep"
    resolution: int | None = None
    dtype: Precision | None = None

    def check(self, architecture: Architecture, target: Target) -> None:
        """Raise UsageError for what cannot be done with any checkpoint of this architecture."""
        if self.head not in HEADS and not (isinstance(self.head, int) and self.head > 0):
            raise UsageError(
                f"--head {printable(str(self.head))} is not known",
                expected=f"{', '.join(HEADS)}, or a number of classes from 1",
            )
        if self.dtype not in (None, *PRECISIONS):
            raise UsageError(
                f"--dtype {printable(str(self.dtype))} is not known",
                expected=", ".join(PRECISIONS),
            )
        if target == "backbone" and self.head not in ("keep", "none"):
            raise UsageError(
                f"--head {self.head} conflicts with --layout backbone",
                found="a backbone has no head",
                hint="Leave out one of the two.",
            )
        if self.resolution is None:
            return
        if architecture.filter_resolution is None:
            raise UsageError(
                f"--resolution conflicts with the model: {architecture.name} has no filters",
                expected="a model with global-local filters, such as tiny-gf or large-gf384",
                hint="A plain model takes images of any size as it is: leave out --resolution.",
            )
        if self.resolution % STEP or not STEP <= self.resolution <= LARGEST:
            raise UsageError(
                f"--resolution {self.resolution} is not a side the network can halve five times",
                expected=f"a multiple of {STEP} from {STEP} to {LARGEST}",
            )

    def rows(self, found: int | None) -> tuple[int, ...] | None:
        """The rows to take of a classifier with `found` of them; None for all.

        Raises UsageError for a head that cannot be had.
        """
        if self.head in ("keep", "none") or self.head == found:
            return None
        expected = f"a head of {self.head} classes"
        hint = (
            "Weights are never made up: to train a new classifier take --head none, or build the "
            "model with create_model(..., num_classes=N)."
        )
        if self.head in ("in1k", labels.IN1K_CLASSES):
            if found == labels.IN21K_CLASSES:
                return labels.in1k_rows(found)
            expected = f"a head of {labels.IN21K_CLASSES} classes, of which ImageNet-1k is a part"
        has = "no classifier" if found is None else f"a classifier of {found} classes"
        if found == labels.IN1K_CLASSES and self.head == "in1k":
            has += ": they are those of ImageNet-1k, or of another set of that size"
            hint = "Leave out --head."
        what = f"--head {self.head} cannot be made from this checkpoint"
        raise UsageError(what, expected=expected, found=has, hint=hint)


AS_IT_IS: Final = Edits()


@dataclass(frozen=True)
class Onnx:
    """What an ONNX model is to be: with the weights inside, with the four stages' maps as outputs.

    Without `single_file` its weights are the safetensors file beside it.
    """

    single_file: bool = False
    features: bool = False


@dataclass(frozen=True)
class Request:
    """What a conversion is asked for.

    `out` is the folder for the result, made if need be; `model` what the file should be, None to
    identify it; `row` the published checkpoint it is known to be, because it was fetched as that.
    `claims`, `require`, `key`, `ema`, `prefix` and `statistics` are as for `verify`: nothing is
    written unless the verdict on the source is what is required. `source` tells where the file
    came from, for report and provenance, `notes` what is to be said of it. `force` replaces a
    different file that already has the result's name. `keep` is whether the result is to stay; if
    not, the report names none, and who asked removes it.
    """

    out: Path
    layout: Target = "reference"
    format: Format = "safetensors"
    edits: Edits = AS_IT_IS
    model: str | None = None
    row: zoo.Published | None = None
    claims: Sequence[Claim] = ()
    require: Sequence[Requirement] = ()
    key: str | None = None
    ema: bool = False
    prefix: str | None = None
    statistics: bool = False
    source: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    force: bool = False
    keep: bool = True
    onnx: Onnx | None = None

    @property
    def chooses(self) -> bool:
        """Whether weights are asked for that need not be those a published name means."""
        return self.ema or self.key is not None or self.prefix is not None

    @property
    def parameters(self) -> dict[str, Any]:
        """What was asked for, as the record says it; nothing of where the result goes."""
        return {
            "format": self.format,
            "layout": self.layout,
            "head": self.edits.head,
            "resolution": self.edits.resolution,
            "dtype": self.edits.dtype,
            "key": self.key,
            "ema": self.ema,
            "prefix": self.prefix,
        }
