"""`convert`: from any checkpoint file to one new file, proven before it gets its name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.conversion import result_name
from hornet_convert.conversion.edits import AS_IT_IS, Edits, Target
from hornet_convert.conversion.plan import Plan, plan
from hornet_convert.conversion.proof import edits_note, prove, values_of_result
from hornet_convert.conversion.provenance import require_place, write_provenance
from hornet_convert.conversion.publish import Temporary, disk_errors, temporary
from hornet_convert.conversion.readback import read_back
from hornet_convert.conversion.result_name import Format
from hornet_convert.conversion.writing import write
from hornet_convert.errors import DiskError
from hornet_convert.family import zoo
from hornet_convert.verification.report import Report, not_checked
from hornet_convert.verification.scan import scan
from hornet_convert.verification.subject import Progress, Subject, examine, reading
from hornet_convert.verification.verdict import Reference, Requirement
from hornet_convert.verification.verify import UNSOUND, describe, static_checks, with_statistics


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
    statistics
        Whether to collect statistics of the source's weights as well.
    edits
        What to change beside the names.
    format
        Container of the result.
    """

    out: Path
    layout: Target = "reference"
    model: str | None = None
    row: zoo.Published | None = None
    references: Sequence[Reference] = ()
    require: Requirement | None = None
    source: Mapping[str, Any] | None = None
    ema: bool = False
    forward: bool = True
    force: bool = False
    statistics: bool = False
    edits: Edits = AS_IT_IS
    format: Format = "safetensors"


def convert(path: Path, request: Request, progress: Progress | None = None) -> Report:
    """Read, remap, write, read back and compare; publish only what passed every check made.

    Returns
    -------
    Report
        `output` is the written file; None if a check failed, and then nothing was written.
        `conversion` tells what was written, and how it differs from the source.

    Raises
    ------
    HornetConvertError
        The file cannot be read as a checkpoint, or the result cannot be made or written.
    """
    with open_checkpoint(path) as checkpoint:
        subject = examine(checkpoint, model=request.model, ema=request.ema)
        if subject.identity.sound:
            made = plan(subject.identity, subject.tensors, request.edits, request.layout)
            with temporary(request.out) as file:
                report = _convert(subject, made, request, file, progress)
        else:
            seen = scan(checkpoint, subject.tensors, progress=reading(progress))
            digest, rows = static_checks(subject, seen, request.references, request.require)
            rows += [not_checked("forward", UNSOUND), not_checked("readback", UNSOUND)]
            report = describe(subject, seen, digest, rows, request.references)
        if request.statistics:
            report = with_statistics(report, subject, progress)
    return replace(report, source=_source(request))


def _source(request: Request) -> dict[str, Any] | None:
    return None if request.source is None else dict(request.source)


def _convert(
    subject: Subject, made: Plan, request: Request, file: Temporary, progress: Progress | None
) -> Report:
    """Write a sound state dict to a temporary file, prove it, and publish it."""
    edits = result_name.history(subject.checkpoint.metadata, made.tokens)
    written = write(subject, made, request.format, edits, file, reading(progress, "converting"))
    digest, rows = static_checks(subject, written.seen, request.references, request.require)
    rows = [values_of_result(row, made, written.losses) for row in rows]
    with _syncing(file):
        with open_checkpoint(file.path) as result:
            tensors = select_state_dict(result.root).tensors
            proof = prove(subject, made, result, tensors, forward=request.forward)
            rows.append(proof.check)
        # Opened once more: what is published is what can be read now, after all else has run.
        with open_checkpoint(file.path) as result:
            tensors = select_state_dict(result.root).tensors
            said = reading(progress, "reading back")
            back = scan(result, tensors, look_at_values=False, progress=said)
            rows.append(read_back(made, written.digests, result, tensors, back))
    report = describe(subject, written.seen, digest, rows, request.references)
    if not report:
        return report
    row = None if request.ema else request.row or _published(subject, written.seen.sha256)
    stem = result_name.stem(made.architecture, made.num_classes, edits, row)
    final = request.out / result_name.file_name(stem, back.sha256, request.format)
    edited = edits_note(made, written.losses)
    notes = [*report.notes, *made.notes, *([edited] if edited else []), *proof.notes]
    if written.fingerprint != digest:
        notes.append(f"the result's own fingerprint is {written.fingerprint}")
    require_place(final, request.force)
    if _already_there(final, back.sha256, request.force):
        notes.append(f"{final.name} was there already, the same")
    else:
        with disk_errors(final, "renaming"):
            file.publish(final)
    conversion = {
        "format": request.format,
        "layout": made.target,
        "model": made.architecture.name,
        "num_classes": made.num_classes,
        "fingerprint": written.fingerprint,
        "edits": list(edits),
        "starts_fresh": list(made.starts_fresh),
        "drift": proof.drift,
    }
    report = replace(
        report,
        output=str(final),
        output_sha256=back.sha256,
        conversion=conversion,
        notes=tuple(notes),
        source=_source(request),
    )
    write_provenance(report, subject)
    return report


@contextlib.contextmanager
def _syncing(file: Temporary) -> Iterator[None]:
    """Sync the file to the disk while the body reads it back; both are done at the end."""
    with ThreadPoolExecutor(1) as pool:
        synced = pool.submit(os.fsync, file.fd)
        yield
        with disk_errors(file.path.parent, "syncing"):
            synced.result()


def _published(subject: Subject, sha256: str) -> zoo.Published | None:
    """The row whose current file the source is, going by the digits of its SHA-256."""
    known = zoo.with_hash(sha256)
    if known is None or not known[1] or known[0] is not subject.identity.published:
        return None
    return known[0]


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
