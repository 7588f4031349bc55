"""The reference HorNet: the paper's definition in plain PyTorch, keys in the `reference` layout.

Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3 and table 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hornet_convert.family.architecture import DEPTHS, LAYER_SCALE_INIT, ORDERS, Architecture
from hornet_convert.model.layers import (
    INIT_STD,
    NORM_EPS,
    ChannelNorm,
    Device,
    GlobalLocalFilter,
    Mlp,
    gnConv,
)

MIN_SIDE = 32


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
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.layer_scale_init = layer_scale_init
        self.gamma1 = nn.Parameter(torch.full((dim,), layer_scale_init, device=device, dtype=dtype))
        self.gamma2 = nn.Parameter(torch.full((dim,), layer_scale_init, device=device, dtype=dtype))
        self.norm1 = ChannelNorm(dim, device, dtype)
        self.gnconv = gnConv(dim, order, spectrum=spectrum, device=device, dtype=dtype)
        self.norm2 = ChannelNorm(dim, device, dtype)
        self.mlp = Mlp(dim, device, dtype)

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
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.downsample = (
            nn.Identity()
            if dim_in is None
            else nn.Sequential(
                ChannelNorm(dim_in, device, dtype),
                nn.Conv2d(dim_in, dim, 2, stride=2, device=device, dtype=dtype),
            )
        )
        self.blocks = nn.Sequential(
            *(
                Block(
                    dim,
                    order,
                    spectrum=spectrum,
                    drop_path=rate,
                    layer_scale_init=layer_scale_init,
                    device=device,
                    dtype=dtype,
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

    def __init__(
        self,
        dim: int,
        num_classes: int | None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, NORM_EPS, device=device, dtype=dtype)
        self.fc = (
            None if num_classes is None else nn.Linear(dim, num_classes, device=device, dtype=dtype)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to logits (N, classes), or to features (N, dim) without a classifier."""
        x = self.norm(x.mean((-2, -1)))
        return x if self.fc is None else self.fc(x)


def stage_maps(stem: nn.Module, stages: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, ...]:
    """Images (N, 3, H, W) to the maps after each of the stages. Raises ValueError for others."""
    if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] < MIN_SIDE or x.shape[3] < MIN_SIDE:
        raise ValueError(
            f"expected images (N, 3, H, W), H and W at least {MIN_SIDE}, got {tuple(x.shape)}"
        )
    x = stem(x)
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return tuple(maps)


class HorNet(nn.Module):
    """HorNet of any width, plain or with global-local filters.

    Parameters
    ----------
    architecture
        Width, and the image size that the filters are made for.
    num_classes
        Outputs of the classifier; None for none: the model then returns pooled features.
    drop_path
        Stochastic depth: probability of dropping a block's term in training, growing linearly from
        0 in the first block to this in the last.
    layer_scale_init
        Initial value of the layer scales γ.
    device, dtype
        As in any module. On the meta device nothing is allocated. Global-local filters keep their
        spectra in float32 at lower precisions.

    The state dict has exactly the names and shapes of `architecture.shapes(num_classes)`.
    """

    def __init__(
        self,
        architecture: Architecture,
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
        self.architecture = architecture
        self.num_classes = num_classes
        widths = architecture.widths
        rates = [drop_path * block / (sum(DEPTHS) - 1) for block in range(sum(DEPTHS))]
        starts = [sum(DEPTHS[:stage]) for stage in range(len(DEPTHS))]
        # Everything is laid out on the meta device first, so that no weight is initialised twice.
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 4, stride=4, device="meta", dtype=dtype),
            ChannelNorm(widths[0], "meta", dtype),
        )
        self.stages = nn.ModuleList(
            Stage(
                dim,
                ORDERS[stage],
                dim_in=widths[stage - 1] if stage else None,
                spectrum=architecture.filter_shape(stage),
                drop_path=rates[starts[stage] : starts[stage] + DEPTHS[stage]],
                layer_scale_init=layer_scale_init,
                device="meta",
                dtype=dtype,
            )
            for stage, dim in enumerate(widths)
        )
        self.head = Head(widths[-1], num_classes, "meta", dtype)
        device = torch.get_default_device() if device is None else torch.device(device)
        if device.type != "meta":
            self.to_empty(device=device)
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
