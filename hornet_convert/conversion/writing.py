"""Writing a planned result: one pass over the source puts every tensor in its place.

What is copied is copied as it is read, what is cast is cast as it is read; only selected rows and
resized filters are read a second time.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.conversion.edits import Target
from hornet_convert.conversion.pickle_writer import Wrapper
from hornet_convert.conversion.plan import Plan
from hornet_convert.conversion.produce import produce
from hornet_convert.conversion.pth_writer import PthFile
from hornet_convert.conversion.publish import Temporary, disk_errors, write_all
from hornet_convert.conversion.result_name import Format
from hornet_convert.conversion.safetensors_header import SafetensorsFile
from hornet_convert.family.layouts import translate
from hornet_convert.numbers.casting import Losses, cast
from hornet_convert.verification.fingerprint import fingerprint
from hornet_convert.verification.scan import Progress, Scan, scan
from hornet_convert.verification.subject import Subject

UNKNOWN_FINGERPRINT: Final = "0" * 64  # stands in the file until the weights have been read

# What each layout's own code expects around a state dict.
WRAPPERS: Final[Mapping[Target, Wrapper]] = {
    "reference": "bare",
    "official": "model",
    "openmmlab": "state_dict",
    "backbone": "bare",
}


class ResultFile(Protocol):
    """A file to be: where the tensors go, how large it is, and everything around the tensors."""

    offsets: Mapping[str, int]
    size: int

    def frame(
        self, metadata: Mapping[str, str], crcs: Mapping[str, int]
    ) -> Iterable[tuple[int, bytes]]:
        """(offset, bytes) of everything but the tensors, whose CRC-32 are given."""


@dataclass(frozen=True)
class Written:
    """A result as it was written.

    `seen` is what the pass over the source saw; `digests` the SHA-256 of each tensor by its key in
    the result; `losses` what rounding did, by the same keys.
    """

    seen: Scan
    digests: Mapping[str, str]
    fingerprint: str
    losses: Mapping[str, Losses]


def write(
    subject: Subject,
    plan: Plan,
    container: Format,
    edits: Sequence[str],
    file: Temporary,
    progress: Progress | None = None,
) -> Written:
    """Write the result into a temporary file, reading the source once.

    `edits` are the tokens that the metadata tells of. Raises DiskError if writing fails.
    """
    metadata = {"model": plan.architecture.name, "layout": plan.target}
    metadata |= {"edits": " ".join(edits)} if edits else {}
    unknown = {**metadata, "fingerprint": UNKNOWN_FINGERPRINT}
    result: ResultFile
    if container == "pth":
        result = PthFile(plan.parts, unknown, WRAPPERS[plan.target])
    else:
        result = SafetensorsFile(plan.parts, unknown)
    writer = _Writer(file.fd, plan, result.offsets, with_crcs=container == "pth")
    with disk_errors(file.path.parent, "writing"):
        os.truncate(file.fd, result.size)
        seen = scan(subject.checkpoint, subject.tensors, copy=writer.take, progress=progress)
        writer.finish(subject.checkpoint)
        digests = writer.digests(seen)
        own = result_fingerprint(plan, digests)
        for offset, data in result.frame({**metadata, "fingerprint": own}, writer.crcs):
            write_all(file.fd, memoryview(data), offset)
    return Written(seen, digests, own, writer.losses)


def result_fingerprint(plan: Plan, digests: Mapping[str, str]) -> str:
    """The fingerprint of the result's own tensors; `digests` by key of the result."""
    names = {key: translate(part.name, "reference", "official") for key, part in plan.parts.items()}
    official = {name: key for key, name in names.items() if name is not None}
    return fingerprint(
        {name: plan.parts[key] for name, key in official.items()},
        {name: digests[key] for name, key in official.items()},
    )


class _Writer:
    """Puts tensors in their places, piece by piece; digests those that are not the source's."""

    def __init__(
        self, descriptor: int, plan: Plan, offsets: Mapping[str, int], with_crcs: bool
    ) -> None:
        self._descriptor = descriptor
        self._parts = plan.parts
        self._by_source = plan.by_source_key()
        self._next = dict(offsets)
        self._with_crcs = with_crcs
        self._hashes = {key: hashlib.sha256() for key, part in plan.parts.items() if part.edited}
        self.losses = {key: Losses() for key in self._hashes}
        self.crcs: dict[str, int] = dict.fromkeys(plan.parts, 0)

    def take(self, source_key: str, data: memoryview) -> None:
        """The next bytes of a tensor of the source."""
        key, part = self._by_source.get(source_key, (None, None))
        if key is None or part is None or not part.streams:
            return
        if part.recast:
            data = cast(data, part.source.dtype, part.dtype, self.losses[key]).data
        self._put(key, data)

    def finish(self, checkpoint: Checkpoint) -> None:
        """Write the tensors that could not be made while streaming."""
        for key, part in self._parts.items():
            if not part.streams:
                self._put(key, produce(checkpoint, part, self.losses[key]).data)

    def digests(self, seen: Scan) -> dict[str, str]:
        """SHA-256 of each tensor of the result."""
        return {
            key: self._hashes[key].hexdigest() if part.edited else seen.digests[part.key]
            for key, part in self._parts.items()
        }

    def _put(self, key: str, data: memoryview) -> None:
        write_all(self._descriptor, data, self._next[key])
        self._next[key] += len(data)
        if key in self._hashes:
            self._hashes[key].update(data)
        if self._with_crcs:
            self.crcs[key] = zlib.crc32(data, self.crcs[key])
