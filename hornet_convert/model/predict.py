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
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.images import require_pillow
from hornet_convert.model.inference import choose_device, classifier, default_workers
from hornet_convert.model.preprocess import batches
from hornet_convert.verification.report import error_to_json

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

    Parameters
    ----------
    model
        With a classifier; it is moved to `device` and set to evaluate.
    paths
        Image files. One that cannot be read yields a result with the error.
    top
        How many classes to give, at most as many as there are.
    batch, workers
        Images per forward pass; threads that read them.
    device
        A GPU if there is one, else the CPU.
    resolution
        Pixels per side the model sees; by default what it is made for.

    Raises
    ------
    UsageError
        There is no Pillow, or the model has no classifier.
    CheckFailedError
        The model's outputs are not finite.
    """
    require_pillow()
    classify = classifier(model, device or choose_device())
    size = resolution or model.architecture.resolution
    workers = default_workers() if workers is None else workers
    for part in batches(paths, size, batch, workers):
        results = {index: Predicted(paths[index], error=error) for index, error in part.refused}
        if part.pixels is not None:
            best = most_probable(classify(part.pixels), top)
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
