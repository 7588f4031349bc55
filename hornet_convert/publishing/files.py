"""The small files of a repository beside its card. Pure."""

from __future__ import annotations

from importlib import resources
from typing import Any, Final

from hornet_convert.checkpoint.folder import CONFIG
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.preprocessing import data_config
from hornet_convert.family.pretrained_cfg import hub_config
from hornet_convert.files.records import as_text

ONNX: Final = "onnx/model.onnx"
PREPROCESSOR: Final = "preprocessor_config.json"
LICENSE: Final = "LICENSE"
RECORD: Final = "model.json"  # where `verify` looks for that of the weights
CARD: Final = "README.md"
_BICUBIC: Final = 3  # Pillow's number


def small_files(architecture: Architecture, num_classes: int | None) -> dict[str, bytes]:
    """The configurations, and the licence of the published weights, by name."""
    return {
        CONFIG: as_text(hub_config(architecture, num_classes or 0)),
        PREPROCESSOR: as_text(image_processor(architecture)),
        LICENSE: _template(LICENSE),
    }


def image_processor(architecture: Architecture) -> dict[str, Any]:
    """The preprocessing by the names of transformers, for its BitImageProcessor.

    Its PIL backend gives the same pixels as `predict`, that of torchvision rounds otherwise. Where
    an odd number of pixels is cut off, the crop may begin one pixel off.
    """
    config = data_config(architecture)
    _, height, width = config["input_size"]
    cropped = config["crop_mode"] == "center"
    square = {"height": height, "width": width}
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": int(height / config["crop_pct"])} if cropped else square,
        "resample": _BICUBIC,
        "do_center_crop": cropped,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": config["mean"],
        "image_std": config["std"],
    }


def _template(name: str) -> bytes:
    return resources.files("hornet_convert").joinpath("publishing/templates", name).read_bytes()
