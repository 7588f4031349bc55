"""Callables from a PIL image to a tensor: as in evaluation, and with a training's random crops.

Source of the augmentation: Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6;
the figures are those that torchvision and timm take if nothing is said.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from hornet_convert.family.preprocessing import DataConfig
from hornet_convert.images.decode import as_rgb, require_pillow
from hornet_convert.images.preprocess import fit
from hornet_convert.images.torch_engine import normalise

if TYPE_CHECKING:
    from PIL import Image

AREA: Final = (0.08, 1.0)  # of the picture, that a random crop covers
ASPECT: Final = (3 / 4, 4 / 3)  # width to height of a random crop
TRIES: Final = 10
FLIP: Final = 0.5  # probability


class Transform:
    """A PIL image of any mode and size to (3, H, W), float32, exactly as `predict` prepares it.

    `config` has the figures. Raises TypeError for what is no PIL image.
    """

    def __init__(self, config: DataConfig) -> None:
        require_pillow()
        self.config = config

    def __call__(self, image: Image.Image) -> Tensor:
        """A PIL image to (3, H, W)."""
        from PIL import Image

        if not isinstance(image, Image.Image):
            raise TypeError(f"expected a PIL image, got {type(image).__name__}")
        pixels = np.array(self._fitted(as_rgb(image), self.config["input_size"][-1]))
        return normalise(torch.from_numpy(pixels)[None])[0].contiguous()

    def _fitted(self, image: Image.Image, side: int) -> Image.Image:
        return fit(image, side)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config})"


class TrainingTransform(Transform):
    """A random part of the picture, resized to the square, and mirrored every other time.

    The part covers 8 to 100 % of the area and is 3:4 to 4:3 wide; resizing is bicubic. Chance is
    torch's, which `torch.manual_seed` seeds. With a `seed` it is a generator's own, and in a worker
    of a DataLoader one that follows from both the seed and that which the loader gives to the
    worker: no two workers or epochs see the same parts.
    """

    def __init__(self, config: DataConfig, seed: int | None = None) -> None:
        super().__init__(config)
        self.seed = seed
        self._chance: tuple[int, torch.Generator] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_chance": None}  # a process that is spawned starts its own

    def _fitted(self, image: Image.Image, side: int) -> Image.Image:
        from PIL.Image import Resampling, Transpose

        chance = self._generator()
        part = image.crop(random_box(image.width, image.height, chance))
        part = part.resize((side, side), Resampling.BICUBIC)
        flip = float(torch.rand((), generator=chance)) < FLIP
        return part.transpose(Transpose.FLIP_LEFT_RIGHT) if flip else part

    def _generator(self) -> torch.Generator | None:
        if self.seed is None:
            return None
        worker = get_worker_info()
        whose = 0 if worker is None else worker.seed
        if self._chance is None or self._chance[0] != whose:
            mixed = (self.seed + whose) % (1 << 63)
            self._chance = whose, torch.Generator("cpu").manual_seed(mixed)
        return self._chance[1]


def random_box(
    width: int, height: int, generator: torch.Generator | None = None
) -> tuple[int, int, int, int]:
    """A random part of a picture as (left, top, right, bottom) in pixels.

    Where ten parts in a row would not lie in the picture, it is the largest one in its middle whose
    aspect is allowed.
    """
    ratios = tuple(map(math.log, ASPECT))
    for _ in range(TRIES):
        area, ratio, x, y = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        pixels = width * height * (AREA[0] + area * (AREA[1] - AREA[0]))
        aspect = math.exp(ratios[0] + ratio * (ratios[1] - ratios[0]))
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
