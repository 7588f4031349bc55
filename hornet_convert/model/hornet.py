"""The reference HorNet: the paper's definition in plain PyTorch, keys in the `reference` layout.

Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3 and table 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

import torch
import torch.fx
import torch.utils._device  # `with torch.device` imports it, on whatever thread that is
from torch import Tensor, nn

from hornet_convert.family import zoo
from hornet_convert.family.architecture import DEPTHS, LAYER_SCALE_INIT, ORDERS, Architecture
from hornet_convert.model.layers import (
    INIT_STD,
    NORM_EPS,
    ChannelNorm,
    Device,
    GlobalLocalFilter,
    Mlp,
    channels_first,
    channels_last,
    gnConv,
)

MIN_SIDE = 32
STRIDES = (4, 8, 16, 32)  # pixels of the image to one of a stage's map, on each axis


class Block(nn.Module):
    """x += γ1 ⊙ gnConv(LN(x)); x += γ2 ⊙ MLP(LN(x)); each term dropped at random in training.

    `drop_path` is the probability with which a sample loses a term.
    """

    def __init__(
        self,
        dim: int,
        order: int,
        *,
        spectrum: tuple[int, int] | None = None,
        drop_path: float = 0.0,
        layer_scale_init: float = LAYER_SCALE_INIT,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.layer_scale_init = layer_scale_init
        self.gamma1 = nn.Parameter(torch.full((dim,), layer_scale_init))
        self.gamma2 = nn.Parameter(torch.full((dim,), layer_scale_init))
        self.norm1 = ChannelNorm(dim)
        self.gnconv = gnConv(dim, order, spectrum=spectrum)
        self.norm2 = ChannelNorm(dim)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        x = self._add(x, self.gamma1, self.gnconv(self.norm1(x)))
        return self._add(x, self.gamma2, self.mlp(self.norm2(x)))

    def _add(self, x: Tensor, gamma: Tensor, term: Tensor) -> Tensor:
        scale = gamma[:, None, None]
        if self.training and self.drop_path:
            keep = 1 - self.drop_path
            kept = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep)
            scale = scale * (kept / keep)
        return torch.addcmul(x, scale, term)


class Downsample(nn.Sequential):
    """LayerNorm and a 2×2 convolution of stride 2: half the resolution."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__(ChannelNorm(dim_in), nn.Conv2d(dim_in, dim, 2, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim_in, H, W) to (N, dim, H // 2, W // 2)."""
        norm, convolution = self
        # Channels first: reordering the map costs less than reordering the weights, which are more.
        halved: Tensor = convolution(norm(x).contiguous())
        return channels_first(channels_last(halved).contiguous())


class Stage(nn.Module):
    """Halving of the resolution (all stages but the first), then blocks."""

    def __init__(
        self,
        dim: int,
        order: int,
        *,
        drop_path: Sequence[float],
        dim_in: int | None = None,
        spectrum: tuple[int, int] | None = None,
        layer_scale_init: float = LAYER_SCALE_INIT,
    ) -> None:
        super().__init__()
        self.downsample = nn.Identity() if dim_in is None else Downsample(dim_in, dim)
        self.blocks = nn.Sequential(
            *(
                Block(
                    dim,
                    order,
                    spectrum=spectrum,
                    drop_path=rate,
                    layer_scale_init=layer_scale_init,
                )
                for rate in drop_path
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim_in, H, W) to (N, dim, H // 2, W // 2); (N, dim, H, W) kept in the first stage."""
        y: Tensor = self.blocks(self.downsample(x))
        return y


class Head(nn.Module):
    """Global average, LayerNorm, and the classifier if there is one."""

    def __init__(self, dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, NORM_EPS)
        self.fc = None if num_classes is None else nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to logits (N, classes), or to features (N, dim) without a classifier."""
        x = self.norm(x.mean((-2, -1)))
        return x if self.fc is None else self.fc(x)


@torch.fx.wrap
def require_images(x: Tensor) -> Tensor:
    """The same, if it is (N, 3, H, W), H and W at least 32; else ValueError."""
    if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] < MIN_SIDE or x.shape[3] < MIN_SIDE:
        raise ValueError(
            f"expected images (N, 3, H, W), H and W at least {MIN_SIDE}, got {tuple(x.shape)}"
        )
    return x


def stage_maps(stem: nn.Module, stages: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, ...]:
    """Images (N, 3, H, W) to the maps after each of the stages. Raises ValueError for others."""
    x = stem(require_images(x))
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return tuple(maps)


class HorNet(nn.Module):
    """HorNet of any width, plain or with global-local filters.

    `architecture` is the width and the image size that the filters are made for, or a model's name,
    such as "tiny-gf", as `create_model` takes them. Without a classifier, `num_classes` None, the
    model returns pooled features. `drop_path` is the probability of dropping a block's term in
    training, growing linearly from 0 in the first block to this in the last; `layer_scale_init` the
    initial value of the layer scales γ. `device` and `dtype` are as in any module: on the meta
    device nothing is allocated, and global-local filters keep their spectra in float32 at lower
    precisions.

    The state dict has exactly the names and shapes of `architecture.shapes(num_classes)`.
    """

    def __init__(
        self,
        architecture: Architecture | str,
        num_classes: int | None = 1000,
        *,
        drop_path: float = 0.0,
        layer_scale_init: float = LAYER_SCALE_INIT,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path is a probability below 1, not {drop_path}")
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes is positive or None, not {num_classes}")
        if isinstance(architecture, str):
            architecture = zoo.architecture_of(architecture)
        self.architecture = architecture
        self.num_classes = num_classes
        widths = architecture.widths
        rates = [drop_path * block / (sum(DEPTHS) - 1) for block in range(sum(DEPTHS))]
        starts = [sum(DEPTHS[:stage]) for stage in range(len(DEPTHS))]
        # Everything is laid out on the meta device first, so that no weight is initialised twice.
        with torch.device("meta"):
            self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), ChannelNorm(widths[0]))
            self.stages = nn.ModuleList(
                Stage(
                    dim,
                    ORDERS[stage],
                    dim_in=widths[stage - 1] if stage else None,
                    spectrum=architecture.filter_shape(stage),
                    drop_path=rates[starts[stage] : starts[stage] + DEPTHS[stage]],
                    layer_scale_init=layer_scale_init,
                )
                for stage, dim in enumerate(widths)
            )
            self.head = Head(widths[-1], num_classes)
        if dtype is not None:
            self.to(dtype=dtype)
        device = torch.get_default_device() if device is None else torch.device(device)
        if device.type != "meta":
            # Not `to_empty`: like `to` it cannot be used in a FakeTensorMode.
            for module in self.modules():
                for name, laid_out in module.named_parameters(recurse=False):
                    empty = torch.empty_like(laid_out, device=device)
                    module.register_parameter(name, nn.Parameter(empty))
            self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W), H and W from 32 up, to logits (N, classes)."""
        y: Tensor = self.head(self.forward_features(x))
        return y

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to the last stage's map (N, 8 C, H // 32, W // 32)."""
        return self.feature_maps(x)[-1]

    def feature_maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the maps after each stage, at 1/4, 1/8, 1/16, 1/32 of the size."""
        return stage_maps(self.stem, self.stages, x)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialise as for training: weights normal with deviation 0.02, biases 0, γ small.

        The authors' truncation at ±2 lies at 100 deviations and is left out.
        """
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(std=INIT_STD, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, GlobalLocalFilter):
                module.complex_weight.normal_(std=INIT_STD, generator=generator)
            elif isinstance(module, Block):
                module.gamma1.fill_(module.layer_scale_init)
                module.gamma2.fill_(module.layer_scale_init)


class Feature(TypedDict):
    """One map: its channels, how many pixels one of its pixels stands for, what it comes out of."""

    num_chs: int
    reduction: int
    module: str


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
        self.out_indices = tuple(index % count for index in out_indices)
        self.stem = model.stem
        self.stages = model.stages[: max(self.out_indices) + 1]
        widths = model.architecture.widths
        self.feature_info = FeatureInfo(
            Feature(num_chs=widths[stage], reduction=STRIDES[stage], module=f"stages.{stage}")
            for stage in self.out_indices
        )
        self.train(model.training)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W), H and W from 32 up, to maps (N, channels, H // r, W // r)."""
        maps = stage_maps(self.stem, self.stages, x)
        return [maps[stage] for stage in self.out_indices]
