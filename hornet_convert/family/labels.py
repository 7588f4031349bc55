"""What the outputs of a classifier mean: the class lists of ImageNet-1k and of the 21k head.

The lists are data of this package. The 21k head has the 10450 classes of ImageNet-21K-P (Ridnik et
al., 2021, winter 2021 release), then the nine of ImageNet-1k that it lacks; the map from 1k to 21k
indices is the authors'.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, TypedDict

IN1K_CLASSES: Final = 1000
IN21K_CLASSES: Final = 10459

_LISTS: Final = {IN1K_CLASSES: "imagenet-1k.json", IN21K_CLASSES: "imagenet-21k-p.json"}


@dataclass(frozen=True)
class ImageClass:
    """One class: its WordNet synset, `n01440764`, and the words for it, `tench, Tinca tinca`."""

    synset: str
    words: str


@cache
def classes(num_classes: int) -> tuple[ImageClass, ...] | None:
    """The classes of a head with that many rows, in the order of the rows; None if not known."""
    if num_classes not in _LISTS:
        return None
    return tuple(ImageClass(synset, words) for synset, words in _data(_LISTS[num_classes]))


Named = TypedDict("Named", {"class": int, "synset": str | None, "label": str | None})
"""A class as a JSON object: its number, its synset and words where they are known."""


def named(number: int, num_classes: int) -> Named:
    """A class, among so many, as a JSON object."""
    known = classes(num_classes)
    return {
        "class": number,
        "synset": None if known is None else known[number].synset,
        "label": None if known is None else known[number].words,
    }


@cache
def in1k_index() -> dict[str, int]:
    """ImageNet-1k class number by synset."""
    return {each.synset: index for index, each in enumerate(classes(IN1K_CLASSES) or ())}


@cache
def in1k_rows(num_classes: int) -> tuple[int, ...] | None:
    """The rows of a head that stand for the classes of ImageNet-1k, in their order, if known."""
    if num_classes == IN1K_CLASSES:
        return tuple(range(IN1K_CLASSES))
    return tuple(_data("in1k-to-in21k.json")) if num_classes == IN21K_CLASSES else None


def _data(name: str) -> Any:
    return json.loads(resources.files("hornet_convert").joinpath("data", name).read_text("utf-8"))
