"""What a model sees in images: the most probable classes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hornet_convert.errors import HornetConvertError
from hornet_convert.family import labels
from hornet_convert.family.labels import ImageClass
from hornet_convert.images.inference import classify
from hornet_convert.model.hornet import HorNet
from hornet_convert.report.report import error_to_json

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

    def to_json(self) -> dict[str, Any]:
        """The image as a JSON object."""
        return {
            "path": self.path,
            "status": "pass" if self.error is None else "error",
            "predictions": [
                {
                    "class": prediction.number,
                    "synset": None if prediction.names is None else prediction.names.synset,
                    "label": None if prediction.names is None else prediction.names.words,
                    "probability": prediction.probability,
                }
                for prediction in self.predictions
            ],
            "error": None if self.error is None else error_to_json(self.error),
        }


def predict(
    model: HorNet,
    paths: Sequence[str],
    *,
    top: int = 5,
    batch: int = BATCH,
    workers: int | None = None,
    device: torch.device | None = None,
    resolution: int | None = None,
) -> Iterator[Predicted]:
    """Classify image files; yields one result for each, in their order.

    `top` is how many classes to give, at most as many as there are. An image that cannot be read
    yields a result with the error. All else, and what is raised, is as for `classify`.
    """
    for part in classify(
        model, paths, batch=batch, workers=workers, device=device, resolution=resolution
    ):
        results = {
            index: Predicted(paths[index], error=error) for index, error in part.refused.items()
        }
        if part.logits is not None:
            best = most_probable(part.logits, top)
            for index, predictions in zip(part.indices, best, strict=True):
                results[index] = Predicted(paths[index], predictions)
        yield from (results[index] for index in sorted(results))


def most_probable(logits: Tensor, top: int) -> list[tuple[Prediction, ...]]:
    """For each row of logits (N, classes) the largest, the first first, with probabilities."""
    count = logits.shape[1]
    names = labels.classes(count)
    best = logits.softmax(1).topk(min(top, count))
    return [
        tuple(
            Prediction(number, probability, None if names is None else names[number])
            for number, probability in zip(numbers, probabilities, strict=True)
        )
        for numbers, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
