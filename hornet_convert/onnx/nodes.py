"""Nodes of an ONNX graph, one after the other, each with the name of what it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper

from hornet_convert.checkpoint.tensors import DType

ONNX_TYPES: Final = {
    "F64": TensorProto.DOUBLE,
    "F32": TensorProto.FLOAT,
    "F16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
}


class Nodes:
    """A growing list of nodes. Values are given and returned by name, a short one: `v17`.

    `weights` are the element types of the initialisers: what is not float32 is cast to it first.
    """

    def __init__(self, weights: Mapping[str, DType]) -> None:
        self.nodes: list[NodeProto] = []
        self._weights = weights
        self._made: dict[str, list[str]] = {}  # what a node gives, by its name
        self._values = 0

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output; the same name a second time is the same node."""
        [output] = self.split(op, name, 1, *inputs, **attributes)
        return output

    def split(self, op: str, name: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node with `count` outputs."""
        if name not in self._made:
            outputs = [f"v{self._values + n}" for n in range(count)]
            self._values += count
            self._made[name] = outputs
            self.nodes.append(helper.make_node(op, inputs, outputs, name, **attributes))
        return self._made[name]

    def weight(self, name: str) -> str:
        """An initialiser, in float32."""
        if self._weights[name].code == "F32":
            return name
        return self.add("Cast", f"{name}/float32", name, to=TensorProto.FLOAT)

    def numbers(self, name: str, values: object) -> str:
        """A constant in float32."""
        return self._constant(name, np.asarray(values, "<f4"), TensorProto.FLOAT)

    def sizes(self, *values: int) -> str:
        """A constant list of sizes; -1 is what is left over."""
        name = f"sizes/{'x'.join(map(str, values))}"
        return self._constant(name, np.asarray(values, "<i8"), TensorProto.INT64)

    def reshape(self, name: str, x: str, *sizes: int) -> str:
        """The same numbers in another shape."""
        return self.add("Reshape", name, x, self.sizes(*sizes))

    def parts(self, name: str, x: str, widths: Sequence[int], axis: int) -> list[str]:
        """The parts of these widths along an axis."""
        return self.split("Split", name, len(widths), x, self.sizes(*widths), axis=axis)

    def _constant(self, name: str, values: np.ndarray[Any, Any], kind: int) -> str:
        value = helper.make_tensor(name, kind, values.shape, values.tobytes(), raw=True)
        return self.add("Constant", name, value=value)
