"""Images made small, as text that a page can hold. Needs Pillow."""

from __future__ import annotations

import base64
import io

from hornet_convert.errors import HornetConvertError
from hornet_convert.images.decode import read_image

SHOWN = 400  # images on a page, of 10 kB each
SIDE = 320  # pixels at most, twice what is shown


def thumbnail(path: str) -> str | None:
    """A small JPEG of an image file, upright, as a data URI; None where it cannot be read."""
    try:
        image = read_image(path)
    except HornetConvertError:
        return None
    image.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
