"""How right a model was on labelled images, beside what is published. Pure."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from hornet_convert.family import labels, zoo
from hornet_convert.images.samples import Answer, Dataset, Skipped
from hornet_convert.report.document import result
from hornet_convert.text import counted

if TYPE_CHECKING:
    from hornet_convert.report.results import AccuracyFacts, EvaluationResult

PUBLISHED_IMAGES = 50_000  # of the ImageNet-1k validation set, 50 of each class
CONFUSIONS_SHOWN: Final = 20  # pairs of classes; one image of a pair is no pattern
_TRUTH: Final = ("path", "truth", "truth_synset", "truth_label", "rank", "correct")
_BEST: Final = ("class", "synset", "label", "probability")
TITLES: Final = (*_TRUTH, *(f"{name}_{n}" for n in range(1, 6) for name in _BEST), "error")
"""The columns of the list of `--csv`, which is known by them as ours."""


@dataclass(frozen=True)
class Tally:
    """Images that were classified, and for how many the first, or one of the first five, was right.

    `refused` could not be read and count for nothing else.
    """

    images: int = 0
    top1: int = 0
    top5: int = 0
    refused: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in asdict(self)))

    @staticmethod
    def of(answers: Iterable[Answer]) -> Tally:
        """The tally of these answers."""
        ranks = [answer.rank for answer in answers]
        known = [rank for rank in ranks if rank is not None]
        top1, top5 = (sum(rank <= most for rank in known) for most in (1, 5))
        return Tally(len(known), top1, top5, len(ranks) - len(known))


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers; `published`, `percent` and all differences are in per cent."""

    correct: int
    images: int
    published: float | None = None

    @property
    def percent(self) -> float:
        """The share that was right."""
        return 100 * self.correct / self.images

    @property
    def standard_error(self) -> float:
        """How far by chance the share of so many images is off, one standard deviation.

        That of a binomial distribution around the published share; around the own, if none is.
        """
        share = (self.percent if self.published is None else self.published) / 100
        return 100 * math.sqrt(share * (1 - share) / self.images)

    @property
    def difference(self) -> float | None:
        """From the published share to this one."""
        return None if self.published is None else self.percent - self.published

    @property
    def standard_errors(self) -> float | None:
        """The difference in standard errors."""
        if self.difference is None or not self.standard_error:
            return None
        return self.difference / self.standard_error

    def to_json(self) -> AccuracyFacts:
        """The accuracy as a JSON object."""
        return {
            "correct": self.correct,
            "percent": self.percent,
            "published": self.published,
            "difference": self.difference,
            "standard_error": self.standard_error,
            "difference_in_standard_errors": self.standard_errors,
        }


@dataclass(frozen=True)
class Confusion:
    """So many images `of` a class, its `truth`, that the model took for another, `predicted`."""

    truth: int
    predicted: int
    images: int
    of: int


@dataclass(frozen=True)
class Evaluation:
    """The result of evaluating one model on a dataset.

    `num_classes` is the number of the model's outputs; `skipped` are what the dataset left out and
    the images that could not be read; `answers` are what the model said of each sample, in their
    order.
    """

    model: str
    num_classes: int
    resolution: int
    dataset: Dataset
    tally: Tally
    skipped: tuple[Skipped, ...] = ()
    processes: int = 1
    device: str = "cpu"
    engine: str = "torch"
    seconds: float = field(default=0.0, compare=False)
    answers: tuple[Answer, ...] = field(default=(), repr=False)

    @property
    def published(self) -> zoo.Published | None:
        """The published figures that the result can be held against, if there are any."""
        row = zoo.BY_NAME.get(self.model)
        same_task = row is not None and row.published_classes == self.num_classes
        return row if row is not None and same_task and row.top1 is not None else None

    @property
    def top1(self) -> Accuracy:
        """How often the most probable class was right."""
        row = self.published
        return Accuracy(self.tally.top1, self.tally.images, None if row is None else row.top1)

    @property
    def top5(self) -> Accuracy:
        """How often one of the five most probable classes was right."""
        row = self.published
        return Accuracy(self.tally.top5, self.tally.images, None if row is None else row.top5)

    @property
    def skipped_images(self) -> int:
        """How many images or CSV rows were left out."""
        return sum(skipped.images for skipped in self.skipped)

    @property
    def classes(self) -> int:
        """Of how many classes there were images that could be read."""
        return len({answer.sample.label for answer in self.answers if answer.best})

    @property
    def confusions(self) -> tuple[Confusion, ...]:
        """Which classes were taken for which, the most frequent pairs first."""
        known = [answer for answer in self.answers if answer.best]
        of = Counter(answer.sample.label for answer in known)
        pairs = Counter((a.sample.label, a.best[0][0]) for a in known if a.rank != 1)
        found = [Confusion(*pair, images, of[pair[0]]) for pair, images in pairs.items()]
        return tuple(sorted(found, key=lambda c: (-c.images, c.truth, c.predicted)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know before comparing the figures."""
        notes = []
        taken = len(self.dataset.samples)
        if self.dataset.left:
            whole = taken + self.dataset.left
            notes.append(f"--limit: {taken:,} of {whole:,} images, spread evenly over all")
        among = self.dataset.num_classes
        if self.num_classes != among:
            notes.append(
                f"of the {self.num_classes} outputs only the {among} that stand for classes of "
                "ImageNet-1k were compared"
            )
        if self.classes < among and self.published is not None:
            notes.append(
                f"there were images of {self.classes} of the {among} classes: the "
                "published figures are means over all, so these classes may be easier or harder"
            )
        if self.published is not None:
            notes.append(
                "the published figures are of the ImageNet-1k validation set "
                f"({PUBLISHED_IMAGES:,} images); a standard error is the deviation that chance "
                f"gives {counted(self.tally.images, 'image')}"
            )
        elif self.model in zoo.BY_NAME:
            notes.append(f"there are no published figures for {self.model} with this head")
        return tuple(notes)

    def to_json(self, checkpoint: str) -> EvaluationResult:
        """The documented JSON object, of the model in a file."""
        return {
            **result(str(self.dataset.source)),
            "checkpoint": checkpoint,
            "model": self.model,
            "data": str(self.dataset.source),
            "num_classes": self.num_classes,
            "resolution": self.resolution,
            "available_images": len(self.dataset.samples) + self.dataset.left,
            "images": self.tally.images,
            "classes": self.classes,
            "top1": self.top1.to_json(),
            "top5": self.top5.to_json(),
            "confusions": [
                {
                    "truth": labels.named(confusion.truth, self.dataset.num_classes),
                    "predicted": labels.named(confusion.predicted, self.dataset.num_classes),
                    "images": confusion.images,
                    "of": confusion.of,
                }
                for confusion in self.confusions[:CONFUSIONS_SHOWN]
            ],
            "skipped_images": self.skipped_images,
            "skipped": [
                {"where": item.where, "reason": item.reason, "images": item.images}
                for item in self.skipped
            ],
            "notes": list(self.notes),
            "processes": self.processes,
            "device": self.device,
            "engine": self.engine,
            "seconds": self.seconds,
        }

    def to_csv(self) -> str:
        """A row for each image: its class, where that came among the answers, the first five."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(TITLES)
        for answer in self.answers:
            row: list[object] = [
                self.dataset.from_root(answer.sample.path),
                *self._named(answer.sample.label),
                answer.rank,
                None if answer.rank is None else str(answer.rank == 1).lower(),
            ]
            for number, probability in answer.best:
                row += (*self._named(number), f"{probability:.6g}")
            row += [None] * (len(TITLES) - 1 - len(row))
            rows.writerow([*row, answer.error])
        return text.getvalue()

    def _named(self, number: int) -> tuple[int | str | None, ...]:
        return tuple(labels.named(number, self.dataset.num_classes).values())  # type: ignore[arg-type]
