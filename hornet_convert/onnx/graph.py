"""HorNet's computation as ONNX nodes, from the definition; no weight is looked at.

Pixels are the rows of a matrix wherever a layer works on each by itself, so that linear layers and
1×1 convolutions are one `Gemm` on the weights as they lie in the file, and LayerNorm needs no
transposition. Only real convolutions get maps, (N, C, H, W).

Source: Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from onnx import GraphProto, TensorProto, ValueInfoProto, helper

from hornet_convert.checkpoint.tensors import DType
from hornet_convert.family.architecture import DEPTHS, ORDERS, Architecture, order_widths
from hornet_convert.onnx.fourier import filtered
from hornet_convert.onnx.nodes import Nodes

INPUT: Final = "images"
FILTER_SCALE: Final = 1 / 3
EPS: Final = 1e-6


def hornet_graph(
    architecture: Architecture,
    num_classes: int | None,
    weights: Mapping[str, DType],
    *,
    features: bool = False,
) -> GraphProto:
    """The graph without its initialisers, whose element types are `weights`, by reference name.

    Input `images` (N, 3, H, W) in float32, N dynamic; H and W too in a plain model, else those that
    the filters are for. Output `logits` (N, classes); without a classifier `features` (N, 8 C);
    with `features` the maps `stages.0` to `stages.3` (N, C, H / 4, W / 4) and so on.
    """
    hornet = _HorNet(architecture, weights)
    x = hornet.stem()
    outputs = []
    for stage, depth in enumerate(DEPTHS):
        x = hornet.downsample(stage, x)
        for block in range(depth):
            x = hornet.block(stage, f"stages.{stage}.blocks.{block}", x)
        if features:
            outputs.append(hornet.output_map(stage, x))
    if not features:
        outputs.append(hornet.head(x, num_classes))
    side = architecture.filter_resolution
    sides: list[int | str] = ["height", "width"] if side is None else [side, side]
    images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, *sides])
    return helper.make_graph(hornet.nodes.nodes, "hornet", [images], outputs)


class _HorNet:
    """The parts of the network. `x` are rows of pixels (N · H · W, channels), unless told."""

    def __init__(self, architecture: Architecture, weights: Mapping[str, DType]) -> None:
        self.nodes = Nodes(weights)
        self._architecture = architecture
        self._maps = [""] * len(DEPTHS)  # a value (N, H, W, C) of each stage, for its sizes

    def stem(self) -> str:
        """Images (N, 3, H, W) to rows."""
        return self._norm("stem.1", self._patches(0, "stem.0", INPUT, 4))

    def downsample(self, stage: int, x: str) -> str:
        """Half of the resolution, but in the first stage."""
        if not stage:
            return x
        name = f"stages.{stage}.downsample"
        width = self._architecture.widths[stage - 1]
        x = self._as_maps(stage - 1, name, self._norm(f"{name}.0", x), width)
        return self._patches(stage, f"{name}.1", x, 2)

    def block(self, stage: int, name: str, x: str) -> str:
        """The sum x += γ1 ⊙ gnConv(LN(x)); x += γ2 ⊙ MLP(LN(x))."""
        y = self._gnconv(stage, f"{name}.gnconv", self._norm(f"{name}.norm1", x))
        x = self._scaled_sum(f"{name}.gamma1", x, y)
        y = self._linear(f"{name}.mlp.fc1", self._norm(f"{name}.norm2", x))
        y = self._linear(f"{name}.mlp.fc2", self._gelu(f"{name}.mlp.act", y))
        return self._scaled_sum(f"{name}.gamma2", x, y)

    def head(self, x: str, num_classes: int | None) -> ValueInfoProto:
        """The mean over all pixels, LayerNorm, and the classifier if there is one."""
        width = self._architecture.widths[-1]
        x = self._as_rows_of_maps("head.pool", x, width)
        x = self.nodes.add("ReduceMean", "head.pool", x, axes=[1, 2], keepdims=0)
        x = self._norm("head.norm", x)
        if num_classes is not None:
            x = self._linear("head.fc", x)
        name = "features" if num_classes is None else "logits"
        return self._output(name, x, [num_classes or width])

    def output_map(self, stage: int, x: str) -> ValueInfoProto:
        """The map (N, C, H, W) after a stage, as an output."""
        name, width = f"stages.{stage}", self._architecture.widths[stage]
        spectrum = self._architecture.filter_resolution
        sides: list[int | str] = [f"height/{4 << stage}", f"width/{4 << stage}"]
        if spectrum is not None:
            sides = [spectrum // (4 << stage)] * 2
        return self._output(name, self._as_maps(stage, name, x, width), [width, *sides])

    def _output(self, name: str, x: str, sizes: list[int] | list[int | str]) -> ValueInfoProto:
        self.nodes.nodes.append(helper.make_node("Identity", [x], [name], f"{name}/output"))
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sizes])

    def _gnconv(self, stage: int, name: str, x: str) -> str:
        """Recursive gated convolution."""
        nodes, widths = self.nodes, order_widths(self._architecture.widths[stage], ORDERS[stage])
        x = self._linear(f"{name}.proj_in", x)
        p, q = nodes.parts(f"{name}.split", x, (widths[0], sum(widths)), axis=1)
        scale = nodes.numbers("filter_scale", FILTER_SCALE)
        if self._architecture.filter_shape(stage) is None:
            q = self._depthwise(stage, f"{name}.dwconv", q, sum(widths), scale)
        else:
            q = self._global_local(stage, f"{name}.dwconv", q, sum(widths))
            q = nodes.add("Mul", f"{name}.scale", q, scale)
        gates = nodes.parts(f"{name}.gates", q, widths, axis=1)
        p = nodes.add("Mul", f"{name}.gate.0", p, gates[0])
        for order in range(1, len(widths)):
            p = self._linear(f"{name}.pws.{order - 1}", p)
            p = nodes.add("Mul", f"{name}.gate.{order}", p, gates[order])
        return self._linear(f"{name}.proj_out", p)

    def _global_local(self, stage: int, name: str, x: str, channels: int) -> str:
        """Half of the channels convolved, half filtered by their spectrum, interleaved."""
        nodes, half = self.nodes, channels // 2
        x = self._norm(f"{name}.pre_norm", x)
        local, spectral = nodes.parts(f"{name}.split", x, (half, half), axis=1)
        local = self._depthwise(stage, f"{name}.dw", local, half)
        spectral = self._as_rows_of_maps(f"{name}.complex_weight", spectral, half, stage)
        weight = nodes.weight(f"{name}.complex_weight")
        side = self._side(stage)
        spectral = filtered(nodes, f"{name}.fourier", spectral, weight, side, half)
        branches = [
            nodes.reshape(f"{name}.{branch}", value, -1, half, 1)
            for branch, value in (("local", local), ("spectral", spectral))
        ]
        x = nodes.add("Concat", f"{name}.interleaved", *branches, axis=2)
        x = nodes.reshape(f"{name}.channels", x, -1, channels)
        return self._norm(f"{name}.post_norm", x)

    def _norm(self, name: str, x: str) -> str:
        inputs = (x, self._weight(name), self._weight(name, "bias"))
        return self.nodes.add("LayerNormalization", name, *inputs, axis=-1, epsilon=EPS)

    def _linear(self, name: str, x: str) -> str:
        inputs = (x, self._weight(name), self._weight(name, "bias"))
        return self.nodes.add("Gemm", name, *inputs, transB=1)

    def _gelu(self, name: str, x: str) -> str:
        """The product x Φ(x), exactly, in the nodes that runtimes know for GELU."""
        nodes = self.nodes
        y = nodes.add("Div", f"{name}/div", x, nodes.numbers("sqrt2", math.sqrt(2)))
        y = nodes.add("Erf", f"{name}/erf", y)
        y = nodes.add("Add", f"{name}/add", y, nodes.numbers("one", 1.0))
        y = nodes.add("Mul", f"{name}/mul", x, y)
        return nodes.add("Mul", name, y, nodes.numbers("half", 0.5))

    def _scaled_sum(self, gamma: str, x: str, y: str) -> str:
        y = self.nodes.add("Mul", gamma, y, self.nodes.weight(gamma))
        return self.nodes.add("Add", f"{gamma}/sum", x, y)

    def _patches(self, stage: int, name: str, x: str, size: int) -> str:
        """A convolution of maps whose stride is its size, to rows; the stage has its sizes."""
        inputs = (x, self._weight(name), self._weight(name, "bias"))
        y = self.nodes.add("Conv", name, *inputs, kernel_shape=[size, size], strides=[size, size])
        self._maps[stage] = self.nodes.add("Transpose", f"{name}/nhwc", y, perm=[0, 2, 3, 1])
        width = self._architecture.widths[stage]
        return self.nodes.reshape(f"{name}/rows", self._maps[stage], -1, width)

    def _depthwise(
        self, stage: int, name: str, x: str, channels: int, scale: str | None = None
    ) -> str:
        """A convolution of each channel that keeps the size; times `scale`, where it has a bias."""
        nodes, size = self.nodes, 3 if scale is None else 7
        inputs = [self._as_maps(stage, name, x, channels), self._weight(name)]
        if scale is not None:
            inputs.append(self._weight(name, "bias"))
        around = [size // 2] * 4
        y = nodes.add("Conv", name, *inputs, kernel_shape=[size, size], pads=around, group=channels)
        if scale is not None:
            y = nodes.add("Mul", f"{name}/scale", y, scale)
        y = nodes.add("Transpose", f"{name}/nhwc", y, perm=[0, 2, 3, 1])
        return nodes.reshape(f"{name}/rows", y, -1, channels)

    def _as_maps(self, stage: int, name: str, x: str, channels: int) -> str:
        """Rows to (N, C, H, W)."""
        x = self._as_rows_of_maps(name, x, channels, stage)
        return self.nodes.add("Transpose", f"{name}/nchw", x, perm=[0, 3, 1, 2])

    def _as_rows_of_maps(self, name: str, x: str, channels: int, stage: int = 3) -> str:
        """Rows to (N, H, W, C)."""
        nodes = self.nodes
        if self._architecture.filter_resolution is not None:
            side = self._side(stage)
            return nodes.reshape(f"{name}/maps", x, -1, side, side, channels)
        sides = nodes.add("Shape", f"stages.{stage}/sizes", self._maps[stage], start=0, end=3)
        shape = f"stages.{stage}/sizes/{channels}"
        shape = nodes.add("Concat", shape, sides, nodes.sizes(channels), axis=0)
        return nodes.add("Reshape", f"{name}/maps", x, shape)

    def _side(self, stage: int) -> int:
        """Pixels to a side of a stage's map, in a model for one size of images."""
        return self._architecture.resolution // (4 << stage)

    def _weight(self, layer: str, kind: str = "weight") -> str:
        return self.nodes.weight(f"{layer}.{kind}")
