"""What a model sees in images: the most probable classes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hornet_convert.errors import HornetConvertError
from hornet_convert.family import labels
from hornet_convert.family.labels import ImageClass
from hornet_convert.images.engine import Logits
from hornet_convert.images.inference import Model, classify
from hornet_convert.report.document import result

if TYPE_CHECKING:
    from hornet_convert.report.results import ImageResult

BATCH = 16


@dataclass(frozen=True)
class Prediction:
    """A class that an image may be of: its number, its probability, its names where known."""

    number: int
    probability: float
    names: ImageClass | None = None


@dataclass(frozen=True)
class Predicted:
    """One image and its most probable classes, the first first; or why it could not be read."""

    path: str
    predictions: tuple[Prediction, ...] = ()
    error: HornetConvertError | None = None

    def to_json(self, skipped: bool = False) -> ImageResult:
        """The image as a JSON object; `skipped` says that an error counts for nothing."""
        return {
            **result(self.path, error=self.error, skipped=skipped),
            "path": self.path,
            "predictions": [
                {
                    "class": prediction.number,
                    "synset": None if prediction.names is None else prediction.names.synset,
                    "label": None if prediction.names is None else prediction.names.words,
                    "probability": prediction.probability,
                }
                for prediction in self.predictions
            ],
        }


def predict(
    model: Model,
    paths: Sequence[str],
    *,
    top: int = 5,
    batch: int = BATCH,
    workers: int | None = None,
    resolution: int | None = None,
) -> Iterator[Predicted]:
    """Classify image files; yields one result for each, in their order.

    `top` is how many classes to give, at most as many as there are. An image that cannot be read
    yields a result with the error. All else, and what is raised, is as for `classify`.
    """
    for part in classify(model, paths, batch=batch, workers=workers, resolution=resolution):
        results = {
            index: Predicted(paths[index], error=error) for index, error in part.refused.items()
        }
        if part.logits is not None:
            best = most_probable(part.logits, top)
            for index, predictions in zip(part.indices, best, strict=True):
                results[index] = Predicted(paths[index], predictions)
        yield from (results[index] for index in sorted(results))


def most_probable(logits: Logits, top: int) -> list[tuple[Prediction, ...]]:
    """For each row of logits (N, classes) the largest, the first first, with probabilities."""
    count = logits.shape[1]
    names = labels.classes(count)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    return [
        tuple(
            Prediction(number, float(row[number]), None if names is None else names[number])
            for number in numbers
        )
        for row, numbers in zip(shares, best.tolist(), strict=True)
    ]
