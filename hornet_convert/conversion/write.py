"""Writing a planned result: one pass over the source puts every tensor in its place.

What is copied is copied as it is read, what is cast is cast as it is read, and every value is
looked at; only selected rows and resized filters are read a second time. Digests of what is copied
are the source's, which other code computes meanwhile (`reread.py`); the CRC-32 of every tensor and
the SHA-256 of some tell the proof that both have read the same.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.metadata import namespaced, ours
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checks.fingerprint import fingerprint
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.plan import Part, Plan
from hornet_convert.conversion.reread import Copied, Digests
from hornet_convert.conversion.write_pth import PthFile
from hornet_convert.conversion.write_safetensors import SafetensorsFile
from hornet_convert.family.file_names import Format
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.writing import Temporary, write_all
from hornet_convert.numbers.casting import Losses, cast, decode, encode
from hornet_convert.numbers.elements import ValueCheck, pieces
from hornet_convert.report.progress import Passing

ELEMENTS: Final = 1 << 18  # read at a time
SMALL: Final = 1 << 14  # bytes: of these all digests are made twice
UNKNOWN_FINGERPRINT: Final = "0" * 64  # stands in the file until the weights have been read


@dataclass(frozen=True)
class Written:
    """What writing has seen: the values of the source and how they were copied, by its keys.

    `fingerprint` is that of the result's own weights, `losses` what rounding did, by its keys.
    """

    values: dict[str, ValueCheck]
    copied: Copied
    fingerprint: str
    losses: Mapping[str, Losses]


def write(
    file: ModelFile,
    plan: Plan,
    container: Format,
    edits: Sequence[str],
    result: Temporary,
    digests: Future[Digests],
    progress: Passing | None = None,
) -> Written:
    """Write the result into a temporary file, reading the source once.

    `edits` are the tokens that the metadata tells of, `digests` those of the source's tensors.
    Raises DiskError if writing fails.
    """
    facts = {"model": plan.architecture.name, "layout": plan.target}
    facts |= {"edits": " ".join(edits)} if edits else {}
    if file.state.is_ema or ours(file.checkpoint.metadata).get("weights") == "averaged":
        facts["weights"] = "averaged"
    unknown = namespaced({**facts, "fingerprint": UNKNOWN_FINGERPRINT})
    form: PthFile | SafetensorsFile = (
        PthFile(plan.parts, unknown, plan.target)
        if container == "pth"
        else SafetensorsFile(plan.parts, unknown)
    )
    writer = _Writer(result.fd, plan, form.offsets)
    values = {name: ValueCheck(tensor.dtype) for name, tensor in file.tensors.items()}
    crcs, hashes = dict.fromkeys(file.tensors, 0), _some(file.tensors)
    total, done = sum(tensor.nbytes for tensor in file.tensors.values()), 0
    with disk_errors(result.path.parent, "writing"):
        for name, tensor in sorted(file.tensors.items(), key=lambda row: row[1].storage.offset):
            for data in pieces(file.checkpoint, tensor, ELEMENTS):
                values[name].update(data.data)
                crcs[name] = zlib.crc32(data.data, crcs[name])
                if name in hashes:
                    hashes[name].update(data)
                writer.take(name, data.data)
                done += len(data)
                if progress is not None:
                    progress(done, total)
        writer.finish(file.checkpoint)
        sha256, of_parts = writer.digests(digests.result())
        of_result = fingerprint(
            {part.name: part for part in plan.parts.values()},
            {part.name: sha256[key] for key, part in plan.parts.items()},
        )
        for offset, frame in form.frame(namespaced({**facts, "fingerprint": of_result}), of_parts):
            write_all(result.fd, memoryview(frame), offset)
    copied = Copied(crcs, {name: digest.hexdigest() for name, digest in hashes.items()})
    return Written(values, copied, of_result, writer.losses)


def _some(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A SHA-256 to be made of each small tensor, of each that is not dense, and of two larger ones.

    So a mistake of the other code that digests them all shows.
    """
    small = [name for name, t in tensors.items() if t.nbytes <= SMALL or t.span is None]
    larger = sorted((t.nbytes, name) for name, t in tensors.items() if t.nbytes > ELEMENTS)
    return {name: hashlib.sha256() for name in (*small, *(name for _, name in larger[:2]))}


class _Writer:
    """Puts tensors in their places, piece by piece; digests those that are not the source's."""

    def __init__(self, descriptor: int, plan: Plan, offsets: Mapping[str, int]) -> None:
        self._descriptor = descriptor
        self._parts = plan.parts
        self._by_source = {part.key: key for key, part in plan.parts.items() if part.streams}
        self._next = dict(offsets)
        self._hashes = {key: hashlib.sha256() for key, part in plan.parts.items() if part.edited}
        self.losses = {key: Losses() for key in self._hashes}
        self._crcs = dict.fromkeys(self._hashes, 0)

    def take(self, source_key: str, data: memoryview) -> None:
        """The next bytes of a tensor of the source."""
        key = self._by_source.get(source_key)
        if key is not None:
            part = self._parts[key]
            if part.recast:
                data = cast(data, part.source.dtype, part.dtype, self.losses[key]).data
            self._put(key, data)

    def finish(self, checkpoint: Checkpoint) -> None:
        """Write the tensors that could not be made while streaming."""
        for key, part in self._parts.items():
            if not part.streams:
                self._put(key, _edited(checkpoint, part, self.losses[key]).data)

    def digests(self, of_source: Digests) -> tuple[dict[str, str], dict[str, int]]:
        """SHA-256 and CRC-32 of each tensor of the result."""
        sha256 = {key: of_source.sha256[part.key] for key, part in self._parts.items()}
        crcs = {key: of_source.crcs[part.key] for key, part in self._parts.items()}
        sha256 |= {key: digest.hexdigest() for key, digest in self._hashes.items()}
        return sha256, crcs | self._crcs

    def _put(self, key: str, data: memoryview) -> None:
        write_all(self._descriptor, data, self._next[key])
        self._next[key] += len(data)
        if key in self._hashes:
            self._hashes[key].update(data)
            self._crcs[key] = zlib.crc32(data, self._crcs[key])


def _edited(checkpoint: Checkpoint, part: Part, losses: Losses) -> NDArray[np.uint8]:
    """The dense little-endian bytes of a classifier's rows or a resized filter."""
    source = part.source
    if part.resized:
        values = decode(checkpoint.read(source).data, source.dtype).reshape(source.shape)
        resized = resize_filter(values, (part.shape[1], part.shape[2]))
        return encode(resized, part.dtype).reshape(-1).view("u1")
    # Each row is read by itself: a large head is never held as a whole.
    first = replace(source, shape=source.shape[1:], strides=source.strides[1:])
    data = np.concatenate(
        [
            checkpoint.read(replace(first, first=source.first + row * source.strides[0]))
            for row in part.rows or ()
        ]
    )
    return cast(data.data, source.dtype, part.dtype, losses) if part.recast else data


def resize_filter(weight: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """A filter (C, h, w, 2) resized bilinearly, corners on corners, to (C, *size, 2).

    In float64, real and imaginary parts apart, as the authors' model does it in float32 when its
    map has another size. Products and sums are rounded one by one, so every machine gets the same.
    """
    resized = weight.astype(np.float64)
    for axis, new in ((1, size[0]), (2, size[1])):
        old = resized.shape[axis]
        position = np.arange(new) * ((old - 1) / max(new - 1, 1))
        below = np.minimum(position.astype(np.int64), old - 1)
        above = np.minimum(below + 1, old - 1)
        share = (position - below).reshape([-1 if a == axis else 1 for a in range(4)])
        resized = (
            np.take(resized, below, axis) * (1 - share) + np.take(resized, above, axis) * share
        )
    return resized
