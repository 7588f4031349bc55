"""Image files as RGB: every kind of pixel rightly, everything else refused by name."""

import os
import random
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hornet_convert.errors import HornetConvertError, UsageError
from hornet_convert.images import decode as images
from hornet_convert.images.decode import quiet_pillow, read_image, require_pillow
from hornet_convert.images.files import ImageRefusedError
from tests.usage.pictures import picture

CORNERS = {"red": (0, 0), "lime": (1, 0), "blue": (0, 1), "white": (1, 1)}
COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"


def array(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Pixels as (H, W, 3)."""
    assert "RGB" == image.mode
    return np.asarray(image)


def corner_colours(image: Image.Image) -> dict[str, tuple[int, int]]:
    """Where the four colours are found, as (right, bottom)."""
    found = {}
    for right in (0, 1):
        for bottom in (0, 1):
            pixel = np.array(
                image.getpixel((right * (image.width - 1), bottom * (image.height - 1)))
            )
            distances = {name: np.abs(pixel - rgb).sum() for name, rgb in COLOURS.items()}
            found[min(distances, key=lambda name: distances[name])] = (right, bottom)
    return found


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    """However the camera was held, the colours are found where they were seen."""
    upright = Image.new("RGB", (80, 48))
    for name, (right, bottom) in CORNERS.items():
        upright.paste(COLOURS[name], (right * 40, bottom * 24, right * 40 + 40, bottom * 24 + 24))
    stored = {  # what turns the upright image into the one that is stored
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    image = upright
    for method in stored[orientation]:
        image = image.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image.{suffix}"
    image.save(path, exif=exif)
    read = read_image(path)
    assert (80, 48) == read.size
    assert CORNERS == corner_colours(read)


def test_damaged_exif_data_do_not_cost_the_image(tmp_path: Path) -> None:
    """An image with nonsense where its orientation should be is read as it is."""
    path = tmp_path / "a.jpg"
    picture(0, (80, 48)).save(
        path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03\xff\xff\xff"
    )
    with quiet_pillow():
        assert (80, 48) == read_image(path).size


def test_grey_palette_and_bits_become_colours(tmp_path: Path) -> None:
    """Grey has three equal channels; a palette gives its colours; black and white stay so."""
    grey = picture(1).convert("L")
    grey.save(tmp_path / "grey.png")
    assert (array(read_image(tmp_path / "grey.png")) == np.asarray(grey)[..., None]).all()
    palette = picture(1).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    palette.save(tmp_path / "palette.png")
    assert (array(palette.convert("RGB")) == array(read_image(tmp_path / "palette.png"))).all()
    bits = picture(1).convert("1")
    bits.save(tmp_path / "bits.png")
    assert {0, 255} == set(array(read_image(tmp_path / "bits.png")).ravel().tolist())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, mode: str) -> None:
    """A hidden colour is not seen; half of it is seen half."""
    path = tmp_path / "a.png"
    if mode == "P":
        image = Image.new("P", (4, 4), 1)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.paste(0, (0, 0, 2, 4))
        image.save(path, transparency=bytes([0, 255]))
        expected = [[255, 255, 255], [200, 100, 50]]
    else:
        image = Image.new("RGBA", (4, 4), (200, 100, 50, 255)).convert(mode)
        transparent = Image.new("RGBA", (2, 4), (0, 0, 0, 0)).convert(mode)
        image.paste(transparent, (0, 0))
        image.save(path)
        expected = [[255, 255, 255], list(array(image.convert("RGB"))[0, 3])]
    assert expected == array(read_image(path))[0, [0, 3]].tolist()


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    """Alpha blends."""
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "a.png")
    assert 127 == array(read_image(tmp_path / "a.png"))[0, 0, 0]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    """Printers' colours are converted, not taken for four channels."""
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red, green, blue = array(read_image(tmp_path / "a.jpg"))[4, 4].tolist()
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path, name: str) -> None:
    """65535 is white, half of it middle grey."""
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    if name.endswith("pgm"):
        (tmp_path / name).write_bytes(b"P5 4 1 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / name)
    assert [0, 1, 128, 255] == array(read_image(tmp_path / name))[0, :, 1].tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0, 10, 255], [0, 10, 255]), ([-2, 0, 2], [0, 128, 255])],
)
def test_floats_are_scaled_by_their_range(
    tmp_path: Path, values: list[float], expected: list[int]
) -> None:
    """From 0 to 1, from 0 to 255, or from their smallest to their largest value."""
    Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "a.tif")
    assert expected == array(read_image(tmp_path / "a.tif"))[0, :, 0].tolist()


def test_floats_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """NaN is no shade of grey."""
    Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageRefusedError, match="not numbers"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_counts(tmp_path: Path, suffix: str) -> None:
    """Not the last, and not a mixture."""
    path = tmp_path / f"a.{suffix}"
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert [255, 0, 0] == array(read_image(path))[8, 8].tolist()


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG file that claims a size, and next to nothing more."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(bytes(1000))
    chunks = (
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (ihdr, idat)
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("size", [(12_000, 12_000), (20_000, 20_000), (1 << 30, 1 << 30)])
def test_a_bomb_is_refused_by_its_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """A few bytes that claim hundreds of millions of pixels are not decoded."""
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    with quiet_pillow(), pytest.raises(ImageRefusedError, match="too large") as caught:
        read_image(tmp_path / "bomb.png")
    assert f"at most {images.MAX_PIXELS:,} pixels" == caught.value.expected


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.jpg", b"", "the file is empty"),
        ("a.jpg", b"<!DOCTYPE html><title>Gone</title>", "not an image"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\n", "not an image"),
        ("a.png", b"\x89PNG\r\n\x1a\n", None),
        ("a.eps", POSTSCRIPT, "not an image"),
        ("a.png", png_header(1000, 1000), "the image cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(
    tmp_path: Path, name: str, content: bytes, what: str | None
) -> None:
    """With its path and a word on what to do; and PostScript is never run."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageRefusedError) as caught:
        read_image(tmp_path / name)
    assert what in (None, caught.value.what)
    assert str(tmp_path / name) == caught.value.where
    assert caught.value.hint


def test_pipes_folders_and_missing_files_do_not_hang(tmp_path: Path) -> None:
    """A pipe without a writer is refused at once."""
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageRefusedError, match="a named pipe"):
        read_image(tmp_path / "pipe.jpg")
    with pytest.raises(ImageRefusedError, match="a directory"):
        read_image(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        read_image(tmp_path / "missing.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp", "jp2", "avif"])
def test_cut_or_changed_bytes_give_an_image_or_an_error(tmp_path: Path, suffix: str) -> None:
    """No damage leads to any other exception; a file cut in half is never taken for whole."""
    whole = tmp_path / f"whole.{suffix}"
    picture(5, (60, 40)).save(whole)
    data = whole.read_bytes()
    chance = random.Random(7)
    path = tmp_path / f"a.{suffix}"
    outcomes = set()
    with quiet_pillow():
        for _ in range(60):
            damaged = bytearray(data)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(data))] = chance.randrange(256)
            keep = len(data) if chance.random() < 0.7 else chance.randrange(len(data))
            path.write_bytes(damaged[:keep])
            try:
                outcomes.add(read_image(path).mode)
            except HornetConvertError as error:
                outcomes.add(error.code)
        assert {"not-an-image"} <= outcomes <= {"RGB", "not-an-image"}
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ImageRefusedError):
            read_image(path)


def test_warnings_of_pillow_are_kept_off_the_terminal(tmp_path: Path) -> None:
    """Only Pillow's, and only for the time of the work."""
    with quiet_pillow():
        warnings.warn_explicit("from Pillow", UserWarning, "Image.py", 1, module="PIL.Image")
        with pytest.raises(UserWarning):
            warnings.warn_explicit("own", UserWarning, "a.py", 1, module="hornet_convert.model")
    with pytest.raises(UserWarning):
        warnings.warn_explicit("from Pillow", UserWarning, "Image.py", 2, module="PIL.Image")


def test_without_pillow_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named as pip wants it."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError) as caught:
        require_pillow()
    assert "pip install 'hornet-convert[images]'" in (caught.value.hint or "")
