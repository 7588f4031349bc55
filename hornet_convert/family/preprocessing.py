"""How pictures were prepared when the published models were evaluated: one table of figures.

Source: the evaluation transform of the authors' repository.
"""

from __future__ import annotations

from typing import Final, Literal, TypedDict

from hornet_convert.family.architecture import Architecture

MEAN: Final = (0.485, 0.456, 0.406)  # of red, green, blue in 0..1, over ImageNet
STD: Final = (0.229, 0.224, 0.225)
INTERPOLATION: Final = "bicubic"
CROP_PCT: Final = 0.875  # of the shorter side that the centre crop keeps, below SQUARE_FROM
SQUARE_FROM: Final = 384  # pixels: from here on the whole picture is resized to the square


class DataConfig(TypedDict):
    """What a model wants its pictures to be, by the names that timm uses.

    `input_size` is (3, H, W). With `crop_mode` "center" the shorter side is resized to
    `H / crop_pct` pixels and the centre cut out; with "squash" the whole picture is resized to the
    square. Then come `mean` and `std`, of values from 0 to 1.
    """

    input_size: tuple[int, int, int]
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_pct: float
    crop_mode: Literal["center", "squash"]


def data_config(architecture: Architecture, resolution: int | None = None) -> DataConfig:
    """The figures of a model, or of any at `resolution` pixels a side."""
    side = resolution or architecture.resolution
    square = side >= SQUARE_FROM
    return {
        "input_size": (3, side, side),
        "interpolation": INTERPOLATION,
        "mean": MEAN,
        "std": STD,
        "crop_pct": 1.0 if square else CROP_PCT,
        "crop_mode": "squash" if square else "center",
    }
