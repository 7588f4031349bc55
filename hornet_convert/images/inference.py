"""Running a model on images: the device, and logits from files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hornet_convert.errors import CheckFailedError, HornetConvertError, UsageError
from hornet_convert.images.decode import require_pillow
from hornet_convert.images.preprocess import batches, normalise
from hornet_convert.model.hornet import HorNet
from hornet_convert.text import printable


@dataclass(frozen=True)
class Classified:
    """Images that went through a model side by side.

    `indices`: their N places in the list of paths, and `logits` (N, classes) in float32, on the
    model's device; None if no image could be read. `refused`: the places of those that could not
    be read, and why.
    """

    indices: tuple[int, ...]
    logits: Tensor | None
    refused: Mapping[int, HornetConvertError]


def choose_device(name: str | None = None, process: int = 0) -> torch.device:
    """The device called `name`, `cpu`, `cuda:1` and the like; by default a GPU if there is one.

    `process` is this one's number among those on the machine: they take the GPUs in turn. Raises
    UsageError if there is no such device.
    """
    if name is None or name == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count:
            return torch.device("cuda", process % count)
    try:
        device = torch.device(name or "cpu")
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            "there is no such device that computes",
            found=f"{printable(name or '')!r}: {printable(str(error).splitlines()[0])}",
            hint="Use --device cpu, or leave --device out.",
        ) from error
    return device


def require_classifier(model: HorNet) -> int:
    """How many classes the model tells apart; raises UsageError if it has no classifier."""
    if model.num_classes is None:
        raise UsageError(
            "the model has no classifier, so it can name no class",
            hint="Use a checkpoint with a head.",
        )
    return model.num_classes


@torch.inference_mode()
def classify(
    model: HorNet,
    paths: Sequence[str],
    *,
    batch: int,
    workers: int | None = None,
    device: torch.device | None = None,
    resolution: int | None = None,
) -> Iterator[Classified]:
    """Run a model over image files in their order, `batch` at a time.

    Parameters
    ----------
    model
        With a classifier; it is moved to `device` and set to evaluate.
    paths
        Image files.
    workers
        Threads that read them; by default as many as processors, at most 8.
    device
        A GPU if there is one, else the CPU.
    resolution
        Pixels per side the model sees; by default what it is made for.

    Raises
    ------
    UsageError
        There is no Pillow, no classifier, or a batch does not fit into the device's memory.
    CheckFailedError
        The model's outputs are not finite.
    """
    require_pillow()
    require_classifier(model)
    device = device or choose_device()
    model.to(device).train(False)
    dtype = next(model.parameters()).dtype  # of the stem, where the pixels go first
    size = resolution or model.architecture.resolution
    start = 0
    for part in batches(paths, size, batch, workers or min(8, os.cpu_count() or 1)):
        read = list(enumerate(part, start))
        start += len(part)
        good = {place: item for place, item in read if isinstance(item, Tensor)}
        refused = {place: item for place, item in read if not isinstance(item, Tensor)}
        logits = None
        if good:
            pixels = torch.stack(list(good.values())).to(device)
            logits = _logits(model, normalise(pixels, dtype))
        yield Classified(tuple(good), logits, refused)


def _logits(model: HorNet, x: Tensor) -> Tensor:
    try:
        logits: Tensor = model(x).float()
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"a batch of {len(x)} images does not fit into the memory of {x.device}",
            hint="Give a smaller --batch.",
        ) from error
    if not torch.isfinite(logits).all():
        raise CheckFailedError(
            "the model's outputs are not finite",
            hint="`hornet-convert verify` tells what is wrong with the checkpoint.",
        )
    return logits
