"""The preprocessing as data and as a callable, for evaluation and for training."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from hornet_convert import create_model, data_config, load_model, transform
from hornet_convert.errors import UnknownModelError
from hornet_convert.family import zoo
from hornet_convert.images.preprocess import preprocess
from hornet_convert.images.transform import random_box
from tests.usage.pictures import picture


@pytest.mark.parametrize("row", zoo.MODELS, ids=lambda row: row.name)
def test_the_figures_of_the_nine(row: zoo.Published) -> None:
    """By any name, as the authors evaluated them; a dictionary that JSON takes."""
    large = row.name == "large-gf384"
    side = 384 if large else 224
    expected = {
        "input_size": (3, side, side),
        "interpolation": "bicubic",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "crop_pct": 1.0 if large else 0.875,
        "crop_mode": "squash" if large else "center",
    }
    for name in (row.name, row.label, row.authors_name, row.file_name):
        assert expected == data_config(name)
    assert [3, side, side] == json.loads(json.dumps(expected))["input_size"]


@pytest.mark.parametrize("resolution", [None, 96, 384])
def test_it_is_what_predict_does(resolution: int | None, pictures: Path) -> None:
    """Every kind of picture, to the last bit."""
    prepare = transform("tiny", resolution=resolution)
    for path in sorted(pictures.glob("[a-e].*")):
        with Image.open(path) as image:
            found = prepare(image)
        assert (torch.float32, True) == (found.dtype, found.is_contiguous())
        assert torch.equal(torch.from_numpy(preprocess(path, resolution or 224)[0]), found)


def test_pictures_of_other_modes() -> None:
    """Transparency lies on white, grey of 16 bits is scaled."""
    prepare = transform("w8-gf64")
    white = prepare(Image.new("RGB", (70, 70), "white"))
    assert (3, 64, 64) == white.shape
    assert torch.equal(white, prepare(Image.new("RGBA", (70, 70), (1, 2, 3, 0))))
    assert torch.equal(white, prepare(Image.new("I;16", (70, 70), 65535)))
    not_an_image: Any = torch.zeros(3, 64, 64)
    with pytest.raises(TypeError, match="PIL image, got Tensor"):
        prepare(not_an_image)


def test_a_model_tells_its_own_size(ckpt: Path) -> None:
    """Built, loaded, or its feature maps."""
    assert data_config("w8") == data_config(load_model(ckpt))
    for features_only in (False, True):
        model = create_model("w8-gf384", features_only=features_only, device="meta")
        assert data_config("large-gf384") == data_config(model)
    assert 320 == data_config("tiny", 320)["input_size"][1]
    wrong: Any = torch.nn.Identity()
    with pytest.raises(TypeError, match="HorNet or its name, got Identity"):
        data_config(wrong)
    with pytest.raises(ValueError, match="32 or more"):
        transform("tiny", resolution=31)
    with pytest.raises(UnknownModelError, match="resnet50"):
        transform("resnet50")


def test_training_takes_parts_by_chance() -> None:
    """Repeatable by torch's seed or by its own, which leaves torch's alone."""
    image = picture(4)
    prepare = transform("w8-gf64", is_training=True)
    torch.manual_seed(1)
    item, two = prepare(image), prepare(image)
    torch.manual_seed(1)
    assert torch.equal(item, prepare(image))
    assert not torch.equal(item, two)
    assert (3, 64, 64) == item.shape
    state = torch.get_rng_state()
    seeded = transform("w8-gf64", True, seed=5)
    of_five = [seeded(image) for _ in range(3)]
    again = transform("w8-gf64", True, seed=5)
    assert all(torch.equal(expected, again(image)) for expected in of_five)
    assert not torch.equal(of_five[0], transform("w8-gf64", True, seed=6)(image))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(of_five[0], pickle.loads(pickle.dumps(again))(image))


def test_half_of_them_are_mirrored() -> None:
    """The left is dark and the right is bright, whatever part is taken."""
    image = Image.linear_gradient("L").rotate(90)
    prepare = transform("w8-gf64", True, seed=0)
    mirrored = [
        float(x[0, :, 0].mean() - x[0, :, -1].mean()) > 0 for x in map(prepare, [image] * 200)
    ]
    assert 70 < sum(mirrored) < 130


@pytest.mark.parametrize("size", [(300, 200), (64, 64), (1000, 20), (1, 900), (1, 1)])
def test_a_part_lies_in_the_picture(size: tuple[int, int]) -> None:
    """8 to 100 % of it, 3:4 to 4:3, everywhere; of a strip the middle."""
    width, height = size
    chance = torch.Generator().manual_seed(2)
    boxes = [random_box(width, height, chance) for _ in range(500)]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert 0.7 < (right - left) / (bottom - top) < 1.4
    if min(size) > 50:
        shares = [
            (right - left) * (bottom - top) / (width * height) for left, top, right, bottom in boxes
        ]
        assert 0.07 < min(shares) < 0.1
        assert 0.85 < max(shares) <= 1
        assert 0 == min(left for left, _, _, _ in boxes)
        assert height == max(bottom for _, _, _, bottom in boxes)


class Pictures(Dataset[torch.Tensor]):
    """The same picture again and again."""

    def __init__(self, seed: int | None) -> None:
        self.prepare = transform("w8-gf64", True, seed=seed)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.prepare(picture(7))


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_and_epochs_differ(seed: int | None) -> None:
    """No two pictures of two epochs by two workers are the same; the loader's seed repeats them."""

    def epochs() -> list[torch.Tensor]:
        chance = torch.Generator().manual_seed(1)
        loader = DataLoader(Pictures(seed), 1, num_workers=2, generator=chance)
        return [x for _ in range(2) for x in loader]

    found = epochs()
    assert 8 == len({x.numpy().tobytes() for x in found})
    assert all(torch.equal(a, b) for a, b in zip(found, epochs(), strict=True))
