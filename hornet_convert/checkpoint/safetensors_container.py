"""The safetensors container, by an own strict reader of its header.

Source: the format's README and safetensors/src/tensor.rs. Eight bytes hold the length of a JSON
header; the tensors follow, back to back, to the end of the file.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from typing import Final

from hornet_convert.checkpoint.contents import Contents
from hornet_convert.checkpoint.files import read_at
from hornet_convert.checkpoint.inert import Dict, RefusedTensor
from hornet_convert.checkpoint.tensors import DTYPES, DType, Storage, Tensor, dense_strides
from hornet_convert.errors import MalformedError, UnsupportedError, printable

MAX_HEADER: Final = 16 << 20  # bytes; the header of the largest published models is below 1 MiB
MAX_PARTS: Final = 1_200_000  # values in the header: as many as 100 000 tensors of ten axes have
MAX_AXES: Final = 64
_NOT_IN_FORMAT: Final = frozenset({"C128"})
# Element types of the format that are not read -> bits of an element.
_REFUSED: Final = {
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}

Leaf = Tensor | RefusedTensor


def read_safetensors(file: io.FileIO, size: int) -> Contents:
    """The contents of a safetensors file: a flat dict of tensors, and its metadata.

    Raises MalformedError, or UnsupportedError for an element type that is not read.
    """
    length = int.from_bytes(read_at(file, 0, 8), "little")
    if length > size - 8:
        raise MalformedError(
            "the file ends within its safetensors header",
            expected=f"at least {8 + length} bytes",
            found=f"{size} bytes",
            hint="The file is cut off: fetch it again.",
        )
    if length > MAX_HEADER:
        raise UnsupportedError(
            "a safetensors header beyond all measure",
            expected=f"at most {MAX_HEADER} bytes",
            found=f"{length} bytes",
        )
    header = _parse(read_at(file, 8, length))
    metadata = _metadata(header.pop("__metadata__", {}))
    data_at = 8 + length
    rows = sorted(
        (_row(name, row, data_at, size - data_at) for name, row in header.items()),
        key=lambda row: (row[1], row[2]),
    )
    position = 0
    for name, start, end, _ in rows:
        if start != position:
            raise MalformedError(
                "the tensors of a safetensors file overlap or leave a hole",
                where=_show(name),
                expected=f"its data from byte {position}",
                found=f"byte {start}",
            )
        position = end
    if position != size - data_at:
        raise MalformedError(
            "the safetensors file has not the size its header says",
            expected=f"{data_at + position} bytes",
            found=f"{size} bytes",
        )
    tensors = {name: tensor for name, _, _, tensor in rows}
    flat: list[object] = []
    for name in header:
        flat += [name, tensors[name]]
    return Contents(Dict(flat), {}, metadata)


def _parse(raw: bytes) -> dict[str, object]:
    if (parts := sum(map(raw.count, (b",", b"[", b"{")))) > MAX_PARTS:
        raise UnsupportedError(
            "a safetensors header beyond all measure",
            expected=f"at most {MAX_PARTS} values",
            found=str(parts),
        )
    try:
        # "replace" would change names; the format demands UTF-8.
        header = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_no_float,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            "the safetensors header is not the JSON it should be", found=printable(str(error))
        ) from error
    if not isinstance(header, dict) or not raw.startswith(b"{"):
        raise MalformedError("the safetensors header is no JSON object")
    return header


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        doubled = counts.most_common(1)[0][0]
        raise MalformedError("a key stands in the safetensors header twice", found=_show(doubled))
    return row


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def _no_float(text: str) -> object:
    raise ValueError(f"{text} is no integer")


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise MalformedError("the metadata of the safetensors header is not a table of texts")
    return value


def _row(name: str, row: object, data_at: int, room: int) -> tuple[str, int, int, Leaf]:
    """(name, first byte, last byte + 1, tensor) of one entry of the header."""
    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "data_offsets"}:
        raise MalformedError(
            "a broken entry in the safetensors header",
            where=_show(name),
            expected="dtype, shape and data_offsets",
        )
    shape, offsets = _counts(row["shape"], name), _counts(row["data_offsets"], name)
    code = row["dtype"]
    if isinstance(code, str) and code in _REFUSED:
        dtype, bits = None, _REFUSED[code]
    else:
        dtype = _dtype(code, name)
        bits = 8 * dtype.itemsize
    if len(offsets) != 2 or len(shape) > MAX_AXES:
        raise MalformedError("a broken entry in the safetensors header", where=_show(name))
    start, end = offsets
    needed = math.prod(shape) * bits // 8
    if end - start != needed or math.prod(shape) * bits % 8 or end > room:
        raise MalformedError(
            "a tensor of a safetensors file has not the bytes that its shape needs",
            where=_show(name),
            expected=f"{needed} bytes within {room}",
            found=f"bytes {start} to {end}",
        )
    if dtype is None:
        return name, start, end, RefusedTensor(printable(str(code)))
    storage = Storage(data_at + start, needed)
    return name, start, end, Tensor(dtype, shape, dense_strides(shape), 0, storage)


def _dtype(code: object, name: str) -> DType:
    if not isinstance(code, str) or code not in DTYPES or code in _NOT_IN_FORMAT:
        raise UnsupportedError(
            "an element type that is not read",
            where=_show(name),
            expected="one of " + ", ".join(c for c in DTYPES if c not in _NOT_IN_FORMAT),
            found=printable(repr(code)),
        )
    return DTYPES[code]


def _counts(value: object, name: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 1 << 63 for n in value):
        raise MalformedError(
            "a safetensors entry with numbers that are no counts", where=_show(name)
        )
    return tuple(value)


def _show(name: str) -> str:
    return f"tensor {printable(name)!r}"
