"""The layers of HorNet: gnConv, its global-local filter, the norm and the MLP.

Every layer maps (N, C, H, W) to (N, C', H, W), channels last in memory: there LayerNorm, 1×1
convolutions and linear layers are fastest, and permuting the axes only changes the view.
Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3 and appendix.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn import functional

from hornet_convert.family.architecture import MLP_RATIO, order_widths

NORM_EPS = 1e-6
FILTER_SCALE = 1 / 3
INIT_STD = 0.02

Device = torch.device | str | None


def channels_last(x: Tensor) -> Tensor:
    """(N, C, H, W) seen as (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """(N, H, W, C) seen as (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of every pixel."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        # Not super().forward(): TorchScript knows no super.
        y = functional.layer_norm(
            channels_last(x), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return channels_first(y)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, at every pixel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return channels_first(self.fc2(functional.gelu(self.fc1(channels_last(x)))))


class GlobalLocalFilter(nn.Module):
    """Half of the channels through a 3×3 convolution, half through a filter of their spectrum.

    The Fourier branch and its weight stay in float32 at lower precisions.

    Parameters
    ----------
    dim
        Channels, even.
    spectrum
        Size (h, w // 2 + 1) of the half spectrum of an h × w map that `complex_weight`
        (dim / 2, height, width, 2) holds; real and imaginary parts last. For maps of another size
        it is resized bilinearly, corners aligned.
    """

    def __init__(self, dim: int, spectrum: tuple[int, int]) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"a global-local filter needs an even number of channels, not {dim}")
        half = dim // 2
        self.pre_norm = ChannelNorm(dim)
        self.dw = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        weight = torch.empty(half, *spectrum, 2, dtype=_wide(torch.get_default_dtype()))
        # On the meta device drawing numbers imports torch's compiler: seconds, for nothing.
        self.complex_weight = nn.Parameter(
            weight if weight.is_meta else weight.normal_(std=INIT_STD)
        )
        self.post_norm = ChannelNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        local, spectral = torch.chunk(self.pre_norm(x), 2, dim=1)
        branches = self.dw(local), filter_spectrum(spectral, self.complex_weight)
        interleaved = torch.stack([channels_last(branch) for branch in branches], -1).flatten(-2)
        y: Tensor = self.post_norm(channels_first(interleaved))
        return y

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GlobalLocalFilter:
        """Let `Module.half` and its like move the spectrum, but not round it."""
        before = self.complex_weight.detach()
        base: Any = super()
        base._apply(fn, recurse)
        after = self.complex_weight
        if after.dtype != _wide(after.dtype):
            after.data = before.to(after.device)
        return self


@torch.fx.wrap
def filter_spectrum(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply the half spectrum of each channel of x (N, C, H, W) by its weight (C, h, w, 2).

    In float32 at lower precisions; the result has the dtype of x.
    """
    height, width = x.shape[-2:]
    wide = x if x.dtype == torch.float64 else x.float()
    spectrum = torch.fft.rfft2(wide, norm="ortho")
    weight = resize_spectrum(weight.to(wide.dtype), height, width // 2 + 1)
    # In real numbers: compiled, the gradient of a product of complex ones comes out wrong.
    real, imaginary = torch.view_as_real(spectrum).unbind(-1)
    a, b = weight.unbind(-1)
    product = torch.complex(real * a - imaginary * b, real * b + imaginary * a)
    filtered: Tensor = torch.fft.irfft2(product, s=(height, width), norm="ortho")
    return filtered.to(x.dtype)


def resize_spectrum(weight: Tensor, height: int, width: int) -> Tensor:
    """A filter (C, h, w, 2) resized bilinearly, corners aligned, to (C, height, width, 2)."""
    size = [height, width]
    if list(weight.shape[1:3]) == size:
        return weight
    planes = weight.permute(3, 0, 1, 2)
    resized = functional.interpolate(planes, size=size, mode="bilinear", align_corners=True)
    return resized.permute(1, 2, 3, 0)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The same, or float32 for what is less precise."""
    return torch.float32 if dtype.itemsize < 4 else dtype


class gnConv(nn.Module):  # noqa: N801 - the name in the paper and in every implementation
    """Recursive gated convolution of order n (paper, equations 3.3 and 3.4).

    Parameters
    ----------
    dim
        Channels, divisible by 2^(order - 1).
    order
        Number n of multiplications, 1 or more.
    spectrum
        None for a 7×7 depthwise filter; else a global-local filter with this half spectrum, see
        `GlobalLocalFilter`.
    scale
        Factor s on the filtered features.
    device, dtype
        Where the layer is moved to, and what it is cast to; torch's defaults if not given.
    """

    def __init__(
        self,
        dim: int,
        order: int,
        *,
        spectrum: tuple[int, int] | None = None,
        scale: float = FILTER_SCALE,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if order < 1 or dim < 1 or dim % (1 << (order - 1)):
            raise ValueError(f"dim {dim} is not divisible by 2^(order - 1), order {order}")
        self.widths = list(order_widths(dim, order))
        self.scale = scale
        total = sum(self.widths)
        self.proj_in = nn.Conv2d(dim, 2 * dim, 1)
        self.dwconv = (
            nn.Conv2d(total, total, 7, padding=3, groups=total)
            if spectrum is None
            else GlobalLocalFilter(total, spectrum)
        )
        self.pws = nn.ModuleList(
            nn.Conv2d(narrow, wide, 1) for narrow, wide in pairwise(self.widths)
        )
        self.proj_out = nn.Conv2d(dim, dim, 1)
        if device is not None or dtype is not None:  # `to` cannot be used in a FakeTensorMode
            self.to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        # Gates multiply in the order of memory, channels last: torch.export needs it for any size.
        fused = channels_last(self.proj_in(x))
        p, q = torch.split(fused, [self.widths[0], sum(self.widths)], dim=-1)
        filtered = channels_last(self.dwconv(channels_first(q)))
        gates = torch.split(filtered, self.widths, dim=-1)
        p = (p * gates[0]).mul_(self.scale)
        for order, projection in enumerate(self.pws, 1):
            projected = channels_last(projection(channels_first(p)))
            p = (projected * gates[order]).mul_(self.scale)
        y: Tensor = self.proj_out(channels_first(p))
        return y
