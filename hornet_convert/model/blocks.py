"""The parts of HorNet between the layers and the whole: block, downsampling, stage, head.

Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hornet_convert.family.architecture import LAYER_SCALE_INIT
from hornet_convert.model.layers import (
    NORM_EPS,
    ChannelNorm,
    Mlp,
    channels_first,
    channels_last,
    gnConv,
)

POOLS = ("avg", "max", "avgmax", "")


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
        if self.training and self.drop_path > 0:
            keep = 1 - self.drop_path
            kept = x.new_empty([x.shape[0], 1, 1, 1]).bernoulli_(keep)
            scale = scale * (kept / keep)
        return torch.addcmul(x, scale, term)


class Downsample(nn.Sequential):
    """LayerNorm and a 2×2 convolution of stride 2: half the resolution."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__(ChannelNorm(dim_in), nn.Conv2d(dim_in, dim, 2, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim_in, H, W) to (N, dim, H // 2, W // 2)."""
        # Channels first: reordering the map costs less than reordering the weights, which are more.
        halved: Tensor = self[1](self[0](x).contiguous())
        return channels_first(channels_last(halved).contiguous())


class Stage(nn.Module):
    """Halving of the resolution (all stages but the first), then blocks.

    With `grad_checkpointing` the activations inside the blocks are computed again in the backward
    pass instead of being kept.
    """

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
        self.grad_checkpointing = False
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
        x = self.downsample(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():  # type: ignore[attr-defined]
            for block in self.blocks:
                x = checkpoint(block, x, use_reentrant=False)
            return x
        y: Tensor = self.blocks(x)
        return y


class Head(nn.Module):
    """Global pooling, LayerNorm, dropout, and the classifier if there is one.

    `global_pool` is "avg", as published, "max", "avgmax" (the mean of both), or "" for none: norm
    and classifier then work on every pixel. Raises ValueError for another.
    """

    def __init__(
        self, dim: int, num_classes: int, *, global_pool: str = "avg", drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.global_pool = required_pool(global_pool)
        self.norm: nn.Module = nn.LayerNorm(dim, NORM_EPS)
        self.drop = nn.Dropout(drop_rate)
        self.fc: nn.Module = nn.Linear(dim, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(N, dim, H, W) to logits (N, classes), or to features (N, dim) without a classifier.

        `pre_logits` asks for what the classifier would be given. Without pooling (N, …, H, W).
        """
        if self.global_pool == "avg":
            x = x.mean((-2, -1))
        elif self.global_pool == "max":
            x = x.amax((-2, -1))
        elif self.global_pool == "avgmax":
            x = (x.mean((-2, -1)) + x.amax((-2, -1))) / 2
        else:
            x = channels_last(x)
        x = self.drop(self.norm(x))
        if not pre_logits:
            x = self.fc(x)
        return x if self.global_pool else channels_first(x)


def required_pool(global_pool: str) -> str:
    """The same, if it is a way of pooling; else ValueError."""
    if global_pool not in POOLS:
        raise ValueError(
            f"global_pool is one of {', '.join(map(repr, POOLS))}, not {global_pool!r}"
        )
    return global_pool


def required_classes(num_classes: int | None) -> int:
    """Outputs of a classifier, 0 for none; ValueError for a negative number."""
    if num_classes is not None and num_classes < 0:
        raise ValueError(f"num_classes is a number of outputs, or None, not {num_classes}")
    return num_classes or 0
