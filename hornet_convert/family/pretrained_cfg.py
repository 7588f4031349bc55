"""What timm's tools, and libraries that follow them, want to know of a model."""

from __future__ import annotations

from typing import Any, Final

from hornet_convert.family import zoo
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.labels import IN1K_CLASSES, IN21K_CLASSES
from hornet_convert.family.preprocessing import data_config

PAPER: Final = "HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions"
ARXIV: Final = "2207.14284"
REPOSITORY: Final = "https://github.com/raoyongming/HorNet"
CLASSES: Final = {"in1k": IN1K_CLASSES, "in21k": IN21K_CLASSES}


def pretrained_cfg(architecture: Architecture) -> dict[str, Any]:
    """The images and layers of a model, its published classes, licence and paper, in timm's words.

    A model that nobody published has the 1000 classes of ImageNet-1k and no `tag`.
    """
    side = architecture.resolution // 32
    row = zoo.BY_NAME.get(architecture.name)
    dataset = "in1k" if row is None else row.dataset
    return {
        **data_config(architecture),
        **({} if row is None else {"tag": dataset}),
        "architecture": zoo.timm_name(architecture),
        "num_classes": CLASSES[dataset],
        "pool_size": (side, side),
        "first_conv": "stem.0",
        "classifier": "head.fc",
        "license": "mit",
        "paper_name": PAPER,
        "paper_ids": f"arXiv:{ARXIV}",
        "origin_url": REPOSITORY,
    }


def hub_config(architecture: Architecture, num_classes: int) -> dict[str, Any]:
    """What `config.json` says of a model with so many classes, 0 for none; timm reads it too."""
    return {
        "architecture": zoo.timm_name(architecture),
        "num_classes": num_classes,
        "num_features": architecture.widths[-1],
        "global_pool": "avg",
        "pretrained_cfg": {**pretrained_cfg(architecture), "num_classes": num_classes},
    }
