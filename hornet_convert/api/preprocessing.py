"""What a model wants its pictures to be: as data, and as a callable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hornet_convert.family import preprocessing, zoo
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.preprocessing import DataConfig

if TYPE_CHECKING:
    from hornet_convert.images.transform import Transform
    from hornet_convert.model.features import FeatureMaps
    from hornet_convert.model.hornet import HorNet


def data_config(
    name_or_model: str | HorNet | FeatureMaps, resolution: int | None = None
) -> DataConfig:
    """How pictures are prepared for a model: the size, crop, interpolation, mean and deviation.

    Parameters
    ----------
    name_or_model
        A model by any of its names, or one that was built or loaded.
    resolution
        Pixels a side if not those that the model is made for, 224 or 384; at least 32.

    Returns
    -------
    DataConfig
        A dictionary by the names of timm, which `timm.data.create_transform(**config)` takes.

    Raises
    ------
    UnknownModelError
        If there is no such HorNet.
    TypeError, ValueError
        It is no model of ours, or no size that one can see.
    """
    if resolution is not None and resolution < 32:
        raise ValueError(f"resolution is 32 or more, not {resolution}")
    if isinstance(name_or_model, str):
        return preprocessing.data_config(zoo.architecture_of(name_or_model), resolution)
    architecture = getattr(name_or_model, "architecture", None)
    if not isinstance(architecture, Architecture):
        raise TypeError(f"expected a HorNet or its name, got {type(name_or_model).__name__}")
    return preprocessing.data_config(architecture, resolution)


def transform(
    name_or_model: str | HorNet | FeatureMaps,
    is_training: bool = False,
    *,
    resolution: int | None = None,
    seed: int | None = None,
) -> Transform:
    """A callable that makes a PIL image a model's input: (3, H, W) in float32.

    Parameters
    ----------
    name_or_model, resolution
        As for `data_config`.
    is_training
        False: exactly what `predict` does, also about EXIF orientation, palettes, transparency and
        16-bit greys. True: a random part of the picture (8 to 100 % of the area, 3:4 to 4:3),
        resized, mirrored every other time.
    seed
        For training: makes the parts depend on this number, not on torch's global state.

    Raises
    ------
    UsageError
        There is no Pillow, or no such HorNet.
    TypeError, ValueError
        As for `data_config`; the callable raises TypeError for what is no PIL image.
    """
    from hornet_convert.images.transform import TrainingTransform, Transform

    config = data_config(name_or_model, resolution)
    return TrainingTransform(config, seed) if is_training else Transform(config)
