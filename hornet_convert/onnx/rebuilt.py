"""The graph of an ONNX file against the definition: built again from the weights, and compared.

A graph is a program. This says that the one in a file is HorNet's, node by node, and that each
initialiser is the tensor of that name in the weights file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hornet_convert.checkpoint.container_onnx import without_weights
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checks.model_file import ModelFile, examine
from hornet_convert.errors import HornetConvertError
from hornet_convert.files.reading import open_regular
from hornet_convert.onnx.libraries import missing
from hornet_convert.report.check import Check, failed, not_checked, passed
from hornet_convert.text import printable

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import ModelProto

# What a model says of itself, which computes nothing.
_REMARKS = (
    "metadata_props", "producer_name", "producer_version", "domain", "model_version", "doc_string",
)  # fmt: skip


def graph_check(file: ModelFile) -> Check | None:
    """The row on the graph of an ONNX file that was examined; None for any other file."""
    checkpoint, identity = file.checkpoint, file.identity
    if checkpoint.container != "onnx":
        return None
    if because := missing("onnx"):
        return not_checked("graph", because)
    if identity.architecture is None or not identity.sound:
        return not_checked("graph", "the weights are not those of a model")
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    from hornet_convert.onnx.model import hornet_model

    with open_regular(checkpoint.path) as graph:
        text = without_weights(graph, graph.seek(0, 2))
    try:
        found = ModelProto.FromString(text)
    except DecodeError as error:
        return failed("graph", f"the file is not a well-formed ONNX model: {error}")
    location = _location(found)
    try:
        tensors = file.by_reference_name
        if location is not None:
            with open_checkpoint(checkpoint.path.parent / location) as beside:
                there = examine(beside)
            tensors = there.by_reference_name
            if not there.identity.sound or there.identity.name != identity.name:
                return failed("graph", f"{printable(location)} does not hold the model's weights")
        expected = hornet_model(
            identity.architecture,
            identity.num_classes,
            tensors,
            features=identity.backbone,
            location=location,
        )
    except HornetConvertError as error:
        return failed("graph", error.message)
    for model in (found, expected):
        for name in _REMARKS:
            model.ClearField(name)
    if difference := _difference(found, expected):
        return failed("graph", difference)
    where = "inside" if location is None else f"in {location}"
    nodes, [opset] = len(expected.graph.node), expected.opset_import
    reason = (
        f"{nodes:,} nodes, opset {opset.version}, as built from the definition; weights {where}"
    )
    return passed("graph", reason)


def _location(model: ModelProto) -> str | None:
    """The file that the initialisers lie in, beside the model; None if inside."""
    for initialiser in model.graph.initializer:
        for entry in initialiser.external_data:
            if entry.key == "location":
                return str(entry.value)
    return None


def _difference(found: ModelProto, expected: ModelProto) -> str | None:
    """The first difference in words; None if there is none."""
    if found == expected:
        return None
    for what in ("node", "initializer", "input", "output"):
        ours, theirs = getattr(expected.graph, what), getattr(found.graph, what)
        if problem := _first(what, theirs, ours):
            return problem
    return "the model has more than HorNet's graph, or another opset or IR version"


def _first(what: str, found: Iterable[Message], expected: Iterable[Message]) -> str | None:
    theirs, ours = list(found), list(expected)
    for first, other in zip(theirs, ours, strict=False):
        if first != other:
            name = printable(getattr(other, "name", ""))
            return f"the {what} {name} is not as the definition has it"
    if len(theirs) != len(ours):
        return f"{len(theirs)} of {what} in the graph, {len(ours)} by the definition"
    return None
