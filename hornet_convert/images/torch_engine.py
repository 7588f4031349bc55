"""Models run by torch, on any device it has."""

from __future__ import annotations

import torch
from torch import Tensor

from hornet_convert.errors import UsageError
from hornet_convert.family.preprocessing import MEAN, STD
from hornet_convert.images.engine import Engine, Logits, Pixels
from hornet_convert.model.hornet import HorNet
from hornet_convert.text import printable


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
            "there is no such compute device",
            found=f"{printable(name or '')!r}: {printable(str(error).splitlines()[0])}",
            hint="Use --device cpu, or leave --device out.",
        ) from error
    return device


class TorchEngine(Engine):
    """A model moved to a device, by default a GPU if there is one, and set to evaluate."""

    name = "torch"

    def __init__(self, model: HorNet, device: torch.device | None = None) -> None:
        self._device = device or choose_device()
        self._model = model.to(self._device).train(False)
        self._dtype = next(model.parameters()).dtype  # of the stem, where the pixels go first
        self.architecture, self.num_classes = model.architecture, model.num_classes
        self.device = str(self._device)

    @torch.inference_mode()
    def logits(self, pixels: Pixels) -> Logits:
        """Logits (N, classes) in float32. Raises UsageError if the batch is too large."""
        images = normalise(torch.from_numpy(pixels).to(self._device), self._dtype)
        try:
            logits: Logits = self._model(images).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"a batch of {len(pixels)} images does not fit into the memory of {self.device}",
                hint="Give a smaller --batch.",
            ) from error
        return logits


def normalise(batch: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pixels (N, H, W, 3), uint8, to a model's input (N, 3, H, W), channels last in memory."""
    mean, std = (torch.tensor(values, device=batch.device) for values in (MEAN, STD))
    return ((batch / 255 - mean) / std).to(dtype).permute(0, 3, 1, 2)
