"""Labelled images, and what was left out of them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

from hornet_convert.text import printable


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its class number."""

    path: str
    label: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model made of one sample, or why its image could not be read (`error`).

    `best` are the numbers and probabilities of the five most probable classes, the first first,
    `rank` the place of the right one among all classes, from 1; None if there is no answer.
    """

    sample: Sample
    rank: int | None = None
    best: tuple[tuple[int, float], ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Skipped:
    """Something left out: a file, a folder or a CSV row, why, and how many images that makes."""

    where: str
    reason: str
    images: int = 1


@dataclass(frozen=True)
class Dataset:
    """What is to be evaluated, and what was left out.

    `source` is the folder or CSV file, `root` the folder that paths are shown from. `num_classes`
    is how many classes there could be: the labels are below it. `left` are samples that a limit has
    left out.
    """

    source: Path
    root: Path
    num_classes: int
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()
    left: int = 0

    def limited(self, limit: int | None) -> Dataset:
        """At most `limit` of the samples, spread evenly over all of them."""
        count = len(self.samples)
        if limit is None or limit >= count:
            return self
        chosen = tuple(self.samples[index * count // limit] for index in range(limit))
        return replace(self, samples=chosen, left=self.left + count - limit)

    def share(self, rank: int = 0, count: int = 1) -> tuple[Sample, ...]:
        """What process `rank` of `count` does: every sample is in exactly one share."""
        return tuple(self.samples[place] for place in self.places(rank, count))

    def places(self, rank: int = 0, count: int = 1) -> list[int]:
        """The places of a share's samples among all.

        In an order in which any stretch is spread over all classes, so that figures on the way say
        something about the end: in steps of the golden section, around and around.
        """
        total = len(self.samples)
        step = max(1, round(total * 0.618034))
        while math.gcd(step, total) > 1:
            step += 1
        return [place % total for place in range(rank * step, total * step, count * step)]

    def shown(self, path: str) -> str:
        """A path as it is shown: from the root, control characters escaped."""
        return printable(self.from_root(path))

    def digest(self) -> str:
        """SHA-256 of all labels and paths: the same on machines that have the same images."""
        state = hashlib.sha256()
        for sample in self.samples:
            line = f"{sample.label} {self.from_root(sample.path)}\n"
            state.update(line.encode("utf-8", "surrogateescape"))
        return state.hexdigest()

    def from_root(self, path: str) -> str:
        """A path from the root, where it is below it."""
        return path.removeprefix(f"{self.root}/")
