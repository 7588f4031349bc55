"""The safetensors container, by an own strict reader of its header.

Source: the format's README and safetensors/src/tensor.rs. Eight bytes hold the length of a JSON
header; the tensors follow, back to back, to the end of the file.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from typing import Any, Final

from hornet_convert.checkpoint.inert import Contents, Dict, RefusedTensor
from hornet_convert.checkpoint.refusals import cut_off
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor, dense_strides
from hornet_convert.errors import MalformedError, UnsupportedError
from hornet_convert.files.reading import read_at
from hornet_convert.text import printable

MAX_HEADER: Final = 16 << 20  # bytes; the header of the largest published models is below 1 MiB
MAX_PARTS: Final = 1_200_000  # values in the header: as many as 100 000 tensors of ten axes have
MAX_AXES: Final = 64
# Element types of the format that are not read -> bits of an element.
_REFUSED: Final = {
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
_BITS: Final = {
    **{code: 8 * dtype.itemsize for code, dtype in DTYPES.items() if code != "C128"},
    **_REFUSED,
}


def read_safetensors(file: io.FileIO, size: int) -> Contents:
    """The contents of a safetensors file: a flat dict of tensors, and its metadata.

    Raises MalformedError, or UnsupportedError for an unsupported element type.
    """
    length = int.from_bytes(read_at(file, 0, 8), "little")
    if length > size - 8:
        raise cut_off("the file ends within its safetensors header", 8 + length, size)
    if length > MAX_HEADER:
        raise UnsupportedError(
            "the safetensors header is too large",
            expected=f"at most {MAX_HEADER} bytes",
            found=f"{length} bytes",
        )
    header = _parse(read_at(file, 8, length))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise MalformedError("the metadata of the safetensors header is not a table of strings")
    room = size - 8 - length
    places = {name: _place(name, row) for name, row in header.items()}
    position = 0
    for name, (start, end) in sorted(places.items(), key=lambda item: item[1]):
        if start != position:
            raise MalformedError(
                "the tensors of a safetensors file overlap or leave a gap",
                where=_show(name),
                expected=f"its data from byte {position}",
                found=f"byte {start}",
            )
        position = end
    if position > room:
        raise cut_off("the file ends within its tensors", 8 + length + position, size)
    if position < room:
        found = f"{room - position} bytes more than its header says"
        raise MalformedError("there is data after the tensors of a safetensors file", found=found)
    flat: list[object] = []
    for name, row in header.items():
        code, shape, (start, end) = row["dtype"], tuple(row["shape"]), places[name]
        flat.append(name)
        if code in _REFUSED:
            flat.append(RefusedTensor(code))
        else:
            storage = Storage(8 + length + start, end - start)
            flat.append(Tensor(DTYPES[code], shape, dense_strides(shape), 0, storage))
    return Dict(flat), {}, metadata


def _parse(raw: bytes) -> dict[str, Any]:
    if (parts := sum(map(raw.count, (b",", b"[", b"{")))) > MAX_PARTS:
        expected, found = f"at most {MAX_PARTS}", str(parts)
        what = "the safetensors header holds too many values"
        raise UnsupportedError(what, expected=expected, found=found)
    try:
        header = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_no_number,
            parse_int=lambda text: _no_number(text) if text.startswith("-") else int(text),
        )
        if b"\\u" in raw:
            json.dumps(header, ensure_ascii=False).encode()  # fails for a lone surrogate
        if not isinstance(header, dict) or not raw.startswith(b"{"):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            "the safetensors header is malformed", found=printable(str(error))
        ) from error
    return header


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        doubled = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise MalformedError("a key occurs twice in the safetensors header", found=_show(doubled))
    return row


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is not a count")


def _place(name: str, row: Any) -> tuple[int, int]:
    """First byte of a tensor's data and the one after its last; the whole entry checked."""
    match row:
        case {"dtype": code, "shape": [*shape], "data_offsets": [start, end]} if len(row) == 3:
            counts = [*shape, start, end]
        case _:
            counts = [None]
    if not all(type(n) is int and n < 1 << 63 for n in counts) or len(counts) > MAX_AXES + 2:
        raise MalformedError(
            "an invalid entry in the safetensors header",
            where=_show(name),
            expected=f"dtype, shape of at most {MAX_AXES} axes, and two data_offsets",
        )
    if not isinstance(code, str) or code not in _BITS:
        raise UnsupportedError(
            "an unsupported element type",
            where=_show(name),
            expected="one of " + ", ".join(code for code in _BITS if code not in _REFUSED),
            found=printable(repr(code)),
        )
    if 8 * (end - start) != math.prod(shape) * _BITS[code]:
        raise MalformedError(
            "the byte range of a tensor does not match its shape",
            where=_show(name),
            expected=f"{math.prod(shape)} elements of {_BITS[code]} bits",
            found=f"bytes {start} to {end}",
        )
    return start, end


def _show(name: str) -> str:
    return f"tensor {printable(name)!r}"
