"""The form of a written file: where each tensor stands, and everything that stands around them.

Found by the safetensors library and by zipfile; what the form must be is said here once more. Only
the pickle of a `.pth` is read by our own reader: the forward check has torch read it too.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, Final

from hornet_convert.checkpoint.inert import Dict
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Storage, Tensor
from hornet_convert.conversion.expected import TYPES, Contents
from hornet_convert.conversion.request import Target
from hornet_convert.conversion.reread import Reading, is_dense
from hornet_convert.text import listed

# What the code of each layout expects around the state dict in a `.pth`: the key that leads to it,
# and all keys at the top.
WRAPPED: Final[dict[Target, tuple[str | None, list[str]]]] = {
    "reference": (None, []),
    "official": ("model", ["model"]),
    "openmmlab": ("state_dict", ["meta", "state_dict"]),
    "backbone": (None, []),
}
_CODES: Final = {dtype.code: dtype for dtype in TYPES.values()}


def tensors_in(result: Checkpoint, layout: Target) -> dict[str, Tensor]:
    """The tensors of a result by key, in the order in which the file names them."""
    if result.container == "safetensors":
        return _by_library(result)
    key, _ = WRAPPED[layout]
    state = result.root if key is None else dict(_items(result.root)).get(key)
    return {name: value for name, value in _items(state) if isinstance(value, Tensor)}


def top_problem(result: Checkpoint, layout: Target, loaded: Mapping[str, Any] | None) -> str | None:
    """What stands at the top of a `.pth` and should not, or does not, for us and for torch."""
    _, top = WRAPPED[layout]
    ours = [name for name, value in _items(result.root) if not isinstance(value, Tensor)]
    for found in (ours, ours if loaded is None else loaded["top"]):
        if found != top:
            keys = listed(top) or "only tensors"
            return f"at the top stand {listed(found) or 'only tensors'}, not {keys}"
    return None


def form_problems(
    result: Checkpoint,
    wanted: Contents,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    reading: Reading,
) -> Iterator[str]:
    """What is wrong around the tensors, each a sentence."""
    if result.container == "safetensors":
        header = _header(wanted, {"format": "pt", **metadata})
        with result.path.open("rb") as file:
            found = file.read(len(header))
        room = result.size - len(header)
        if found != header or room != sum(tensor.nbytes for tensor in tensors.values()):
            yield from _metadata_problems(result, {"format": "pt", **metadata})
            yield "its header is not the one that names, dtypes, shapes and metadata give"
        return
    yield from _metadata_problems(result, metadata)
    yield from _entry_problems(result, tensors, metadata, reading)
    key, _ = WRAPPED[wanted.layout]
    items = dict(_items(result.root))
    state = result.root if key is None else items.get(key)
    if not isinstance(state, Dict) or state.type_name != "OrderedDict":
        yield "its state dict is no OrderedDict"
    if list(tensors) != list(wanted.tensors):
        yield "its tensors are not in the order of the computation"
    if wanted.layout == "openmmlab" and dict(_items(items.get("meta"))) != metadata:
        yield "its meta is not its metadata"


def _metadata_problems(result: Checkpoint, wanted: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(wanted.keys() | result.metadata):
        found, value = result.metadata.get(name), wanted.get(name)
        if found != value:
            short = name.removeprefix("hornet_convert.")
            yield f"it records the {short} {found!r}, and it is {value!r}"


def _by_library(result: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a safetensors file where the safetensors library finds them.

    The library gives names in the order of their places, and the format leaves no gap.
    """
    from safetensors import safe_open

    with safe_open(str(result.path), framework="numpy") as library:
        parts = {name: library.get_slice(name) for name in library.offset_keys()}
        rows = [(n, _CODES[part.get_dtype()], tuple(part.get_shape())) for n, part in parts.items()]
    sizes = [dtype.itemsize * math.prod(shape) for _, dtype, shape in rows]
    position = result.size - sum(sizes)
    tensors: dict[str, Tensor] = {}
    for (name, dtype, shape), size in zip(rows, sizes, strict=True):
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        tensors[name] = Tensor(dtype, shape, strides, 0, Storage(position, size))
        position += size
    return tensors


def _header(wanted: Contents, metadata: Mapping[str, str]) -> bytes:
    """What stands before the tensors: wide types first, names in order, nothing between."""
    rows, at = {}, 0
    by_place = sorted(wanted.tensors, key=lambda key: (-wanted.tensors[key].dtype.itemsize, key))
    for key in by_place:
        row = wanted.tensors[key]
        end = at + row.dtype.itemsize * math.prod(row.shape)
        rows[key] = {"dtype": row.dtype.code, "shape": row.shape, "data_offsets": (at, end)}
        at = end
    entries = {"__metadata__": metadata, **rows}
    ordered = {key: entries[key] for key in ("__metadata__", *sorted(rows))}
    ordered["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(ordered).replace(": ", ":").replace(", ", ",")
    return struct.pack("<Q", -(-len(text) // 8) * 8) + text.ljust(-(-len(text) // 8) * 8).encode()


def _entry_problems(
    result: Checkpoint,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    reading: Reading,
) -> Iterator[str]:
    """What is wrong with the entries of a zip archive, and the places in them."""
    record = json.dumps(dict(sorted(metadata.items())), separators=(",", ":")).encode()
    short = {"byteorder": b"little", "version": b"3\n", "hornet-convert.json": record}
    numbered = [f"data/{number}" for number in range(len(tensors))]
    names = ["data.pkl", "byteorder", *numbered, "version", "hornet-convert.json"]
    with zipfile.ZipFile(result.path) as archive, result.path.open("rb") as file:
        entries = archive.infolist()
        if [entry.filename for entry in entries] != [f"archive/{name}" for name in names]:
            yield "its zip entries are not those of a state dict, in their order"
            return
        for name, text in short.items():
            if archive.read(f"archive/{name}") != text:
                yield f"its zip entry {name} is not what it should be"
        places = []
        for entry in entries:
            file.seek(entry.header_offset)
            *_, name_length, extra_length = struct.unpack("<4s5H3L2H", file.read(30))
            places.append(entry.header_offset + 30 + name_length + extra_length)
    plain = ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 0)
    if any((entry.date_time, entry.compress_type, entry.flag_bits) != plain for entry in entries):
        yield "its zip entries are not stored, or dated"
    if any(place % 64 for place in places):
        yield "its zip entries do not begin at multiples of 64 bytes"
    of_tensors = list(zip(tensors.items(), entries[2:-2], places[2:-2], strict=True))
    for (key, tensor), entry, place in of_tensors:
        storage = (tensor.first, tensor.storage.offset, tensor.storage.nbytes)
        if not is_dense(tensor) or storage != (0, place, entry.file_size) != (
            0,
            place,
            tensor.nbytes,
        ):
            yield f"{key} does not fill a storage of its own"
    wrong = [key for (key, _), entry, _ in of_tensors if entry.CRC != reading.crcs[key]]
    if wrong:
        yield f"{len(wrong)} CRCs do not match the bytes written"


def _items(value: object) -> list[tuple[str, object]]:
    return [(str(key), part) for key, part in value.items()] if isinstance(value, Dict) else []
