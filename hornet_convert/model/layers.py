"""The layers of HorNet: gnConv, its global-local filter, the norm and the MLP.

Every layer maps (N, C, H, W) to (N, C', H, W), channels last in memory: there LayerNorm and 1×1
convolutions are fastest, and permuting the axes back and forth only changes the view.
Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3 and appendix.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hornet_convert.family.architecture import MLP_RATIO, order_widths

NORM_EPS = 1e-6
FILTER_SCALE = 1 / 3
INIT_STD = 0.02
HIDDEN_AT_ONCE = 1 << 20

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
        return functional.conv2d(x, weight.view(*weight.shape[:2], 1, 1), bias)
    return channels_first(functional.linear(channels_last(x), weight.flatten(1), bias))


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A k × k convolution of every channel by itself, padded to keep the size; k is odd.

    (N, C, H, W) to the same shape, channels last in memory.
    """
    if x.device.type == "cpu" and x.dtype == torch.float64:
        # oneDNN knows no float64, and what runs in its place goes channel by channel.
        return _depthwise_shifted(x, weight, bias)
    return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=weight.shape[0])


def _depthwise_shifted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same as a sum of k² shifted and weighted maps."""
    size = weight.shape[-1]
    height, width = x.shape[-2:]
    padded = functional.pad(channels_last(x), (0, 0, size // 2, size // 2, size // 2, size // 2))
    kernel = weight[:, 0].permute(1, 2, 0).contiguous()
    y = torch.zeros_like(channels_last(x), memory_format=torch.contiguous_format)
    if bias is not None:
        y += bias
    for row in range(size):
        for column in range(size):
            shifted = padded[:, row : row + height, column : column + width]
            y.addcmul_(shifted, kernel[row, column])
    return channels_first(y)


class Pointwise(nn.Conv2d):
    """A 1×1 convolution."""

    def __init__(
        self, dim_in: int, dim_out: int, device: Device = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(dim_in, dim_out, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """(N, C, H, W) to (N, C', H, W); only the output channels in `rows`, if given."""
        return pointwise(x, self.weight[rows], None if self.bias is None else self.bias[rows])


class Depthwise(nn.Conv2d):
    """A convolution of every channel by itself, padded to keep the size; `size` is odd."""

    def __init__(
        self,
        dim: int,
        size: int,
        *,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            dim, dim, size, padding=size // 2, groups=dim, bias=bias, device=device, dtype=dtype
        )

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """(N, C, H, W) to the same shape, times `scale`."""
        # Scaling the weights is less work than scaling the output.
        bias = None if self.bias is None else self.bias * scale
        return depthwise(x, self.weight * scale, bias)


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
        hidden = x.numel() * MLP_RATIO
        if hidden <= 2 * HIDDEN_AT_ONCE or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._forward(x)
        # Inference on large maps: in pieces of pixels, whose hidden layer stays in the cache.
        pixels = channels_first(channels_last(x).reshape(1, -1, 1, x.shape[1]))
        pieces = torch.split(pixels, max(1, HIDDEN_AT_ONCE // (x.shape[1] * MLP_RATIO)), dim=2)
        y = torch.cat([channels_last(self._forward(piece)) for piece in pieces], dim=1)
        return channels_first(y.view(x.shape[0], *x.shape[2:], x.shape[1]))

    def _forward(self, x: Tensor) -> Tensor:
        hidden = functional.gelu(pointwise(x, self.fc1.weight, self.fc1.bias))
        return pointwise(hidden, self.fc2.weight, self.fc2.bias)


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
        self.dw = Depthwise(half, 3, bias=False, device=device, dtype=dtype)
        wide = _at_least_float32(dtype or torch.get_default_dtype())
        weight = torch.empty(half, *spectrum, 2, device=device, dtype=wide)
        # On the meta device drawing numbers imports torch's compiler: seconds, for nothing.
        self.complex_weight = nn.Parameter(
            weight if weight.is_meta else weight.normal_(std=INIT_STD)
        )
        self.post_norm = ChannelNorm(dim, device, dtype)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """(N, dim, H, W) to the same shape, times `scale`."""
        local, spectral = torch.chunk(self.pre_norm(x), 2, dim=1)
        branches = self.dw(local), self._filter_spectrum(spectral)
        interleaved = torch.stack([channels_last(branch) for branch in branches], -1).flatten(-2)
        y: Tensor = self.post_norm(channels_first(interleaved))
        return y * scale

    def _filter_spectrum(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        spectrum = torch.fft.rfft2(x.to(_at_least_float32(x.dtype)), norm="ortho")
        weight = self.complex_weight.to(spectrum.real.dtype)
        weight = resize_spectrum(weight, height, width // 2 + 1).contiguous()
        spectrum = spectrum * torch.view_as_complex(weight)
        filtered: Tensor = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")
        return filtered.to(x.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GlobalLocalFilter:
        """Let `Module.half` and its like move the spectrum, but not round it."""
        before = self.complex_weight.detach()
        base: Any = super()
        base._apply(fn, recurse)
        after = self.complex_weight
        if after.dtype != _at_least_float32(after.dtype):
            after.data = before.to(after.device)
        return self


def resize_spectrum(weight: Tensor, height: int, width: int) -> Tensor:
    """A filter (C, h, w, 2) resized bilinearly, corners aligned, to (C, height, width, 2)."""
    size = (height, width)
    if weight.shape[1:3] == size:
        return weight
    planes = weight.permute(3, 0, 1, 2)
    resized = functional.interpolate(planes, size=size, mode="bilinear", align_corners=True)
    return resized.permute(1, 2, 3, 0)


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
        self.widths = list(order_widths(dim, order))
        self.scale = scale
        total = sum(self.widths)
        self.proj_in = Pointwise(dim, 2 * dim, device, dtype)
        self.dwconv = (
            Depthwise(total, 7, device=device, dtype=dtype)
            if spectrum is None
            else GlobalLocalFilter(total, spectrum, device=device, dtype=dtype)
        )
        self.pws = nn.ModuleList(
            Pointwise(narrow, wide, device, dtype) for narrow, wide in pairwise(self.widths)
        )
        self.proj_out = Pointwise(dim, dim, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim, H, W) to the same shape."""
        # Two products with the parts of one weight, rather than one whose output is then cut: the
        # filter then gets its input contiguous.
        cut = self.widths[0]
        p = self.proj_in(x, slice(cut))
        q = self.dwconv(self.proj_in(x, slice(cut, None)), self.scale)
        first, *gates = torch.split(q, self.widths, dim=1)
        p = p * first
        for projection, gate in zip(self.pws, gates, strict=True):
            p = projection(p) * gate
        y: Tensor = self.proj_out(p)
        return y
