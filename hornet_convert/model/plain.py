"""A second HorNet forward, straight from the formulas, over a checkpoint's own keys.

It exists to be compared with the reference model, so it shares nothing with it: own names, own
arithmetic (channels first; norms, GELU, convolutions and Fourier transforms spelled out), and every
depth, order and width read off the weights. float64 throughout.

Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

EPS = 1e-6
SCALE = 1 / 3

# Large arrays are worked on in pieces: fresh memory costs more than the arithmetic on it.
ELEMENTS_AT_ONCE = 1 << 18
WEIGHTS_AT_ONCE = 1 << 20
PIXELS_AT_ONCE = 1024


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


# What each of them is called in the layouts.
LAYOUTS = ("reference", "official", "openmmlab")
ROWS = (
    ("stem.0", "downsample_layers.0.0", "backbone.downsample_layers.0.0"),
    ("stem.1", "downsample_layers.0.1", "backbone.downsample_layers.0.1"),
    ("stages.{s}.downsample.0", "downsample_layers.{s}.0", "backbone.downsample_layers.{s}.0"),
    ("stages.{s}.downsample.1", "downsample_layers.{s}.1", "backbone.downsample_layers.{s}.1"),
    ("stages.{s}.blocks.{b}", "stages.{s}.{b}", "backbone.stages.{s}.{b}"),
    ("gamma1", "gamma1", "gamma1.weight"),
    ("gamma2", "gamma2", "gamma2.weight"),
    ("pws.{k}", "pws.{k}", "projs.{k}"),
    ("mlp.fc1", "pwconv1", "pwconv1"),
    ("mlp.fc2", "pwconv2", "pwconv2"),
    ("head.norm", "norm", "backbone.norm3"),
    ("head.fc", "head", "head.fc"),
)
NAMES = {
    layout: Names(*column) for layout, column in zip(LAYOUTS, zip(*ROWS, strict=True), strict=True)
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
    source = _Source(weights)
    x = _patches(image.to(torch.float64), *source.layer(names.stem))
    x = _norm(x, *source.layer(names.stem_norm))
    yield Step("stem", x)
    for s in itertools.count():
        if f"{names.block.format(s=s, b=0)}.norm1.weight" not in source:
            break
        if s:
            x = _norm(x, *source.layer(names.downsample_norm.format(s=s)))
            x = _patches(x, *source.layer(names.downsample.format(s=s)))
            yield Step(f"stages.{s}.downsample", x)
        for b in itertools.count():
            block = names.block.format(s=s, b=b)
            if f"{block}.norm1.weight" not in source:
                break
            x = _block(x, source, block, names)
            yield Step(f"stages.{s}.blocks.{b}", x)
    if f"{names.final_norm}.weight" in source:
        x = _norm(x.mean(dim=(2, 3), keepdim=True), *source.layer(names.final_norm))
        yield Step("head.norm", x.flatten(1))
    if f"{names.classifier}.weight" in source:
        yield Step("head.fc", _linear(x, *source.layer(names.classifier)).flatten(1))


class _Source:
    """The weights; asking whether there is one does not load it."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._names = set(weights)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[name]

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias."""
        return self[f"{name}.weight"], self[f"{name}.bias"]


def _block(x: Tensor, source: _Source, block: str, names: Names) -> Tensor:
    """The sum x + γ1 ⊙ gnConv(LN(x)), and to that γ2 ⊙ W2 · GELU(W1 · LN(x))."""
    y = _gnconv(_norm(x, *source.layer(f"{block}.norm1")), source, f"{block}.gnconv", names)
    x = x + y * _per_channel(source[f"{block}.{names.layer_scale1}"])
    y = _norm(x, *source.layer(f"{block}.norm2"))
    first = source.layer(f"{block}.{names.mlp1}")
    second = source.layer(f"{block}.{names.mlp2}")
    pieces = torch.split(y.flatten(2), PIXELS_AT_ONCE, dim=2)
    y = torch.cat([_linear(_gelu_(_linear(piece, *first)), *second) for piece in pieces], dim=2)
    return x + y.view(x.shape) * _per_channel(source[f"{block}.{names.layer_scale2}"])


def _gnconv(x: Tensor, source: _Source, name: str, names: Names) -> Tensor:
    """Recursive gated convolution; the order is the number of projections plus one."""
    projections = []
    for k in itertools.count():
        projection = f"{name}.{names.pointwise.format(k=k)}"
        if f"{projection}.weight" not in source:
            break
        projections.append(source.layer(projection))
    gates = [weight.shape[0] for weight, _ in projections]
    y = _linear(x, *source.layer(f"{name}.proj_in"))
    first = (y.shape[1] - sum(gates)) // 2  # y is p (d_0 channels), then q (d_0 and the gates)
    p, q = y[:, :first], y[:, first:]
    if f"{name}.dwconv.complex_weight" in source:
        q = _global_local(q, source, f"{name}.dwconv")
    else:
        weight, bias = source.layer(f"{name}.dwconv")
        q = _depthwise(q, weight) + _per_channel(bias)
    q = q.mul_(SCALE)
    p = p * q[:, :first]
    at = first
    for (weight, bias), gate in zip(projections, gates, strict=True):
        p = _linear(p, weight, bias) * q[:, at : at + gate]
        at += gate
    return _linear(p, *source.layer(f"{name}.proj_out"))


def _global_local(x: Tensor, source: _Source, name: str) -> Tensor:
    """Half of the channels convolved, half filtered in the Fourier domain, then interleaved."""
    x = _norm(x, *source.layer(f"{name}.pre_norm"))
    half = x.shape[1] // 2
    interleaved = torch.empty_like(x)
    interleaved[:, 0::2] = _depthwise(x[:, :half], source[f"{name}.dw.weight"])
    interleaved[:, 1::2] = _fourier_filter(x[:, half:], source[f"{name}.complex_weight"])
    return _norm(interleaved, *source.layer(f"{name}.post_norm"))


def _fourier_filter(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply the half spectrum of every channel of (N, C, H, W) by its `weight` (C, h, w, 2).

    X[u, v] = Σ x[m, n] e^(-2πi(um/H + vn/W)), v = 0..W//2, and back; 1/√(HW) each way. In the way
    back the frequencies v and W - v are conjugate, so those that have no partner of their own in
    the half (all but 0 and W/2) count twice, and the real part is taken.
    """
    height, width = x.shape[2:]
    half = width // 2 + 1
    weight = _resize(weight.to(torch.float64), height, half)
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
    """The waves e^(-2πi um / length), frequency u by position m."""
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


def _norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LayerNorm over the channels of (N, C, H, W)."""
    centred = x - x.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1, keepdim=True) + EPS).sqrt()
    return centred.div_(deviation).mul_(_per_channel(scale)).add_(_per_channel(shift))


def _gelu_(x: Tensor) -> Tensor:
    """Replace x, contiguous, by x Φ(x); Φ is the standard normal distribution function."""
    for part in torch.split(x.view(-1), ELEMENTS_AT_ONCE):
        part.mul_((part / math.sqrt(2)).erf_().add_(1).div_(2))
    return x


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A matrix (C', C) or 1×1 convolution (C', C, 1, 1) over the channels of (N, C, ...)."""
    matrix = weight.flatten(1)
    pixels = x.flatten(2)
    y = pixels.new_empty(pixels.shape[0], matrix.shape[0], pixels.shape[2])
    rows = max(1, WEIGHTS_AT_ONCE // matrix.shape[1])
    for start in range(0, matrix.shape[0], rows):
        part = slice(start, start + rows)
        y[:, part] = matrix[part].to(torch.float64) @ pixels
    y += bias.to(torch.float64)[:, None]
    return y.view(x.shape[0], -1, *x.shape[2:])


def _patches(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution whose stride is its size k: a linear layer over patches of k × k pixels."""
    size = weight.shape[-1]
    height, width = x.shape[2] // size, x.shape[3] // size
    x = x[:, :, : height * size, : width * size]
    x = x.reshape(x.shape[0], -1, height, size, width, size)
    return _linear(x.permute(0, 1, 3, 5, 2, 4).flatten(1, 3), weight, bias)


def _depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """A k × k convolution of every channel by itself, zeros around: the sum of k² shifted maps."""
    size = weight.shape[-1]
    height, width = x.shape[2:]
    padded = pad(x, (size // 2,) * 4)
    y = x.new_zeros(x.shape)
    for i, j in itertools.product(range(size), repeat=2):
        shifted = padded[:, :, i : i + height, j : j + width]
        y.addcmul_(shifted, _per_channel(weight[:, 0, i, j]))
    return y


def _per_channel(values: Tensor) -> Tensor:
    return values.to(torch.float64).reshape(-1, 1, 1)
