"""Running a model on images: the device, and logits from pixels."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor

from hornet_convert.errors import CheckFailedError, UsageError, printable
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.preprocess import normalise

Classify = Callable[[Tensor], Tensor]
"""Pixels (N, H, W, 3), uint8, to logits (N, classes), float32, on the model's device."""


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


def default_workers() -> int:
    """Threads that read images: as many as processors, at most 8."""
    return min(8, os.cpu_count() or 1)


def require_classifier(model: HorNet) -> int:
    """How many classes the model tells apart; raises UsageError if it has no classifier."""
    if model.num_classes is None:
        raise UsageError(
            "the model has no classifier, so it can name no class",
            hint="Use a checkpoint with a head.",
        )
    return model.num_classes


def classifier(model: HorNet, device: torch.device) -> Classify:
    """The model, moved to the device and no longer training, as a function from pixels to logits.

    It raises CheckFailedError if logits are not finite, UsageError if a batch does not fit into the
    device's memory. Raises UsageError if the model has no classifier.
    """
    require_classifier(model)
    model.to(device).train(False)
    dtype = next(model.parameters()).dtype  # of the stem, where the pixels go first

    @torch.inference_mode()
    def classify(pixels: Tensor) -> Tensor:
        try:
            logits: Tensor = model(normalise(pixels.to(device), dtype)).float()
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"a batch of {len(pixels)} images does not fit into the memory of {device}",
                hint="Give a smaller --batch.",
            ) from error
        if not torch.isfinite(logits).all():
            raise CheckFailedError(
                "the model's outputs are not finite",
                hint="`hornet-convert verify` tells what is wrong with the checkpoint.",
            )
        return logits

    return classify
