"""What a conversion may change besides names: the head, the filters' size, the element type. Pure.

What cannot be had without making up weights is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from hornet_convert.errors import UsageError, printable
from hornet_convert.family import labels
from hornet_convert.family.architecture import Architecture

Target = Literal["reference", "official", "openmmlab", "backbone"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)

Precision = Literal["float32", "float16", "bfloat16"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)

HEADS: Final = ("keep", "none", "in1k")

STEP: Final = 32  # pixels of the image per pixel of the last map
LARGEST: Final = 2048


@dataclass(frozen=True)
class Edits:
    """What is asked for.

    Parameters
    ----------
    head
        "keep"; "none" for features; "in1k" for the 1000 rows of a 21k head that are the classes of
        ImageNet-1k; or a number of classes, which must be there or be had by "in1k".
    resolution
        Side in pixels of the image that the global-local filters are resized for.
    dtype
        Element type of every tensor but the filters, which are then float32.
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


AS_IT_IS: Final = Edits()


def rows_for(head: str | int, found: int | None) -> tuple[int, ...] | None:
    """The rows to take of a classifier with `found` of them; None for all."""
    if head in ("keep", "none") or head == found:
        return None
    what = f"--head {head} cannot be had from this checkpoint"
    has = "no classifier" if found is None else f"a classifier of {found} classes"
    if head == "in1k" and found == labels.IN1K_CLASSES:
        raise UsageError(
            what,
            expected=f"a head of {labels.IN21K_CLASSES} classes",
            found=f"{has}: they are those of ImageNet-1k, or of another set of that size",
            hint="Leave out --head.",
        )
    selectable = head in ("in1k", labels.IN1K_CLASSES)
    if not selectable or found != labels.IN21K_CLASSES:
        expected = (
            f"a head of {labels.IN21K_CLASSES} classes, whose rows for ImageNet-1k are known"
            if selectable
            else f"a head of {head} classes"
        )
        raise UsageError(
            what,
            expected=expected,
            found=has,
            hint="Weights are never made up: to train a new classifier take --head none, or build "
            "the model with create_model(..., num_classes=N).",
        )
    return labels.in1k_rows(labels.IN21K_CLASSES)
