"""Running a model on images: logits from files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hornet_convert.errors import CheckFailedError, HornetConvertError, UsageError
from hornet_convert.images.decode import require_pillow
from hornet_convert.images.engine import Engine, Logits
from hornet_convert.images.preprocess import batches

if TYPE_CHECKING:
    from hornet_convert.model.hornet import HorNet

Model: TypeAlias = "Engine | HorNet"


@dataclass(frozen=True)
class Classified:
    """Images that went through a model side by side.

    `indices`: their N places in the list of paths, and `logits` (N, classes) in float32; None if no
    image could be read. `refused`: the places of those that could not be read, and why.
    """

    indices: tuple[int, ...]
    logits: Logits | None
    refused: Mapping[int, HornetConvertError]


def as_engine(model: Model) -> Engine:
    """A model ready to run: torch runs a HorNet, on a GPU if there is one."""
    if isinstance(model, Engine):
        return model
    from hornet_convert.images.torch_engine import TorchEngine

    return TorchEngine(model)


def classify(
    model: Model,
    paths: Sequence[str],
    *,
    batch: int,
    workers: int | None = None,
    resolution: int | None = None,
) -> Iterator[Classified]:
    """Run a model over image files in their order, `batch` at a time.

    Parameters
    ----------
    model
        With a classifier: an engine, or a HorNet for torch.
    paths
        Image files.
    workers
        Threads that read them; by default as many as processors, at most 8.
    resolution
        Pixels per side the model sees; by default what it is made for.

    Raises
    ------
    UsageError
        There is no Pillow, no classifier, the engine takes no images of that size, or a batch does
        not fit into the device's memory.
    CheckFailedError
        The model's outputs are not finite.
    """
    require_pillow()
    engine = as_engine(model)
    engine.classes()
    size = resolution or engine.architecture.resolution
    if size != engine.architecture.resolution and not engine.any_size:
        raise UsageError(
            f"{engine.name} takes no images of that size",
            expected=f"{engine.architecture.resolution} pixels, as the model's filters",
            found=f"{size} pixels",
        )
    start = 0
    for part in batches(paths, size, batch, workers or min(8, os.cpu_count() or 1)):
        read = list(enumerate(part, start))
        start += len(part)
        good = {place: item for place, item in read if isinstance(item, np.ndarray)}
        refused = {place: item for place, item in read if isinstance(item, HornetConvertError)}
        logits = engine.logits(np.stack(list(good.values()))) if good else None
        if logits is not None and not np.isfinite(logits).all():
            raise CheckFailedError(
                "the model's outputs are not finite",
                hint="`hornet-convert verify` shows what is wrong with the checkpoint.",
            )
        yield Classified(tuple(good), logits, refused)
