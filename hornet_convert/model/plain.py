"""A second HorNet forward, straight from the formulas, over a checkpoint's own keys.

It exists to be compared with the reference model, so it shares nothing with it: own names, own
arithmetic (channels first, norms and GELU spelled out, the Fourier filter by explicit discrete
Fourier transforms), and every depth, order and width read off the weights. float64 throughout.

Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-6
SCALE = 1 / 3


class Names(NamedTuple):
    """What a layout calls the tensors; {s} is the stage, {b} the block, {k} the projection."""

    stem: str
    stem_norm: str
    downsample_norm: str
    downsample: str
    block: str
    layer_scale1: str
    layer_scale2: str
    pointwise: str
    mlp1: str
    mlp2: str
    final_norm: str
    classifier: str


NAMES = {
    "reference": Names(
        "stem.0",
        "stem.1",
        "stages.{s}.downsample.0",
        "stages.{s}.downsample.1",
        "stages.{s}.blocks.{b}",
        "gamma1",
        "gamma2",
        "pws.{k}",
        "mlp.fc1",
        "mlp.fc2",
        "head.norm",
        "head.fc",
    ),
    "official": Names(
        "downsample_layers.0.0",
        "downsample_layers.0.1",
        "downsample_layers.{s}.0",
        "downsample_layers.{s}.1",
        "stages.{s}.{b}",
        "gamma1",
        "gamma2",
        "pws.{k}",
        "pwconv1",
        "pwconv2",
        "norm",
        "head",
    ),
    "openmmlab": Names(
        "backbone.downsample_layers.0.0",
        "backbone.downsample_layers.0.1",
        "backbone.downsample_layers.{s}.0",
        "backbone.downsample_layers.{s}.1",
        "backbone.stages.{s}.{b}",
        "gamma1.weight",
        "gamma2.weight",
        "projs.{k}",
        "pwconv1",
        "pwconv2",
        "backbone.norm3",
        "head.fc",
    ),
}


class Step(NamedTuple):
    """The output of one part of the network.

    `name` is `stem`, `stages.<s>.downsample`, `stages.<s>.blocks.<b>`, `head.norm` or `head.fc`;
    `output` is (N, C, H, W), or (N, C) in the head.
    """

    name: str
    output: Tensor


def steps(weights: Mapping[str, Tensor], layout: str, image: Tensor) -> Iterator[Step]:
    """Run the network on `image` (N, 3, H, W), yielding the output of every part in turn.

    A weight is looked up when its turn comes, cast to float64 and let go again. The head's norm and
    the classifier are run if the checkpoint has them. Raises KeyError for any other tensor that is
    missing, RuntimeError where shapes do not fit.
    """
    names = NAMES[layout]
    x = image.to(torch.float64)
    x = _norm(_conv(x, weights, names.stem, stride=4), weights, names.stem_norm)
    yield Step("stem", x)
    for s in itertools.count():
        if f"{names.block.format(s=s, b=0)}.norm1.weight" not in weights:
            break
        if s:
            x = _norm(x, weights, names.downsample_norm.format(s=s))
            x = _conv(x, weights, names.downsample.format(s=s), stride=2)
            yield Step(f"stages.{s}.downsample", x)
        for b in itertools.count():
            block = names.block.format(s=s, b=b)
            if f"{block}.norm1.weight" not in weights:
                break
            x = _block(x, weights, block, names)
            yield Step(f"stages.{s}.blocks.{b}", x)
    if f"{names.final_norm}.weight" in weights:
        x = _norm(x.mean(dim=(2, 3), keepdim=True), weights, names.final_norm)
        yield Step("head.norm", x.flatten(1))
    if f"{names.classifier}.weight" in weights:
        yield Step("head.fc", _linear(x, weights, names.classifier).flatten(1))


def _get(weights: Mapping[str, Tensor], name: str) -> Tensor:
    return weights[name].to(torch.float64)


def _block(x: Tensor, weights: Mapping[str, Tensor], block: str, names: Names) -> Tensor:
    """x += γ1 ⊙ gnConv(LN(x)); x += γ2 ⊙ W2 · GELU(W1 · LN(x))."""
    y = _gnconv(_norm(x, weights, f"{block}.norm1"), weights, f"{block}.gnconv", names)
    x = x + _per_channel(_get(weights, f"{block}.{names.layer_scale1}")) * y
    y = _norm(x, weights, f"{block}.norm2")
    y = _gelu(_linear(y, weights, f"{block}.{names.mlp1}"))
    y = _linear(y, weights, f"{block}.{names.mlp2}")
    return x + _per_channel(_get(weights, f"{block}.{names.layer_scale2}")) * y


def _gnconv(x: Tensor, weights: Mapping[str, Tensor], name: str, names: Names) -> Tensor:
    """Recursive gated convolution; the order is the number of projections plus one."""
    projections = []
    for k in itertools.count():
        projection = f"{name}.{names.pointwise.format(k=k)}"
        if f"{projection}.weight" not in weights:
            break
        projections.append(projection)
    gates = [weights[f"{projection}.weight"].shape[0] for projection in projections]
    y = _linear(x, weights, f"{name}.proj_in")
    first = (y.shape[1] - sum(gates)) // 2  # y is p (d_0 channels), then q (d_0 and the gates)
    p, q = y[:, :first], y[:, first:]
    if f"{name}.dwconv.complex_weight" in weights:
        q = _global_local(q, weights, f"{name}.dwconv")
    else:
        q = _conv(q, weights, f"{name}.dwconv", depthwise=True)
    q = SCALE * q
    p = p * q[:, :first]
    at = first
    for projection, gate in zip(projections, gates, strict=True):
        p = _linear(p, weights, projection) * q[:, at : at + gate]
        at += gate
    return _linear(p, weights, f"{name}.proj_out")


def _global_local(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    """Half of the channels convolved, half filtered in the Fourier domain, then interleaved."""
    x = _norm(x, weights, f"{name}.pre_norm")
    half = x.shape[1] // 2
    local = _conv(x[:, :half], weights, f"{name}.dw", depthwise=True)
    spectral = _fourier_filter(x[:, half:], _get(weights, f"{name}.complex_weight"))
    interleaved = torch.empty_like(x)
    interleaved[:, 0::2] = local
    interleaved[:, 1::2] = spectral
    return _norm(interleaved, weights, f"{name}.post_norm")


def _fourier_filter(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply the half spectrum of every channel of (N, C, H, W) by its `weight` (C, h, w, 2).

    X[u, v] = Σ x[m, n] e^(-2πi(um/H + vn/W)), v = 0..W//2, and back; 1/√(HW) each way. In the way
    back the frequencies v and W - v are conjugate, so those that have no partner of their own in
    the half (all but 0 and W/2) count twice, and the real part is taken.
    """
    height, width = x.shape[2:]
    half = width // 2 + 1
    weight = _resize(weight, height, half)
    rows, columns = _waves(height, height), _waves(width, half)
    spectrum = rows @ x.to(torch.complex128) @ columns.T / math.sqrt(height * width)
    spectrum = spectrum * torch.complex(weight[..., 0], weight[..., 1])
    twice = torch.full((half,), 2.0, dtype=torch.float64)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    back = rows.conj() @ (spectrum * twice) @ columns.conj()
    return back.real / math.sqrt(height * width)


def _waves(length: int, frequencies: int) -> Tensor:
    """e^(-2πi u m / length), u by m."""
    turns = torch.outer(torch.arange(frequencies), torch.arange(length)) % length
    angle = turns.to(torch.float64) * (-2 * math.pi / length)
    return torch.complex(angle.cos(), angle.sin())


def _resize(weight: Tensor, height: int, width: int) -> Tensor:
    """Bilinear interpolation of (C, h, w, 2) to (C, height, width, 2), corners on corners."""
    for dim, size in ((1, height), (2, width)):
        old = weight.shape[dim]
        if old == size:
            continue
        position = torch.arange(size, dtype=torch.float64) * ((old - 1) / max(size - 1, 1))
        below = position.floor().clamp(max=old - 1).to(torch.int64)
        above = (below + 1).clamp(max=old - 1)
        share = (position - below).view([-1 if axis == dim else 1 for axis in range(4)])
        weight = weight.index_select(dim, below) * (1 - share) + (
            weight.index_select(dim, above) * share
        )
    return weight


def _norm(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    """LayerNorm over the channels of (N, C, H, W)."""
    centred = x - x.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1, keepdim=True) + EPS).sqrt()
    scale, shift = _get(weights, f"{name}.weight"), _get(weights, f"{name}.bias")
    return centred / deviation * _per_channel(scale) + _per_channel(shift)


def _gelu(x: Tensor) -> Tensor:
    """x Φ(x), Φ the standard normal distribution function."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def _linear(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    """A matrix (C', C) or 1×1 convolution (C', C, 1, 1) at every pixel of (N, C, H, W)."""
    matrix = _get(weights, f"{name}.weight").flatten(1)
    y = (matrix @ x.flatten(2)).unflatten(2, x.shape[2:])
    return y + _per_channel(_get(weights, f"{name}.bias"))


def _conv(
    x: Tensor,
    weights: Mapping[str, Tensor],
    name: str,
    *,
    stride: int = 1,
    depthwise: bool = False,
) -> Tensor:
    """A convolution: in patches (stride), or depthwise and padded to keep the size."""
    weight = _get(weights, f"{name}.weight")
    bias = _get(weights, f"{name}.bias") if f"{name}.bias" in weights else None
    padding = weight.shape[-1] // 2 if depthwise else 0
    groups = x.shape[1] if depthwise else 1
    return functional.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)


def _per_channel(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)
