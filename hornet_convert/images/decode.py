"""Image files as 8-bit RGB, whatever they hold. Needs Pillow, which is imported when first used."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from hornet_convert.errors import HornetConvertError, UsageError
from hornet_convert.files.reading import NotRegularError, open_regular
from hornet_convert.images.files import ImageRefusedError
from hornet_convert.text import printable

if TYPE_CHECKING:
    from PIL import Image

# Pillow knows more, some of which start other programs (EPS) or are no photographs.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "MPO", "JPEG2000", "AVIF")
MAX_PIXELS: Final = 1 << 27
_HINT: Final = "Give a JPEG, PNG or WebP image, or one of the other common formats."

# Wide samples are scaled to 8 bits from the first of these ranges that holds them all.
_RANGES: Final = {"I": ((0.0, 65535.0),), "F": ((0.0, 1.0), (0.0, 255.0))}


def require_pillow() -> None:
    """Raise UsageError, saying how to install it, if there is no Pillow."""
    if find_spec("PIL") is None:
        raise UsageError(
            "reading images needs Pillow, which is not installed",
            hint="Run: pip install 'hornet-convert[images]'",
        )


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings off the terminal, in all threads; what matters here is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """The first frame of an image file, upright by its EXIF orientation, in mode RGB.

    Palettes and CMYK are converted, transparent pixels lie on white, samples beyond 8 bits are
    scaled to 8.

    Raises
    ------
    ImageRefusedError
        It is no image of a common format, is damaged, or has more than 2^27 pixels.
    UsageError
        There is no such file, or no Pillow.
    """
    require_pillow()
    from PIL import Image, UnidentifiedImageError

    shown = printable(os.fspath(path))
    try:
        with _opened(Path(path)) as file, Image.open(file, formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(shown, f"{image.width} × {image.height}")
            return as_rgb(image)
    except HornetConvertError:
        raise
    except UnidentifiedImageError as error:
        raise ImageRefusedError("not an image", where=shown, hint=_HINT) from error
    except Image.DecompressionBombError as error:
        raise _too_large(shown, None) from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise ImageRefusedError(
            "the image cannot be read",
            where=shown,
            found=printable(str(error) or type(error).__name__),
            hint="It may be damaged: get it again.",
        ) from error


def _opened(path: Path) -> BinaryIO:
    """The open file, if it is a regular one with something in it; never waits for a pipe."""
    shown = printable(str(path))
    try:
        file = open_regular(path)
    except NotRegularError as error:
        raise ImageRefusedError(f"{error.kind}, not an image", where=shown, hint=_HINT) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError("there is no such file", where=shown, hint="Check the path.") from error
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise ImageRefusedError("the file is empty", where=shown, hint="Get it again.")
    return io.BufferedReader(file)


def _too_large(shown: str, found: str | None) -> ImageRefusedError:
    return ImageRefusedError(
        "the image is too large",
        where=shown,
        expected=f"at most {MAX_PIXELS:,} pixels",
        found=found,
        hint="Scale it down first.",
    )


def _formats() -> list[str]:
    """The formats that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def as_rgb(image: Image.Image) -> Image.Image:
    """An open image as `read_image` gives it: upright, in mode RGB."""
    return _rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """Turned and mirrored as its EXIF orientation says."""
    from PIL import ImageOps

    image.getpixel((0, 0))  # decodes it: what goes wrong after this is the EXIF data's fault
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of integers or floats beyond 8 bits, scaled."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("some of its pixels are not numbers")
    lowest, highest = float(values.min()), float(values.max())
    ranges = (*_RANGES[image.mode[0]], (lowest, max(highest, lowest + 1)))
    low, high = next((a, b) for a, b in ranges if a <= lowest and highest <= b)
    return Image.fromarray(((values - low) * (255 / (high - low))).round().astype(np.uint8))
