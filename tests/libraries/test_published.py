"""A repository that `publish` makes, as timm and transformers read it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

import hornet_convert.timm as registration
from fixtures import small
from hornet_convert.api.publish import publish
from hornet_convert.conversion.request import Request
from hornet_convert.family import zoo
from hornet_convert.family.architecture import Architecture
from hornet_convert.images.preprocess import preprocess
from hornet_convert.model.load import load_model
from tests.usage.pictures import picture

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_timm_loads_the_folder(tmp_path: Path) -> None:
    """By `local-dir:`, with its own number of classes, or another."""
    registration.register(replace(zoo.find("tiny"), name="w16-gf"))
    path = small.write(tmp_path / "x.pth", "official-zip", "w16-gf", num_classes=7)
    folder = tmp_path / "folder"
    assert publish(path, Request(folder), forward=False)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert torch.equal(load_model(folder)(IMAGES), model(IMAGES))
    assert [*timm.data.resolve_data_config(model=model)["input_size"]] == [3, 224, 224]
    other = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=3)
    assert other(IMAGES).shape == (2, 3)


@pytest.mark.parametrize("resolution", [64, 224, 384])
@pytest.mark.filterwarnings("ignore")  # of what it imports
def test_transformers_prepares_images_alike(resolution: int, tmp_path: Path) -> None:
    """By Pillow, what its image processors make of both configurations is what `predict` makes."""
    from transformers import AutoImageProcessor
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    path = small.write(tmp_path / "x.pth", "official-zip", Architecture(8, resolution).name)
    folder, image = tmp_path / "folder", tmp_path / "a.png"
    assert publish(path, Request(folder), forward=False)
    picture(1, (317, 240)).save(image)
    ours = preprocess(image, resolution)
    for kind in (AutoImageProcessor, BitImageProcessorPil):
        processor: Any = kind.from_pretrained(folder)
        found = processor(picture(1, (317, 240)), return_tensors="pt")["pixel_values"]
        assert np.allclose(ours, found.numpy(), atol=1e-5)
