"""Writing a planned result: one pass over the source puts every tensor in its place.

What is copied is copied as it is read, what is cast is cast as it is read; only selected rows and
resized filters are read a second time.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.metadata import namespaced, ours
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checks.fingerprint import fingerprint
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.checks.scan import Scan, scan
from hornet_convert.conversion.plan import Part, Plan
from hornet_convert.conversion.write_pth import PthFile
from hornet_convert.conversion.write_safetensors import SafetensorsFile
from hornet_convert.family.file_names import Format
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.writing import Temporary, write_all
from hornet_convert.numbers.casting import Losses, cast, decode, encode
from hornet_convert.report.progress import Passing

UNKNOWN_FINGERPRINT: Final = "0" * 64  # stands in the file until the weights have been read


def write(
    file: ModelFile,
    plan: Plan,
    container: Format,
    edits: Sequence[str],
    result: Temporary,
    progress: Passing | None = None,
) -> tuple[Scan, str, Mapping[str, Losses]]:
    """Write the result into a temporary file, reading the source once.

    `edits` are the tokens that the metadata tells of. Returns what the pass over the source saw,
    the fingerprint of the result's own weights, and by key of the result what rounding did to them.
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
    writer = _Writer(result.fd, plan, form.offsets, with_crcs=container == "pth")
    with disk_errors(result.path.parent, "writing"):
        seen = scan(file.checkpoint, file.tensors, copy=writer.take, progress=progress)
        writer.finish(file.checkpoint)
        digests = {part.name: writer.digest(key, seen) for key, part in plan.parts.items()}
        of_result = fingerprint({part.name: part for part in plan.parts.values()}, digests)
        for offset, data in form.frame(
            namespaced({**facts, "fingerprint": of_result}), writer.crcs
        ):
            write_all(result.fd, memoryview(data), offset)
    return seen, of_result, writer.losses


class _Writer:
    """Puts tensors in their places, piece by piece; digests those that are not the source's."""

    def __init__(
        self, descriptor: int, plan: Plan, offsets: Mapping[str, int], with_crcs: bool
    ) -> None:
        self._descriptor = descriptor
        self._parts = plan.parts
        self._by_source = {part.key: key for key, part in plan.parts.items() if part.streams}
        self._next = dict(offsets)
        self._with_crcs = with_crcs
        self._hashes = {key: hashlib.sha256() for key, part in plan.parts.items() if part.edited}
        self.losses = {key: Losses() for key in self._hashes}
        self.crcs: dict[str, int] = dict.fromkeys(plan.parts, 0)

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

    def digest(self, key: str, seen: Scan) -> str:
        """SHA-256 of a tensor of the result."""
        edited = self._hashes.get(key)
        return seen.digests[self._parts[key].key] if edited is None else edited.hexdigest()

    def _put(self, key: str, data: memoryview) -> None:
        write_all(self._descriptor, data, self._next[key])
        self._next[key] += len(data)
        if key in self._hashes:
            self._hashes[key].update(data)
        if self._with_crcs:
            self.crcs[key] = zlib.crc32(data, self.crcs[key])


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
