"""Reading a written result back, with eyes that are not those that made it.

The file is read by the library of its format (`places.py`), its bytes and those of the source once
more by other code (`reread.py`). Which weights were meant (`chosen.py`), which tensor must stand
under which name and what it must hold (`expected.py`), and what must be said of it (`facts.py`) are
restated. Nothing of the plan that the result was made by is used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hornet_convert.checkpoint.metadata import ours
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.chosen import Chosen, choice_problem, chosen
from hornet_convert.conversion.expected import (
    TYPES,
    Contents,
    Expected,
    expected_result,
    is_resized,
    is_rounded,
    numbers_in,
    source_contents,
)
from hornet_convert.conversion.facts import Facts, facts
from hornet_convert.conversion.places import form_problems, tensors_in, top_problem
from hornet_convert.conversion.publish import Stamp, stamp
from hornet_convert.conversion.request import Request
from hornet_convert.conversion.reread import (
    Copied,
    Digests,
    Reading,
    digests_of,
    is_dense,
    pieces,
    same_bytes,
    sha256_of_all,
)
from hornet_convert.report.check import Check, failed, passed
from hornet_convert.report.progress import Passing
from hornet_convert.text import listed, printable

Loaded = Mapping[str, Any]
"""What `torch.load(weights_only=True)` makes of a `.pth`, in a process of its own.

`top`: the keys at the top that hold no tensors; `meta`: the texts under that name. `kind`: the
class of the state dict. `tensors`: by key what `torch_load.row` says of each, in their order.
"""


@dataclass(frozen=True)
class Wanted:
    """What was asked for, restated: the weights that are meant, and what is to be made of them."""

    choice: Chosen
    source: Contents
    result: Contents


@dataclass(frozen=True)
class Back:
    """The outcome of reading a result back: the row, and if it passed what must be said of it.

    `of_source` is the SHA-256 of the source, `sha256` and `stamp` are of the file that was read.
    """

    check: Check
    of_source: str
    sha256: str = ""
    stamp: Stamp = (0, 0, 0, 0)
    recorded: Facts | None = None


def wanted(file: ModelFile, request: Request) -> Wanted | Check:
    """What a conversion must make; the failed row if other weights were taken than are meant."""
    choice = chosen(file, request)
    problem = choice if isinstance(choice, str) else choice_problem(choice, file)
    if problem is not None or isinstance(choice, str):
        return failed("readback", str(problem))
    try:
        source = source_contents(choice.tensors)
        return Wanted(choice, source, expected_result(source, request.layout, request.edits))
    except KeyError as error:
        return failed("readback", f"the source lacks what was asked for: {error}")


def read_back(
    file: ModelFile,
    opened: Stamp,
    digests: Digests,
    written: Copied,
    request: Request,
    asked: Wanted,
    result: Checkpoint,
    loaded: Loaded | str | None,
    progress: Passing | None = None,
) -> Back:
    """Compare a written file with what must stand in it.

    Its names must be exactly those that the code of its layout expects. A tensor that is copied
    must have the source's bytes; one that was edited is compared number by number with those of the
    source that must stand there.

    `opened` is the stamp that the source had at first, `digests` are those of its tensors and
    `written` those of the bytes that were copied, `result` is the written file opened again,
    `loaded` what torch makes of a `.pth`: a sentence if it refuses it, None where that was not
    tried.
    """
    now, source = stamp(result.file), file.checkpoint
    tensors = tensors_in(result, request.layout)
    with ThreadPoolExecutor(2) as beside:  # and here what they hold is compared
        hashes = [
            beside.submit(sha256_of_all, source, asked.choice.tensors),
            beside.submit(sha256_of_all, result, tensors, progress),
        ]
        problems = itertools.chain(
            _other_tensors(asked, result, tensors, loaded),
            _damage(file, asked, digests, written),
            _other_numbers(source, asked, result, tensors),
        )
        problem = next(problems, None)
    (of_source, taken), (sha256, given) = (each.result() for each in hashes)
    if problem is None and any(written.crcs.get(key, crc) != crc for key, crc in taken.items()):
        problem = "the source was hashed with other bytes than those that were copied"
    if stamp(source.file) != opened:
        problem = "the source was written to while it was converted"
    if problem is not None:
        return Back(failed("readback", problem), of_source)
    # What is copied has been found to have the source's bytes, so it has their digests.
    rows = asked.result.tensors
    others = digests_of(result, {key: tensors[key] for key, row in rows.items() if not row.copied})
    copied = {key: row.key for key, row in rows.items() if row.copied}
    before = Reading(of_source, digests.sha256, digests.crcs)
    after = Reading(
        sha256,
        others.sha256 | {key: digests.sha256[was] for key, was in copied.items()},
        others.crcs | {key: digests.crcs[was] for key, was in copied.items()},
    )
    recorded = facts(file, request, asked.choice, asked.source, asked.result, before, after)
    problems = itertools.chain(
        _otherwise_hashed(given, after),
        form_problems(result, asked.result, tensors, recorded.metadata, after),
        _otherwise_loaded(loaded, asked, recorded, after),
    )
    problem = next(problems, None)
    if problem is not None:
        return Back(failed("readback", problem), of_source)
    count = len(asked.result.tensors)
    edited = sum(not expected.copied for expected in asked.result.tensors.values())
    told = f"{count} tensors reopened and equal, bit for bit"
    if edited:
        told = f"{count - edited} tensors reopened and equal to the source, bit for bit"
        told += f"; {edited} hold the numbers that the edit of the source gives"
    if result.container == "safetensors":
        told += ", read by the safetensors library"
    else:
        told += "; torch.load was not tried" if loaded is None else ", read by torch.load"
    return Back(passed("readback", told), of_source, sha256, now, recorded)


def _other_tensors(
    asked: Wanted, result: Checkpoint, tensors: Mapping[str, Tensor], loaded: Loaded | str | None
) -> Iterator[str]:
    """What is wrong with names, dtypes and shapes, each a sentence."""
    if isinstance(loaded, str):
        yield f"torch.load(weights_only=True) refuses the file: {printable(loaded)}"
    if result.container != "safetensors":
        top = top_problem(result, asked.result.layout, loaded if isinstance(loaded, dict) else None)
        if top is not None:
            yield top
    wanted = {key: (row.dtype.code, row.shape) for key, row in asked.result.tensors.items()}
    found = {key: (tensor.dtype.code, tensor.shape) for key, tensor in tensors.items()}
    if differing := _differing(found, wanted):
        yield f"names, dtypes or shapes differ: {listed(differing)}"


def _damage(file: ModelFile, asked: Wanted, digests: Digests, written: Copied) -> Iterator[str]:
    """What is wrong with the source, was read otherwise when it was copied, or not looked at."""
    for key in digests.damaged(asked.choice.tensors):
        yield f"the source is damaged: {key} does not match its CRC"
    for key, tensor in asked.choice.tensors.items():
        crc = written.crcs.get(key)
        same = written.sha256.get(key, digests.sha256[key]) == digests.sha256[key]
        if key in asked.source.tensors and not (same and crc == digests.crcs[key]):
            yield f"{key} was copied with other bytes than were digested"
        whole = is_dense(tensor) and tensor.storage.nbytes == tensor.nbytes
        if whole and crc is not None and tensor.storage.crc32 not in (None, crc):
            yield f"the source is damaged: {key} does not match its CRC"
        if tensor.storage.crc32 is None and file.checkpoint.container == "zip":
            yield f"the CRC that a zip archive has of {key} was not looked at"
    told, prefix = file.checkpoint.metadata, "hornet_convert."
    if {f"{prefix}{n}" for n in ours(told)} != {name for name in told if name.startswith(prefix)}:
        yield "what the source says of itself was not understood"
    if file.tensors.keys() != asked.source.tensors.keys():
        yield "other tensors of the source were looked at than those that are meant"


def _other_numbers(
    source: Checkpoint, asked: Wanted, result: Checkpoint, tensors: Mapping[str, Tensor]
) -> Iterator[str]:
    """What does not have the source's bytes, or does not hold what the edit gives."""
    for key, row in asked.result.tensors.items():
        if row.copied:
            if not same_bytes(source, row.source, result, tensors[key]):
                yield f"{key} has other bytes than {row.key} of the source"
        elif not _holds(source, row, result, tensors[key]):
            yield f"{key} does not hold what the edit of {row.key} gives"


def _otherwise_hashed(given: Mapping[str, int], after: Reading) -> Iterator[str]:
    """What other bytes than its own went into the SHA-256 of the result."""
    for key, crc in given.items():
        if after.crcs.get(key) != crc:
            yield f"the result was hashed with other bytes of {key} than it has"


def _otherwise_loaded(
    loaded: Loaded | str | None, asked: Wanted, recorded: Facts, after: Reading
) -> Iterator[str]:
    """What torch reads otherwise."""
    if loaded is None or isinstance(loaded, str):
        return
    wanted = {
        key: {
            "class": "Tensor",
            "dtype": row.dtype.torch,
            "shape": list(row.shape),
            "strides": [math.prod(row.shape[axis + 1 :]) for axis in range(len(row.shape))],
            "storage": [0, row.dtype.itemsize * math.prod(row.shape)],
            "device": "cpu",
            "requires_grad": False,
            "sha256": after.digests[key],
        }
        for key, row in asked.result.tensors.items()
    }
    if differing := _differing(loaded["tensors"], wanted):
        yield f"torch.load reads other tensors: {listed(differing)}"
    if list(loaded["tensors"]) != list(wanted) or loaded["kind"] != "OrderedDict":
        yield "torch.load reads no state dict in the order of the computation"
    if loaded["meta"] not in (None, recorded.metadata):
        yield "torch.load reads another meta than the metadata"


def _differing(first: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return sorted(key for key in first.keys() | other if first.get(key) != other.get(key))


def _holds(source: Checkpoint, expected: Expected, result: Checkpoint, tensor: Tensor) -> bool:
    """Whether an edited tensor of the result holds the numbers that the edit gives."""
    was = expected.source
    if expected.resized:
        old, new = (
            numbers_in(np.concatenate(list(pieces(file, of))), TYPES[of.dtype.torch])
            for file, of in ((source, was), (result, tensor))
        )
        return is_resized(old.reshape(was.shape), new.reshape(tensor.shape), expected.dtype)
    pairs = [(was, tensor)]
    if expected.rows is not None:
        pairs = [(_row(was, row), _row(tensor, n)) for n, row in enumerate(expected.rows)]
    return all(
        bool((taken == given).all())
        if expected.dtype == TYPES[was.dtype.torch]
        else is_rounded(taken, given, TYPES[was.dtype.torch], expected.dtype)
        for first, other in pairs
        for taken, given in zip(pieces(source, first), pieces(result, other), strict=True)
    )


def _row(tensor: Tensor, index: int) -> Tensor:
    """One element of the first axis."""
    first = tensor.first + index * tensor.strides[0]
    return replace(tensor, shape=tensor.shape[1:], strides=tensor.strides[1:], first=first)
