"""HorNet as its definition reads, channels first: what `benchmarks.model` measures against.

Norms over channels are spelled out, 1×1 convolutions are convolutions; after the authors' code.
Works on a state dict in the reference layout.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from hornet_convert.family.architecture import DEPTHS, ORDERS, Architecture, order_widths


class Naive:
    """The forward pass of a state dict in the reference layout."""

    def __init__(self, architecture: Architecture, weights: Mapping[str, Tensor]) -> None:
        self.architecture = architecture
        self.weights = {
            key: tensor.detach().contiguous(memory_format=torch.contiguous_format)
            for key, tensor in weights.items()
        }

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits."""
        x = self._norm(self._conv(x, "stem.0", stride=4), "stem.1")
        for stage, depth in enumerate(DEPTHS):
            if stage:
                x = self._norm(x, f"stages.{stage}.downsample.0")
                x = self._conv(x, f"stages.{stage}.downsample.1", stride=2)
            for block in range(depth):
                x = self._block(x, f"stages.{stage}.blocks.{block}", stage)
        x = x.mean((-2, -1))
        x = functional.layer_norm(x, x.shape[1:], *self._pair("head.norm"), eps=1e-6)
        return functional.linear(x, *self._pair("head.fc"))

    def _pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def _conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        return functional.conv2d(x, *self._pair(name), stride=stride)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._pair(name)
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return weight[:, None, None] * x + bias[:, None, None]

    def _block(self, x: Tensor, name: str, stage: int) -> Tensor:
        gamma1 = self.weights[f"{name}.gamma1"].view(1, -1, 1, 1)
        x = x + gamma1 * self._gnconv(self._norm(x, f"{name}.norm1"), f"{name}.gnconv", stage)
        y = x.permute(0, 2, 3, 1)
        y = functional.layer_norm(y, y.shape[3:], *self._pair(f"{name}.norm2"), eps=1e-6)
        y = functional.gelu(functional.linear(y, *self._pair(f"{name}.mlp.fc1")))
        y = functional.linear(y, *self._pair(f"{name}.mlp.fc2"))
        y = self.weights[f"{name}.gamma2"] * y
        return x + y.permute(0, 3, 1, 2)

    def _gnconv(self, x: Tensor, name: str, stage: int) -> Tensor:
        widths = order_widths(x.shape[1], ORDERS[stage])
        fused = self._conv(x, f"{name}.proj_in")
        p, q = torch.split(fused, [widths[0], sum(widths)], dim=1)
        if self.architecture.filter_shape(stage) is None:
            weight, bias = self._pair(f"{name}.dwconv")
            q = functional.conv2d(q, weight, bias, padding=3, groups=weight.shape[0])
        else:
            q = self._filter(q, f"{name}.dwconv")
        first, *gates = torch.split(q * (1 / 3), list(widths), dim=1)
        p = p * first
        for order, gate in enumerate(gates):
            p = self._conv(p, f"{name}.pws.{order}") * gate
        return self._conv(p, f"{name}.proj_out")

    def _filter(self, x: Tensor, name: str) -> Tensor:
        """Half local, half global, interleaved; the filters have the size of the map."""
        local, spectral = torch.chunk(self._norm(x, f"{name}.pre_norm"), 2, dim=1)
        weight = self.weights[f"{name}.dw.weight"]
        local = functional.conv2d(local, weight, padding=1, groups=weight.shape[0])
        complex_weight = torch.view_as_complex(self.weights[f"{name}.complex_weight"])
        spectrum = torch.fft.rfft2(spectral, norm="ortho") * complex_weight
        spectral = torch.fft.irfft2(spectrum, s=x.shape[2:], norm="ortho")
        x = torch.stack([local, spectral], 2).flatten(1, 2)
        return self._norm(x, f"{name}.post_norm")
