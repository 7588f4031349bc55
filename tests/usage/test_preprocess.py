"""From an image to the model's input, as the checkpoints were evaluated."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hornet_convert.errors import HornetConvertError
from hornet_convert.images import torch_engine
from hornet_convert.images.preprocess import batches, fit, normalise, pixels, preprocess
from tests.usage.pictures import picture

BICUBIC = Image.Resampling.BICUBIC


@pytest.mark.parametrize(
    ("size", "resolution", "resized", "corner"),
    [
        ((500, 375), 224, (341, 256), (58, 16)),
        ((375, 500), 224, (256, 341), (16, 58)),
        ((256, 256), 224, (256, 256), (16, 16)),
        ((40, 30), 224, (341, 256), (58, 16)),
        ((1001, 77), 224, (3328, 256), (1552, 16)),
        ((301, 200), 160, (273, 182), (56, 11)),
        ((300, 224), 288, (440, 329), (76, 20)),
    ],
)
def test_below_384_the_centre_of_the_resized_image_is_taken(
    size: tuple[int, int], resolution: int, resized: tuple[int, int], corner: tuple[int, int]
) -> None:
    """The shorter side becomes 8/7 of the resolution; halves of a pixel round to even."""
    image = picture(1, size)
    left, top = corner
    expected = image.resize(resized, BICUBIC).crop((left, top, left + resolution, top + resolution))
    assert expected.tobytes() == fit(image, resolution).tobytes()


@pytest.mark.parametrize("resolution", [384, 512])
def test_from_384_the_whole_image_is_squeezed_into_the_square(resolution: int) -> None:
    """No part is cut off."""
    image = picture(2, (321, 123))
    expected = image.resize((resolution, resolution), BICUBIC)
    assert expected.tobytes() == fit(image, resolution).tobytes()


def test_a_long_strip_takes_little_memory_and_comes_out_the_same() -> None:
    """Only what is kept is resized; up to rounding that is the centre of the whole."""
    image = picture(3, (1300, 20))
    whole = image.resize((256 * 1300 // 20, 256), BICUBIC)
    left = round((whole.width - 224) / 2)
    expected = np.asarray(whole.crop((left, 16, left + 224, 240))).astype(int)
    assert 1 >= np.abs(expected - np.asarray(fit(image, 224)).astype(int)).max()
    assert (224, 224) == fit(picture(3, (60_000, 1)), 224).size


def test_pixels_are_normalised_by_channel(tmp_path: Path) -> None:
    """Red, green and blue each by its own mean and deviation, in float32, channels first."""
    Image.new("RGB", (10, 10), (255, 128, 0)).save(tmp_path / "flat.png")
    x = preprocess(tmp_path / "flat.png", 224)
    assert ((1, 3, 224, 224), "float32") == (x.shape, str(x.dtype))
    expected = [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    assert expected == pytest.approx(x[0, :, 100, 100].tolist(), abs=1e-6)
    assert x.transpose(0, 2, 3, 1).flags.c_contiguous


def test_a_batch_is_its_images_in_order(tmp_path: Path) -> None:
    """Whatever the number of threads, batches are full, ordered, and tell what was left out."""
    paths = []
    for seed in range(7):
        paths.append(str(tmp_path / f"{seed}.png"))
        picture(seed).save(paths[-1])
    Path(paths[4]).write_bytes(b"no image")
    paths.append(str(tmp_path / "missing.png"))
    for workers in (1, 3):
        found = list(batches(paths, 224, 3, workers))
        assert [3, 3, 2] == [len(batch) for batch in found]
        items = dict(enumerate(item for batch in found for item in batch))
        read = {place: item for place, item in items.items() if isinstance(item, np.ndarray)}
        assert [0, 1, 2, 3, 5, 6] == list(read)
        assert all(np.array_equal(pixels(paths[place], 224), item) for place, item in read.items())
        assert np.array_equal(preprocess(paths[3]), normalise(read[3][None]))
        on_device = torch_engine.normalise(torch.from_numpy(read[3][None]))
        assert np.array_equal(preprocess(paths[3]), on_device)


def test_reading_ahead_stops_when_nobody_wants_more(tmp_path: Path) -> None:
    """A consumer that stops early is not kept waiting for all the images."""
    path = str(tmp_path / "a.png")
    picture(0).save(path)
    reading = batches([path] * 100_000, 224, 2, 2)
    assert 2 == len(next(reading))
    reading.close()


def test_an_unreadable_image_is_an_error_of_this_package(tmp_path: Path) -> None:
    """Whoever calls `preprocess` gets the reason as an exception with fields."""
    (tmp_path / "a.jpg").write_text("<html>")
    with pytest.raises(HornetConvertError) as caught:
        preprocess(tmp_path / "a.jpg")
    assert "not-an-image" == caught.value.code
    assert str(tmp_path / "a.jpg") == caught.value.where
