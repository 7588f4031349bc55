"""The maps of chosen stages, as a model of their own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hornet_convert.model.hornet import STRIDES, Feature, HorNet, stage_maps


class FeatureInfo(list[Feature]):
    """The maps that a `FeatureMaps` returns, in their order."""

    def channels(self) -> list[int]:
        """Channels of each map."""
        return [feature["num_chs"] for feature in self]

    def reduction(self) -> list[int]:
        """Stride of each map: pixels of the image to one of its own, on each axis."""
        return [feature["reduction"] for feature in self]

    def module_name(self) -> list[str]:
        """Name of the module that each map comes out of."""
        return [feature["module"] for feature in self]

    def get_dicts(self) -> list[Feature]:
        """All of it."""
        return list(self)


class FeatureMaps(nn.Module):
    """The stem and the stages of a HorNet up to the last that is asked for; no head.

    `out_indices` are stages, 0 to 3, or -4 to -1 counted from the end; the maps come in this order.
    Parameters are those of the model, under the same names. `feature_info` describes the maps.

    Raises ValueError for a stage that there is not.
    """

    def __init__(self, model: HorNet, out_indices: Sequence[int] = (0, 1, 2, 3)) -> None:
        super().__init__()
        count = len(STRIDES)
        if not out_indices or not all(-count <= index < count for index in out_indices):
            raise ValueError(
                f"out_indices are stages, {-count} to {count - 1}, not {tuple(out_indices)}"
            )
        self.architecture = model.architecture
        self.in_chans = model.in_chans
        self.out_indices = tuple(index % count for index in out_indices)
        self.stem = model.stem
        self.stages = nn.Sequential(*list(model.stages)[: max(self.out_indices) + 1])
        self.feature_info = FeatureInfo(model.feature_info[stage] for stage in self.out_indices)
        self.train(model.training)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W), H and W from 32 up, to maps (N, channels, H // r, W // r)."""
        maps = stage_maps(self.stem, self.stages, x, self.in_chans)
        return [maps[stage] for stage in self.out_indices]
