"""Images for tests, made from a seed."""

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (300, 240)) -> Image.Image:
    """A colourful RGB image of the given width and height: smooth, so that JPEG keeps it."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)
