"""From an image file to what a model takes, as the checkpoints were evaluated.

Below 384 pixels: the shorter side is resized to 8/7 of the resolution (256 for 224), bicubic, and
the centre cut out. From 384 on: the whole image is resized to the square. The figures stand in
`family/preprocessing.py`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.errors import HornetConvertError
from hornet_convert.family.preprocessing import CROP_PCT, MEAN, SQUARE_FROM, STD
from hornet_convert.images.decode import read_image

if TYPE_CHECKING:
    from PIL import Image

MAX_SIDE: Final = 1 << 14


def fit(image: Image.Image, resolution: int) -> Image.Image:
    """Resize, and below 384 crop, an RGB image to `resolution` × `resolution` pixels."""
    from PIL.Image import Resampling

    square = (resolution, resolution)
    if resolution >= SQUARE_FROM:
        return image.resize(square, Resampling.BICUBIC)
    shorter, scale = min(image.size), int(resolution / CROP_PCT)
    width, height = (scale * side // shorter for side in image.size)
    left, top = (round((side - resolution) / 2) for side in (width, height))
    if max(width, height) <= MAX_SIDE:
        resized = image.resize((width, height), Resampling.BICUBIC)
        return resized.crop((left, top, left + resolution, top + resolution))
    # A long strip: the same up to rounding, without making the pixels that are cut off.
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + resolution) * x, (top + resolution) * y)
    return image.resize(square, Resampling.BICUBIC, box)


def pixels(path: str | os.PathLike[str], resolution: int) -> NDArray[np.uint8]:
    """An image file as (resolution, resolution, 3). Raises what `read_image` raises."""
    return np.array(fit(read_image(path), resolution))


def normalise(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels (N, H, W, 3) to a model's input (N, 3, H, W), channels last in memory."""
    mean, std = (np.array(values, np.float32) for values in (MEAN, STD))
    scaled = batch.astype(np.float32) / np.float32(255)
    return ((scaled - mean) / std).transpose(0, 3, 1, 2)


def preprocess(path: str | os.PathLike[str], resolution: int = 224) -> NDArray[np.float32]:
    """An image file as a model's input (1, 3, resolution, resolution) in float32.

    Raises ImageRefusedError for what is no image, UsageError if there is no such file or no Pillow.
    """
    return normalise(pixels(path, resolution)[None])


def batches(
    paths: Sequence[str], resolution: int, size: int, workers: int
) -> Generator[list[NDArray[np.uint8] | HornetConvertError], None, None]:
    """Read images in their order, `size` at a time, with threads that read ahead.

    Each is given as `pixels` does, or as the reason why it cannot be read. Decoding and resizing
    happen in Pillow's C code, outside the interpreter lock.
    """

    def item(path: str) -> NDArray[np.uint8] | HornetConvertError:
        try:
            return pixels(path, resolution)
        except HornetConvertError as error:
            return error

    waiting = iter(paths)
    ahead: deque[Future[NDArray[np.uint8] | HornetConvertError]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for _ in range(0, len(paths), size):
                wanted = 2 * size + workers - len(ahead)
                ahead.extend(pool.submit(item, path) for path in islice(waiting, wanted))
                yield [ahead.popleft().result() for _ in range(min(size, len(ahead)))]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
