"""`convert`: from any checkpoint file to one new file, proven before it gets its name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hornet_convert.checkpoint.metadata import own
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.checks.checks import run_checks
from hornet_convert.checks.findings import Findings
from hornet_convert.checks.model_file import ModelFile, examine
from hornet_convert.checks.scan import Scan, scan
from hornet_convert.checks.verify import NO_FORWARD, UNSOUND, report_on, required, statistics_of
from hornet_convert.conversion.plan import Plan, plan
from hornet_convert.conversion.proof import Proof, Prove, edits_note, overflow
from hornet_convert.conversion.provenance import require_place, write_provenance
from hornet_convert.conversion.readback import read_back
from hornet_convert.conversion.request import Request
from hornet_convert.conversion.write import write
from hornet_convert.errors import DiskError
from hornet_convert.family import file_names, zoo
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.reading import sha256_of
from hornet_convert.files.writing import Temporary, temporary
from hornet_convert.report.check import Check, not_checked
from hornet_convert.report.progress import Progress, reading
from hornet_convert.report.report import Report
from hornet_convert.report.verdict import Level


def convert(
    path: Path, request: Request, prove: Prove | None = None, progress: Progress | None = None
) -> Report:
    """Read, remap, write, read back and compare; publish only what passed every check made.

    `prove` makes the forward check; None leaves it out.

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
        file = examine(checkpoint, model=request.model, key=request.key, ema=request.ema)
        level = required(file, request.require)
        if file.identity.sound:
            made = plan(file.identity, file.tensors, request.edits, request.layout)
            with temporary(request.out) as result:
                return _converted(file, made, request, level, result, prove, progress)
        seen = scan(checkpoint, file.tensors, progress=reading(progress))
        unsound = [not_checked(code, UNSOUND) for code in ("forward", "readback")]
        findings = Findings(file, seen, unsound[0], tuple(request.claims), level, unsound[1])
        return _report(findings, run_checks(findings), request, progress)


def _converted(
    file: ModelFile,
    made: Plan,
    request: Request,
    level: Level | None,
    result: Temporary,
    prove: Prove | None,
    progress: Progress | None,
) -> Report:
    """Write a sound state dict to a temporary file, prove it, and publish it."""
    edits = file_names.history(own(file.checkpoint.metadata).get("edits", ""), made.tokens)
    seen, fingerprint, losses = write(
        file, made, request.format, edits, result, reading(progress, "converting")
    )
    with _syncing(result):
        if prove is None:
            proof = Proof(not_checked("forward", NO_FORWARD))
        else:
            with open_checkpoint(result.path) as reopened:
                proof = prove(file, made, reopened, select_state_dict(reopened.root).tensors)
        # Opened once more: what is published is what can be read now, after all else has run.
        with open_checkpoint(result.path) as reopened:
            back = reading(progress, "reading back")
            sha256, readback = read_back(file, seen, request, reopened, proof.loaded, back)
    findings = Findings(
        file,
        seen,
        proof.check,
        tuple(request.claims),
        level,
        readback,
        overflow(made, losses),
    )
    rows = run_checks(findings)
    if any(row.status == "fail" for row in rows):
        return _report(findings, rows, request, progress)
    # Other weights in the file than its plain ones are not those that its published name means.
    row = None if request.ema or request.key else request.row or _published(file, seen)
    stem = file_names.stem(made.architecture, made.num_classes, edits, row)
    final = request.out / file_names.file_name(stem, sha256, request.format)
    notes = [*made.notes, *edits_note(made, losses), *proof.notes]
    if made.rounded and prove is None:
        notes.append(f"how far {made.rounded} moves the outputs was not measured: {NO_FORWARD}")
    if fingerprint != findings.fingerprint:
        notes.append(f"the result's own fingerprint is {fingerprint}")
    require_place(final, request.force)
    if _already_there(final, sha256, request.force):
        notes.append(f"{final.name} was there already, the same")
    else:
        with disk_errors(final, "renaming"):
            result.publish(final)
    report = _report(
        findings,
        rows,
        request,
        progress,
        notes,
        output=str(final) if request.keep else None,
        output_sha256=sha256,
        conversion={
            "format": request.format,
            "layout": made.target,
            "model": made.architecture.name,
            "num_classes": made.num_classes,
            "fingerprint": fingerprint,
            "edits": list(edits),
            "starts_fresh": list(made.starts_fresh),
            "drift": proof.drift,
        },
    )
    write_provenance(report, file, final)
    return report


def _report(
    findings: Findings,
    rows: Sequence[Check],
    request: Request,
    progress: Progress | None,
    notes: Sequence[str] = (),
    **facts: Any,
) -> Report:
    """The report, with what the request says of the source."""
    return report_on(
        findings,
        rows,
        statistics=statistics_of(findings.file, progress) if request.statistics else (),
        notes=(*request.notes, *notes),
        source=request.source,
        asked=None if request.row is None else request.row.name,
        **facts,
    )


@contextlib.contextmanager
def _syncing(file: Temporary) -> Iterator[None]:
    """Sync the file to the disk while the body reads it back; both are done at the end."""
    with ThreadPoolExecutor(1) as pool:
        synced = pool.submit(os.fsync, file.fd)
        yield
        with disk_errors(file.path.parent, "syncing"):
            synced.result()


def _published(file: ModelFile, seen: Scan) -> zoo.Published | None:
    """The row whose current file the source is, going by the digits of its SHA-256."""
    row = file.identity.published
    return row if row is not None and seen.sha256.startswith(row.sha8) else None


def _already_there(final: Path, sha256: str, force: bool) -> bool:
    """Whether the very same file has the name already; refuses another one unless forced."""
    if not os.path.lexists(final):
        return False
    digest = None
    if final.is_file():
        with disk_errors(final, "reading"):
            digest, _ = sha256_of(final)
    if digest != sha256 and not force:
        raise DiskError(
            "another file has the result's name",
            where=str(final),
            expected=f"SHA-256 {sha256}",
            found="not a regular file" if digest is None else f"SHA-256 {digest}",
            hint="It may be a damaged copy. --force replaces it.",
        )
    return digest == sha256
