"""Reading a written result back, with eyes that are not those that made it.

The file is read by the library of its format; which tensor must stand under which name, and what it
must hold, is restated in `expected.py`. Nothing of the plan that the result was made by is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hornet_convert.checkpoint.inert import Dict
from hornet_convert.checkpoint.metadata import own
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor, dense_strides
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.checks.scan import Scan, scan
from hornet_convert.conversion.expected import (
    WRAPPED,
    Expected,
    expected_result,
    is_resized,
    is_rounded,
    numbers_in,
    wrongly_chosen,
)
from hornet_convert.conversion.request import Request
from hornet_convert.family.keys import expected_keys
from hornet_convert.numbers.elements import pieces
from hornet_convert.report.check import Check, failed, passed
from hornet_convert.report.progress import Passing
from hornet_convert.text import listed, printable

Loaded = Mapping[str, Any]
"""What `torch.load(weights_only=True)` makes of a `.pth`, in a process of its own.

`top`: the keys at the top that hold no tensors. `tensors`: by key the element type as torch calls
it, the shape, and the SHA-256 of the dense bytes, as a list.
"""


def read_back(
    file: ModelFile,
    seen: Scan,
    request: Request,
    result: Checkpoint,
    loaded: Loaded | str | None,
    progress: Passing | None = None,
) -> tuple[str, Check]:
    """Compare a written file with what must stand in it: the SHA-256 of it, and the row.

    Its names must be exactly those that the code of its layout expects. A tensor that is copied
    must have the source's bytes, by SHA-256; one that was edited is compared number by number with
    those of the source that must stand there.

    `seen` is what the pass over the source saw, `result` the written file opened again, `loaded`
    what torch makes of a `.pth`: a sentence if it refuses it, None where that was not tried.
    """
    by_library = result.container == "safetensors"
    tensors = _by_library(result) if by_library else _by_ourselves(result, request)
    back = scan(result, tensors, look_at_values=False, progress=progress)
    wanted = expected_result(file, request.layout, request.edits)
    problem = next(_problems(file, seen, request, wanted, result, tensors, back, loaded), None)
    if problem is not None:
        return back.sha256, failed("readback", problem)
    edited = sum(not expected.copied for expected in wanted.values())
    told = f"{len(wanted)} tensors reopened and equal, bit for bit"
    if edited:
        told = f"{len(wanted) - edited} tensors reopened and equal to the source, bit for bit"
        told += f"; {edited} hold the numbers that the edit of the source gives"
    if by_library:
        told += ", read by the safetensors library"
    else:
        told += "; torch.load was not tried" if loaded is None else ", read by torch.load"
    return back.sha256, passed("readback", told)


def _by_library(result: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a safetensors file where the safetensors library finds them.

    The library gives names in the order of their places, and the format leaves no gap.
    """
    from safetensors import safe_open

    with safe_open(str(result.path), framework="numpy") as library:
        parts = {name: library.get_slice(name) for name in library.offset_keys()}
        rows = [(name, part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()]
    sizes = [DTYPES[code].itemsize * int(np.prod(shape)) for _, code, shape in rows]
    position = result.size - sum(sizes)
    tensors: dict[str, Tensor] = {}
    for (name, code, shape), size in zip(rows, sizes, strict=True):
        storage = Storage(position, size)
        tensors[name] = Tensor(DTYPES[code], shape, dense_strides(shape), 0, storage)
        position += size
    return tensors


def _by_ourselves(result: Checkpoint, request: Request) -> dict[str, Tensor]:
    """The tensors of a `.pth` where our reader finds them, under the key of its layout's code."""
    key, _ = WRAPPED[request.layout]
    items = _items(result.root) if key is None else _items(dict(_items(result.root)).get(key))
    return {name: value for name, value in items if isinstance(value, Tensor)}


def _items(value: object) -> list[tuple[str, object]]:
    return [(str(key), part) for key, part in value.items()] if isinstance(value, Dict) else []


def _problems(
    file: ModelFile,
    seen: Scan,
    request: Request,
    wanted: Mapping[str, Expected],
    result: Checkpoint,
    tensors: Mapping[str, Tensor],
    back: Scan,
    loaded: Loaded | str | None,
) -> Iterator[str]:
    """What is wrong with a result, each a sentence, the most telling first."""
    wrong_choice = wrongly_chosen(file, request)
    if wrong_choice is not None:
        yield wrong_choice
    if isinstance(loaded, str):
        yield f"torch.load(weights_only=True) refuses the file: {printable(loaded)}"
        return
    if result.container != "safetensors":
        _, top = WRAPPED[request.layout]
        ours = [key for key, value in _items(result.root) if not isinstance(value, Tensor)]
        for found in (ours, ours if loaded is None else loaded["top"]):
            if set(found) != top:
                keys = listed(sorted(top)) or "only tensors"
                yield f"at the top stand {listed(found) or 'only tensors'}, not {keys}"
    found = {key: (tensor.dtype.code, tensor.shape) for key, tensor in tensors.items()}
    differing = _differing(found, {k: (row.dtype.code, row.shape) for k, row in wanted.items()})
    if differing:
        yield f"names, dtypes or shapes differ: {listed(differing)}"
    if back.damaged:
        yield f"{len(back.damaged)} CRCs do not match the bytes written"
    for key, row in wanted.items():
        if not row.copied and not _holds(file.checkpoint, row, result, tensors[key]):
            yield f"{key} does not hold what the edit of {row.key} gives"
        if row.copied and back.digests[key] != seen.digests[row.key]:
            yield f"{key} has other bytes than {row.key} of the source"
    recorded = own(result.metadata)
    told = {"fingerprint": _fingerprint(file, wanted, back), "layout": request.layout}
    for name, value in told.items():
        if recorded.get(name) != value:
            yield f"it records the {name} {printable(str(recorded.get(name)))}, which is {value}"
    if loaded is not None:
        read = {
            key: [tensor.dtype.torch, list(tensor.shape), back.digests[key]]
            for key, tensor in tensors.items()
        }
        if differing := _differing(loaded["tensors"], read):
            yield f"torch.load reads other tensors: {listed(differing)}"


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return sorted(key for key in one.keys() | other if one.get(key) != other.get(key))


def _holds(source: Checkpoint, expected: Expected, result: Checkpoint, tensor: Tensor) -> bool:
    """Whether an edited tensor of the result holds the numbers that the edit gives."""
    was = expected.source
    if expected.resized:
        old = numbers_in(source.read(was), was.dtype).reshape(was.shape)
        return is_resized(old, numbers_in(result.read(tensor), tensor.dtype).reshape(tensor.shape))
    pairs = [(was, tensor)]
    if expected.rows is not None:
        pairs = [(_row(was, row), _row(tensor, n)) for n, row in enumerate(expected.rows)]
    return all(
        bool((taken == given).all())
        if tensor.dtype == was.dtype
        else is_rounded(taken, given, was.dtype, tensor.dtype)
        for one, other in pairs
        for taken, given in zip(pieces(source, one), pieces(result, other), strict=True)
    )


def _row(tensor: Tensor, index: int) -> Tensor:
    """One element of the first axis."""
    first = tensor.first + index * tensor.strides[0]
    return replace(tensor, shape=tensor.shape[1:], strides=tensor.strides[1:], first=first)


def _fingerprint(file: ModelFile, wanted: Mapping[str, Expected], back: Scan) -> str:
    """The fingerprint of a result, by its definition: a line for each tensor, by official name."""
    architecture = file.identity.architecture
    if architecture is None:
        raise ValueError("the source is not identified")
    official = expected_keys("official", architecture, classifier=True)
    names = {name: key for key, name in official.items()}
    lines = sorted(
        f"{names[row.name]} {row.dtype.code} {'x'.join(map(str, row.shape))} {back.digests[key]}\n"
        for key, row in wanted.items()
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
