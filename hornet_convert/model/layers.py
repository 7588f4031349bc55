"""The layers of HorNet: gnConv, its global-local filter, the norm and the MLP.

Every layer maps (N, C, H, W) to (N, C', H', W'). Inside, channels are the last axis, where LayerNorm
and 1×1 convolutions (as linear layers) are fastest; going back and forth only changes the view.
Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3 and appendix.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hornet_convert.architecture import MLP_RATIO, order_widths

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


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer at every pixel: (N, C, H, W) to (N, C', H, W), channels last in memory.

    The same product either way. In float32 on a CPU the convolution is the faster one, up to twice:
    it goes to oneDNN, the linear layer to the BLAS library.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return F.conv2d(x, weight.view(*weight.shape[:2], 1, 1), bias)
    return channels_first(F.linear(channels_last(x), weight.flatten(1), bias))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of every pixel."""

    def __init__(self, dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(dim, NORM_EPS, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return channels_first(super().forward(channels_last(x)))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, at every pixel."""

    def __init__(self, dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim, device=device, dtype=dtype)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        hidden = F.gelu(pointwise(x, self.fc1.weight, self.fc1.bias))
        return pointwise(hidden, self.fc2.weight, self.fc2.bias)


class GlobalLocalFilter(nn.Module):
    """Half of the channels through a 3×3 convolution, the others through a filter of their spectrum.

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

    def __init__(
        self,
        dim: int,
        spectrum: tuple[int, int],
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"a global-local filter needs an even number of channels, not {dim}")
        half = dim // 2
        self.pre_norm = ChannelNorm(dim, device, dtype)
        self.dw = nn.Conv2d(
            half, half, 3, padding=1, groups=half, bias=False, device=device, dtype=dtype
        )
        wide = _at_least_float32(dtype or torch.get_default_dtype())
        self.complex_weight = nn.Parameter(
            torch.empty(half, *spectrum, 2, device=device, dtype=wide).normal_(std=INIT_STD)
        )
        self.post_norm = ChannelNorm(dim, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        local, spectral = self.pre_norm(x).chunk(2, dim=1)
        branches = self.dw(local), self._filter_spectrum(spectral)
        interleaved = torch.stack([channels_last(branch) for branch in branches], -1).flatten(-2)
        return self.post_norm(channels_first(interleaved))  # type: ignore[no-any-return]

    def _filter_spectrum(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        spectrum = torch.fft.rfft2(x.to(_at_least_float32(x.dtype)), norm="ortho")
        weight = resize_spectrum(self.complex_weight.to(spectrum.real.dtype), spectrum.shape[-2:])
        filtered = spectrum * torch.view_as_complex(weight)
        return torch.fft.irfft2(filtered, s=size, norm="ortho").to(x.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GlobalLocalFilter:
        before = self.complex_weight.detach()
        super()._apply(fn, recurse)
        after = self.complex_weight
        if after.dtype != _at_least_float32(after.dtype):
            after.data = before.to(after.device)
        return self


def resize_spectrum(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """A filter (C, h, w, 2) resized bilinearly with aligned corners to (C, *size, 2)."""
    if weight.shape[1:3] == size:
        return weight
    planes = weight.permute(3, 0, 1, 2)
    resized = F.interpolate(planes, size=size, mode="bilinear", align_corners=True)
    return resized.permute(1, 2, 3, 0).contiguous()


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
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
        self.widths = order_widths(dim, order)
        self.scale = scale
        total = sum(self.widths)
        self.proj_in = nn.Conv2d(dim, 2 * dim, 1, device=device, dtype=dtype)
        self.dwconv: nn.Conv2d | GlobalLocalFilter
        if spectrum is None:
            self.dwconv = nn.Conv2d(
                total, total, 7, padding=3, groups=total, device=device, dtype=dtype
            )
        else:
            self.dwconv = GlobalLocalFilter(total, spectrum, device=device, dtype=dtype)
        self.pws = nn.ModuleList(
            nn.Conv2d(narrow, wide, 1, device=device, dtype=dtype)
            for narrow, wide in zip(self.widths, self.widths[1:], strict=False)
        )
        self.proj_out = nn.Conv2d(dim, dim, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        # Two products with the parts of one weight, rather than one whose output is then cut: the
        # filter then gets its input contiguous.
        cut = self.widths[0]
        weight, bias = self.proj_in.weight, self.proj_in.bias
        p = pointwise(x, weight[:cut], bias[:cut])
        q = pointwise(x, weight[cut:], bias[cut:])
        first, *rest = self._filter(q).split(self.widths, dim=1)
        p = p * first
        for layer, gate in zip(self.pws, rest, strict=True):
            p = pointwise(p, layer.weight, layer.bias) * gate
        return pointwise(p, self.proj_out.weight, self.proj_out.bias)

    def _filter(self, q: Tensor) -> Tensor:
        """s · filter(q)."""
        dwconv = self.dwconv
        if isinstance(dwconv, GlobalLocalFilter):
            return dwconv(q) * self.scale
        # Scaling the weights is less work than scaling the output.
        weight, bias = dwconv.weight * self.scale, dwconv.bias * self.scale
        return F.conv2d(q, weight, bias, padding=3, groups=dwconv.groups)
