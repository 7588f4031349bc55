"""`convert`: from any checkpoint file to one safetensors file, proven before it gets its name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hornet_convert import zoo
from hornet_convert.checkpoint.reader import Checkpoint, open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import DiskError
from hornet_convert.identity import Identity
from hornet_convert.layouts import Layout, remap
from hornet_convert.naming import listed
from hornet_convert.provenance import write_provenance
from hornet_convert.publish import Temporary, disk_errors, temporary
from hornet_convert.report import Check, Report, failed, not_checked, passed
from hornet_convert.safetensors_header import place
from hornet_convert.scan import Scan, scan
from hornet_convert.verdict import Reference, Requirement
from hornet_convert.verify import (
    NO_FORWARD,
    UNSOUND,
    Progress,
    Subject,
    describe,
    examine,
    forward_equivalence,
    reading,
    static_checks,
)

UNKNOWN_FINGERPRINT = "0" * 64  # stands in the header until the weights have been read


@dataclass(frozen=True)
class Request:
    """What a conversion is asked for.

    Parameters
    ----------
    out
        Folder for the result, made if need be.
    layout
        Key layout of the result.
    model
        What the file should be; None to identify it.
    row
        The published checkpoint the file is known to be, because it was fetched as that.
    references
        What the file and its weights are known by.
    require
        Write nothing unless the verdict on the source is at least this.
    source
        Where it came from, for the provenance.
    ema, forward
        As for `verify`.
    force
        Replace a different file that already has the result's name.
    """

    out: Path
    layout: Layout = "reference"
    model: str | None = None
    row: zoo.Published | None = None
    references: Sequence[Reference] = ()
    require: Requirement | None = None
    source: Mapping[str, Any] | None = None
    ema: bool = False
    forward: bool = True
    force: bool = False


def convert(path: Path, request: Request, progress: Progress | None = None) -> Report:
    """Read, remap, write, read back and compare; publish only what passed every check made.

    Returns
    -------
    Report
        `output` is the written file; None if a check failed, and then nothing was written.

    Raises
    ------
    HornetConvertError
        The file cannot be read as a checkpoint, or the result cannot be written.
    """
    with open_checkpoint(path) as checkpoint:
        subject = examine(checkpoint, model=request.model, ema=request.ema)
        if subject.identity.sound:
            with temporary(request.out) as file:
                report = _convert(subject, request, file, progress)
        else:
            seen = scan(checkpoint, subject.tensors, progress=reading(progress))
            digest, rows = static_checks(subject, seen, request.references, request.require)
            rows += [not_checked("forward", UNSOUND), not_checked("readback", UNSOUND)]
            report = describe(subject, seen, digest, rows, request.references)
    return replace(report, source=None if request.source is None else dict(request.source))


def _convert(
    subject: Subject, request: Request, file: Temporary, progress: Progress | None
) -> Report:
    """Write a sound state dict to a temporary file, prove it, and publish it."""
    names = _target_names(subject.identity, request.layout)
    seen = _copy(subject, request, names, file, progress)
    digest, rows = static_checks(subject, seen, request.references, request.require)
    with open_checkpoint(file.path) as written, _syncing(file):
        tensors = select_state_dict(written.root).tensors
        if request.forward:
            by_reference_name = {
                reference: tensors[names[key]] for key, reference in subject.identity.names.items()
            }
            rows.append(forward_equivalence(subject, written, by_reference_name))
        else:
            rows.append(not_checked("forward", NO_FORWARD))
        back = scan(
            written, tensors, look_at_values=False, progress=reading(progress, "reading back")
        )
        rows.append(_read_back(subject, names, seen, written, back))
    report = describe(subject, seen, digest, rows, request.references)
    if not report:
        return report
    final = request.out / file_name(subject.identity, back.sha256, request.row, seen.sha256)
    if _already_there(final, back.sha256, request.force):
        report = replace(report, notes=(*report.notes, f"{final.name} was there already, the same"))
    else:
        with disk_errors(final, "renaming"):
            file.publish(final)
    report = replace(report, output=str(final), output_sha256=back.sha256)
    write_provenance(report, request.layout, subject)
    return report


@contextlib.contextmanager
def _syncing(file: Temporary) -> Iterator[None]:
    """Sync the file to the disk while the body reads it back; both are done at the end."""
    with ThreadPoolExecutor(1) as pool:
        synced = pool.submit(os.fsync, file.fd)
        yield
        with disk_errors(file.path.parent, "syncing"):
            synced.result()


def _target_names(identity: Identity, layout: Layout) -> dict[str, str]:
    """Source key to the key in the result."""
    names = remap(identity.names.values(), "reference", layout).names
    return {key: names[reference] for key, reference in identity.names.items()}


def _copy(
    subject: Subject,
    request: Request,
    names: Mapping[str, str],
    file: Temporary,
    progress: Progress | None,
) -> Scan:
    """Write header and tensors, reading the source once."""
    targets = {names[key]: tensor for key, tensor in subject.tensors.items()}
    metadata = {"format": "pt", "model": subject.identity.name or "", "layout": request.layout}
    placement = place(targets, {**metadata, "fingerprint": UNKNOWN_FINGERPRINT})
    with disk_errors(file.path.parent, "writing"):
        os.truncate(file.fd, placement.size)
        seen = scan(
            subject.checkpoint,
            subject.tensors,
            copy_to=(file.fd, {key: placement.offsets[name] for key, name in names.items()}),
            progress=reading(progress, "converting"),
        )
        fingerprint = subject.fingerprint(seen)
        os.pwrite(file.fd, place(targets, {**metadata, "fingerprint": fingerprint}).header, 0)
    return seen


def _read_back(
    subject: Subject, names: Mapping[str, str], seen: Scan, written: Checkpoint, back: Scan
) -> Check:
    """Compare the written file with the source, tensor by tensor, as two readers see it.

    The safetensors library gives names, dtypes and shapes; the bytes are compared by the SHA-256 of
    each tensor, taken from the source as it was read and from the file as the file system returns
    it.
    """
    wanted = {
        names[key]: (tensor.dtype.code, tensor.shape) for key, tensor in subject.tensors.items()
    }
    found = _library_view(written.path)
    if found != wanted:
        wrong = sorted(
            name for name in found.keys() | wanted if found.get(name) != wanted.get(name)
        )
        return failed("readback", f"names, dtypes or shapes differ: {listed(wrong)}")
    changed = sorted(
        name for key, name in names.items() if back.digests.get(name) != seen.digests[key]
    )
    if changed:
        return failed("readback", f"bytes differ from the source: {listed(changed)}")
    return passed("readback", f"{len(wanted)} tensors reopened and equal, bit for bit")


def _library_view(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape by name, as the safetensors library reads the file."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as library:
        slices = {name: library.get_slice(name) for name in library.offset_keys()}
        return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}


def file_name(
    identity: Identity, sha256: str, row: zoo.Published | None, source_sha256: str
) -> str:
    """Name of the result: the published stem if the source is known to be that row, else our own.

    `sha256` is the result's own; `source_sha256` the source's, which may identify the row.
    """
    known = zoo.with_hash(source_sha256)
    if row is None and known is not None and known[1] and known[0] is identity.published:
        row = known[0]
    stem = f"hornet-{identity.name}_{identity.num_classes or 0}c" if row is None else row.stem
    return f"{stem}-{sha256[:8]}.safetensors"


def _already_there(final: Path, sha256: str, force: bool) -> bool:
    """Whether the very same file has the name already; refuses another one unless forced."""
    if not os.path.lexists(final):
        return False
    found = "not a regular file"
    if final.is_file():
        import hashlib

        with disk_errors(final, "reading"), final.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == sha256:
            return True
        found = f"SHA-256 {digest}"
    if not force:
        raise DiskError(
            "another file has the result's name",
            where=str(final),
            expected=f"SHA-256 {sha256}",
            found=found,
            hint="It may be a damaged copy. --force replaces it.",
        )
    return False
