"""Checking a checkpoint by hand, as the peer of `verify`: `python -m benchmarks.by_hand FILE`.

Hash the file, torch.load, build the model, load strictly, one float32 forward. The model is HorNet
as its definition reads (Rao et al., NeurIPS 2022), written the usual way: channels first, 1×1
convolutions as convolutions, initialised like any training script does it.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from argparse import Namespace
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hornet_convert.family.architecture import DEPTHS, ORDERS, Architecture


class LayerNorm(nn.Module):
    """Over the channels of (N, C, H, W), or over the last axis."""

    def __init__(self, dim: int, channels_first: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.channels_first = channels_first

    def forward(self, x: Tensor) -> Tensor:
        """The shape of the input."""
        if not self.channels_first:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-6)
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class GlobalLocalFilter(nn.Module):
    """Half of the channels convolved, half filtered in the Fourier domain."""

    def __init__(self, dim: int, height: int, width: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(dim // 2, dim // 2, 3, padding=1, bias=False, groups=dim // 2)
        self.complex_weight = nn.Parameter(torch.randn(dim // 2, height, width, 2) * 0.02)
        self.pre_norm = LayerNorm(dim, channels_first=True)
        self.post_norm = LayerNorm(dim, channels_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """The shape of the input."""
        local, spectral = self.pre_norm(x).chunk(2, dim=1)
        size = spectral.shape[-2:]
        spectrum = torch.fft.rfft2(spectral, norm="ortho")
        filtered = spectrum * torch.view_as_complex(self.complex_weight.contiguous())
        spectral = torch.fft.irfft2(filtered, s=size, norm="ortho")
        x = torch.stack((self.dw(local), spectral), dim=2).flatten(1, 2)
        y: Tensor = self.post_norm(x)
        return y


class GnConv(nn.Module):
    """Recursive gated convolution."""

    def __init__(self, dim: int, order: int, spectrum: tuple[int, int] | None) -> None:
        super().__init__()
        self.dims = [dim // 2**i for i in reversed(range(order))]
        total = sum(self.dims)
        self.proj_in = nn.Conv2d(dim, 2 * dim, 1)
        self.dwconv: nn.Module = (
            nn.Conv2d(total, total, 7, padding=3, groups=total)
            if spectrum is None
            else GlobalLocalFilter(total, *spectrum)
        )
        self.proj_out = nn.Conv2d(dim, dim, 1)
        self.pws = nn.ModuleList(
            nn.Conv2d(self.dims[i], self.dims[i + 1], 1) for i in range(order - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The shape of the input."""
        first, rest = torch.split(self.proj_in(x), [self.dims[0], sum(self.dims)], dim=1)
        gates = torch.split(self.dwconv(rest) / 3, self.dims, dim=1)
        x = first * gates[0]
        for layer, gate in zip(self.pws, gates[1:], strict=True):
            x = layer(x) * gate
        y: Tensor = self.proj_out(x)
        return y


class Block(nn.Module):
    """gnConv and MLP, each with norm, layer scale and a way around."""

    def __init__(self, dim: int, order: int, spectrum: tuple[int, int] | None) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, channels_first=True)
        self.gnconv = GnConv(dim, order, spectrum)
        self.norm2 = LayerNorm(dim)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma1 = nn.Parameter(1e-6 * torch.ones(dim))
        self.gamma2 = nn.Parameter(1e-6 * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """The shape of the input."""
        x = x + self.gamma1[:, None, None] * self.gnconv(self.norm1(x))
        y = self.norm2(x.permute(0, 2, 3, 1))
        y = self.gamma2 * self.pwconv2(F.gelu(self.pwconv1(y)))
        out: Tensor = x + y.permute(0, 3, 1, 2)
        return out


class HorNet(nn.Module):
    """All of it, with the authors' names."""

    def __init__(self, architecture: Architecture, num_classes: int) -> None:
        super().__init__()
        dims = architecture.widths
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, 4), LayerNorm(dims[0], channels_first=True))
        self.downsample_layers = nn.ModuleList([stem])
        for narrow, wide in itertools.pairwise(dims):
            norm = LayerNorm(narrow, channels_first=True)
            self.downsample_layers.append(nn.Sequential(norm, nn.Conv2d(narrow, wide, 2, 2)))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(Block(dims[i], ORDERS[i], architecture.filter_shape(i)) for _ in range(depth))
            )
            for i, depth in enumerate(DEPTHS)
        )
        self.norm = LayerNorm(dims[-1])
        self.head = nn.Linear(dims[-1], num_classes)
        self.apply(self._initialise)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits."""
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        y: Tensor = self.head(self.norm(x.mean((-2, -1))))
        return y


def main(path: Path, name: str) -> None:
    """Check one file in the authors' form, and print its digest and the largest logit."""
    with path.open("rb") as file:
        print(hashlib.file_digest(file, "sha256").hexdigest())
    torch.serialization.add_safe_globals([Namespace])
    weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
    architecture = Architecture.from_name(name)
    model = HorNet(architecture, weights["head.weight"].shape[0])
    model.load_state_dict(weights, strict=True)
    model.eval()
    side = architecture.resolution
    with torch.no_grad():
        logits = model(torch.randn(1, 3, side, side))
    print(logits.abs().max().item())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
