"""The ONNX container: the initialisers of a model, inside the file or in a safetensors file beside.

Source: onnx/onnx.proto and docs/ExternalData.md. Nothing is loaded: the fields are walked, and the
weights stay where they lie. External data is taken from one place only: a safetensors file in the
folder of the model, that is no link, whose tensors are exactly the ranges that the model names.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hornet_convert.checkpoint.external_data import HINT, Table, open_weights
from hornet_convert.checkpoint.inert import Contents, Dict, RefusedTensor
from hornet_convert.checkpoint.protobuf import Field, Messages, varint
from hornet_convert.checkpoint.tensors import DTYPES, DType, Storage, Tensor, dense_strides
from hornet_convert.errors import MalformedError, UnsupportedError
from hornet_convert.text import printable

MAX_GRAPH: Final = 64 << 20  # bytes of a model without its weights
_DEEPEST: Final = 16
_CODES: Final = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16",
    11: "F64", 12: "U32", 13: "U64", 14: "C64", 16: "BF16", 17: "F8_E4M3", 19: "F8_E5M2",
}  # fmt: skip
# Message -> its fields that are messages, as far as tensors can lie in them.
_INSIDE: Final = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_GRAPH, _METADATA, _INITIALISER, _RAW_DATA = 7, 14, 5, 9
_WIRES: Final = {1: (0, 2), 2: (0,), 8: (2,), 9: (2,), 13: (2,), 14: (0,)}  # of a tensor's fields
_ONCE: Final = {2: "data type", 8: "name", 9: "data", 14: "place of its data"}
_ELSEWHERE: Final = (4, 5, 6, 7, 10, 11)  # numbers in fields of their own instead of raw bytes
# A 1×1 convolution's weight may be declared as the matrix it is.
_POINTWISE: Final = re.compile(
    r"stages\.\d+\.blocks\.\d+\.gnconv\.(proj_(in|out)|pws\.\d+)\.weight"
)


@dataclass
class _Given:
    """What the file says of one tensor."""

    name: str = ""
    code: int = 0
    dims: list[int] = field(default_factory=list)
    raw: Field | None = None
    elsewhere: bool = False
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes, as the layer that has it defines them."""
        matrix = len(self.dims) == 2 and _POINTWISE.fullmatch(self.name)
        return (*self.dims, 1, 1) if matrix else tuple(self.dims)


def read_onnx(file: io.FileIO, size: int, folder: Path) -> tuple[io.FileIO, int, Contents]:
    """The file that holds the weights, its size, and the contents.

    That is `file` itself, or another one in `folder`, opened; `file` is then closed. Raises
    MalformedError, or UnsupportedError for what is not read.
    """
    messages = Messages(file, size)
    metadata, given = _walk(messages, size)
    external = [each for each in given if each.is_external]
    if not external:
        flat: list[object] = []
        for each in given:
            flat += (each.name, _inside(each))
        return file, size, (Dict(flat), {}, metadata)
    locations = {each.external.get("location", "") for each in external}
    if len(external) != len(given) or len(locations) > 1:
        raise UnsupportedError(
            "the weights of the model lie in several files",
            expected="all in one safetensors file, or all inside",
            found=f"{len(external)} of {len(given)} tensors in {len(locations)} other files",
        )
    weights, length, table = open_weights(locations.pop(), folder)
    try:
        flat = []
        for each in given:
            flat += (each.name, _beside(each, table))
    except BaseException:
        weights.close()
        raise
    file.close()
    return weights, length, (Dict(flat), {}, metadata)


def without_weights(file: io.FileIO, size: int) -> bytes:
    """The model without the raw bytes of its initialisers. Raises UnsupportedError if too long."""
    messages, total = Messages(file, size), 0

    def copied(start: int, end: int, way: tuple[int, ...]) -> bytes:
        nonlocal total
        parts = []
        for each in messages.fields(start, end):
            if not way and each.number == _RAW_DATA:
                continue
            if way and each.number == way[0]:
                inner = copied(each.start, each.end, way[1:])
                parts += [varint(each.number << 3 | 2), varint(len(inner)), inner]
            else:
                total += each.end - each.begin
                if total > MAX_GRAPH:
                    raise UnsupportedError(
                        "the graph of the model is too large",
                        expected=f"at most {MAX_GRAPH} bytes without the weights",
                    )
                parts.append(messages.take(each.begin, each.end - each.begin))
        return b"".join(parts)

    return copied(0, size, (_GRAPH, _INITIALISER))


def _walk(messages: Messages, size: int) -> tuple[dict[str, str], list[_Given]]:
    """The model's metadata, and the initialisers of its graph, in the file's order."""
    metadata: dict[str, str] = {}
    given: dict[str, _Given] = {}

    def visit(kind: str, start: int, end: int, depth: int) -> None:
        if depth > _DEEPEST:
            raise UnsupportedError("the graph of the model is nested too deeply")
        graphs = 0
        for each in messages.fields(start, end):
            inner = _INSIDE[kind].get(each.number)
            if each.wire != 2 and (inner or (kind == "model" and each.number == _METADATA)):
                raise _mistyped(each)
            if kind == "model" and each.number == _METADATA:
                name, text = _entry(messages, each)
                metadata[name] = text
            if inner is None:
                continue
            if kind == "model" and inner == "graph":
                graphs += 1
                if graphs > 1:
                    raise MalformedError("the model has two graphs", hint=HINT)
            if inner != "tensor":
                visit(inner, each.start, each.end, depth + 1)
                continue
            tensor = _given(messages, each)
            if kind == "graph" and depth == 1:
                if tensor.name in given:
                    raise MalformedError(
                        "a name stands for two tensors", where=printable(tensor.name), hint=HINT
                    )
                given[tensor.name] = tensor
            elif tensor.is_external:
                raise UnsupportedError(
                    "external data for something other than the weights of the graph",
                    where=printable(tensor.name),
                )

    visit("model", 0, size, 0)
    return metadata, list(given.values())


def _given(messages: Messages, tensor: Field) -> _Given:
    found = _Given()
    seen = set[int]()
    for each in messages.fields(tensor.start, tensor.end):
        if each.number in _ONCE and each.number in seen:
            raise MalformedError(
                f"a tensor has two of its {_ONCE[each.number]}",
                where=printable(found.name) or f"byte {each.begin}",
                hint=HINT,
            )
        seen.add(each.number)
        if each.wire not in _WIRES.get(each.number, (each.wire,)):
            raise _mistyped(each)
        if each.number == 1:
            found.dims += messages.numbers(each)
        elif each.number == 2:
            found.code = each.value or 0
        elif each.number == 8:
            found.name = messages.text(each)
        elif each.number == _RAW_DATA:
            found.raw = each
        elif each.number == 13:
            name, text = _entry(messages, each)
            if name in found.external:
                raise MalformedError(f"external data with two of its {printable(name)}", hint=HINT)
            found.external[name] = text
        elif each.number == 14:
            if each.value not in (0, 1):
                raise _mistyped(each)
            found.is_external = each.value == 1
        elif each.number in _ELSEWHERE:
            found.elsewhere = True
    if found.external and not found.is_external:
        raise MalformedError(
            "a tensor says where its external data lies, and that it is inside",
            where=printable(found.name),
            hint=HINT,
        )
    return found


def _mistyped(each: Field) -> MalformedError:
    """A field that readers of protobuf pass over, as they do with one that they do not know."""
    where = f"byte {each.begin}, field {each.number}"
    return MalformedError("a field of the model has another type", where=where, hint=HINT)


def _entry(messages: Messages, entry: Field) -> tuple[str, str]:
    """A pair of texts."""
    texts = {1: "", 2: ""}
    for each in messages.fields(entry.start, entry.end):
        if each.number in texts:
            if each.wire != 2:
                raise _mistyped(each)
            texts[each.number] = messages.text(each)
    return texts[1], texts[2]


def _described(each: _Given) -> tuple[DType, int] | None:
    """Element type and bytes; None if it is not read."""
    code = _CODES.get(each.code)
    if code is None or each.elsewhere or len(each.dims) > 64:
        return None
    count = 1
    for size in each.dims:
        if size >= 1 << 62 or (count := count * size) >= 1 << 62:
            raise MalformedError("a tensor is too large", where=printable(each.name), hint=HINT)
    return DTYPES[code], count * DTYPES[code].itemsize


def _inside(each: _Given) -> Tensor | RefusedTensor:
    described = _described(each)
    if described is None:
        return RefusedTensor(f"type {each.code}" if not each.elsewhere else "field-by-field")
    dtype, nbytes = described
    start, end = (0, 0) if each.raw is None else (each.raw.start, each.raw.end)
    if end - start != nbytes:
        raise MalformedError(
            "a tensor does not have the bytes of its shape",
            where=printable(each.name),
            expected=f"{nbytes} bytes",
            found=f"{end - start} bytes",
            hint=HINT,
        )
    return Tensor(dtype, each.shape, dense_strides(each.shape), 0, Storage(start, nbytes))


def _beside(each: _Given, table: Table) -> Tensor | RefusedTensor:
    """A tensor whose bytes are those of a tensor in the safetensors file."""
    described = _described(each)
    if described is None or each.raw is not None:
        return RefusedTensor(f"type {each.code}")
    dtype, nbytes = described
    place = [each.external.get(name, "") for name in ("offset", "length")]
    offset, length = (
        int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1 for text in place
    )
    if length != nbytes or dtype not in table.get((offset, length), ()):
        raise MalformedError(
            "external data at a range that is not this tensor's",
            where=printable(each.name),
            expected=f"{nbytes} bytes of {dtype.torch}, all of a tensor in the weights file",
            found=printable(f"offset {place[0]!r}, length {place[1]!r}"),
            hint=HINT,
        )
    return Tensor(dtype, each.shape, dense_strides(each.shape), 0, Storage(offset, nbytes))
