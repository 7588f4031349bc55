"""A HorNet as an ONNX model: the graph, and where the bytes of each initialiser lie.

Opset 17 and IR version 8 are the oldest that have every operator used, `LayerNormalization` being
the youngest: ONNX 1.12, ONNX Runtime 1.12 (2022). Nothing in a model tells of the versions that
made it, so the same weights give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from onnx import ModelProto, TensorProto, helper

from hornet_convert.checkpoint.protobuf import varint
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import UsageError
from hornet_convert.family.architecture import Architecture
from hornet_convert.files.writing import write_all
from hornet_convert.onnx.graph import hornet_graph
from hornet_convert.onnx.nodes import ONNX_TYPES

OPSET: Final = 17
IR_VERSION: Final = 8
PRODUCER: Final = "hornet-convert"
LARGEST: Final = (1 << 31) - 1  # bytes of a protobuf message
_GRAPH, _INITIALISER, _RAW_DATA = 7, 5, 9


def hornet_model(
    architecture: Architecture,
    num_classes: int | None,
    tensors: Mapping[str, Tensor],
    *,
    features: bool = False,
    location: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ModelProto:
    """The model on weights that lie in a file called `location`; None: they are to be put inside.

    `tensors` are by reference name; those that the graph does not use are left out. `features` and
    the outputs are as for `hornet_graph`. Raises UsageError for weights that no graph can be built
    on: of an element type ONNX Runtime does not compute with, or without a final norm.
    """
    names = [name for name in architecture.shapes(num_classes) if name in tensors]
    if features:
        names = [name for name in names if not name.startswith("head.")]
    elif "head.norm.weight" not in names:
        raise UsageError(
            "a backbone has no final norm, so its graph can only give feature maps",
            hint="Ask for its feature maps, or for another layout.",
        )
    strange = {
        t.dtype.torch for t in map(tensors.__getitem__, names) if t.dtype.code not in ONNX_TYPES
    }
    if strange:
        raise UsageError(
            "the weights are of a type that ONNX runtimes do not compute with",
            expected="float64, float32, float16 or bfloat16",
            found=", ".join(sorted(strange)),
        )
    dtypes = {name: tensors[name].dtype for name in names}
    graph = hornet_graph(architecture, num_classes, dtypes, features=features)
    for name in names:
        graph.initializer.append(_initialiser(name, tensors[name], location))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
    )
    helper.set_model_props(model, dict(sorted((metadata or {}).items())))
    return model


def write_with_weights(
    model: ModelProto, descriptor: int, weights: Checkpoint, tensors: Mapping[str, Tensor]
) -> None:
    """Write a model with the bytes of its initialisers inside, which are never held all at once.

    They are the `tensors` of `weights` by name. Raises UsageError if the file would be too large,
    DiskError if they cannot be read; OSError.
    """
    initialisers = list(model.graph.initializer)
    graph = type(model.graph)()
    graph.CopyFrom(model.graph)
    graph.ClearField("initializer")
    outer = ModelProto()
    outer.CopyFrom(model)
    outer.ClearField("graph")
    heads, total = [], 0
    start = graph.SerializeToString(deterministic=True)
    for each in initialisers:
        nbytes = tensors[each.name].nbytes
        inner = each.SerializeToString(deterministic=True) + _field(_RAW_DATA, nbytes)
        heads.append(_field(_INITIALISER, len(inner) + nbytes) + inner)
        total += len(heads[-1]) + nbytes
    before = (
        outer.SerializeToString(deterministic=True) + _field(_GRAPH, len(start) + total) + start
    )
    if len(before) + total > LARGEST:
        raise UsageError(
            "the model with its weights inside is too large for one ONNX file",
            expected=f"at most {LARGEST:,} bytes",
            found=f"{len(before) + total:,} bytes",
            hint="Leave the weights beside it.",
        )
    write_all(descriptor, memoryview(before), 0)
    position = len(before)
    for each, head in zip(initialisers, heads, strict=True):
        for data in (memoryview(head), weights.read(tensors[each.name]).data):
            write_all(descriptor, data, position)
            position += len(data)


def _initialiser(name: str, tensor: Tensor, location: str | None) -> TensorProto:
    """What a model says of a weight; a 1×1 convolution's is declared as the matrix it is."""
    shape = tensor.shape[:2] if tensor.shape[2:] == (1, 1) else tensor.shape
    proto = TensorProto(name=name, dims=shape, data_type=ONNX_TYPES[tensor.dtype.code])
    if location is not None:
        if tensor.span is None:
            raise ValueError(f"{name} does not lie in the file as it is")
        proto.data_location = TensorProto.EXTERNAL
        offset, length = tensor.span
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            proto.external_data.add(key=key, value=str(value))
    return proto


def _field(number: int, length: int) -> bytes:
    """What stands before a field of so many bytes."""
    return b"".join(map(varint, (number << 3 | 2, length)))
