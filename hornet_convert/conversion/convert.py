"""`convert`: from any checkpoint file to one new file, proven before it gets its name."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hornet_convert.checkpoint.metadata import ours
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checks.checks import run_checks
from hornet_convert.checks.findings import Findings
from hornet_convert.checks.model_file import ModelFile, examine
from hornet_convert.checks.scan import Scan, scan
from hornet_convert.checks.verify import NO_FORWARD, UNSOUND, report_on, required, statistics_of
from hornet_convert.conversion.plan import Plan, plan
from hornet_convert.conversion.proof import Proof, Prove, edits_note, overflow
from hornet_convert.conversion.provenance import provenance
from hornet_convert.conversion.publish import (
    Stamp,
    already_there,
    in_the_way,
    require_published,
    stamp,
)
from hornet_convert.conversion.readback import Back, Wanted, read_back, wanted
from hornet_convert.conversion.request import Request
from hornet_convert.conversion.reread import Copied, Digests, digests_of
from hornet_convert.conversion.write import write
from hornet_convert.family import file_names, zoo
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.writing import Temporary, publish_bytes, temporary
from hornet_convert.report.check import Check, failed, not_checked
from hornet_convert.report.progress import Progress, reading
from hornet_convert.report.report import Report
from hornet_convert.report.verdict import Level

OTHER_WEIGHTS: Final = "other weights were taken than those that are meant"


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
        file = examine(
            checkpoint,
            model=request.model,
            key=request.key,
            ema=request.ema,
            prefix=request.prefix,
        )
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
    asked = wanted(file, request)
    if isinstance(asked, Check):
        seen, other = scan(file.checkpoint, file.tensors), not_checked("forward", OTHER_WEIGHTS)
        findings = Findings(file, seen, other, tuple(request.claims), level, asked)
        return _report(findings, run_checks(findings), request, progress)
    before = stamp(file.checkpoint.file)
    edits = file_names.history(ours(file.checkpoint.metadata).get("edits", ""), made.tokens)
    with ThreadPoolExecutor(1) as beside:
        digesting = beside.submit(digests_of, file.checkpoint, asked.choice.tensors)
        written = write(
            file, made, request.format, edits, result, digesting, reading(progress, "converting")
        )
    digests = digesting.result()
    copied = written.copied
    proof, back = _proved(file, before, digests, copied, request, asked, result, prove, progress)
    seen = Scan(
        back.of_source,
        {key: digests.sha256[key] for key in file.tensors},
        written.values,
        digests.damaged(file.tensors),
        digests.checked_bytes(file.tensors),
    )
    too_large = overflow(made, written.losses)
    findings = Findings(
        file, seen, proof.check, tuple(request.claims), level, back.check, too_large
    )
    rows = run_checks(findings)
    if back.recorded is None or any(row.status == "fail" for row in rows):
        return _report(findings, rows, request, progress)
    # Other weights in the file than its plain ones are not those that its published name means.
    row = None if request.chooses else request.row or _published(file, seen)
    stem = file_names.stem(made.architecture, made.num_classes, edits, row)
    final = request.out / file_names.file_name(stem, back.sha256, request.format)
    notes = [*made.notes, *edits_note(made, written.losses), *proof.notes]
    if made.rounded and prove is None:
        notes.append(f"how far {made.rounded} moves the outputs was not measured: {NO_FORWARD}")
    if written.fingerprint != findings.fingerprint:
        notes.append(f"the result's own fingerprint is {written.fingerprint}")
    there = already_there(final, back.sha256, request.force)
    if there:
        notes.append(f"{final.name} already existed, identical")
    report = _report(
        findings,
        rows,
        request,
        progress,
        notes,
        output=str(final) if request.keep else None,
        output_sha256=back.sha256,
        conversion={
            "format": request.format,
            "layout": made.target,
            "model": made.architecture.name,
            "num_classes": made.num_classes,
            "fingerprint": written.fingerprint,
            "edits": list(edits),
            "starts_fresh": list(made.starts_fresh),
            "drift": proof.drift,
        },
    )
    told = provenance(report, file, request, final.name)
    record = json.dumps(told, indent=2, allow_nan=False).encode() + b"\n"
    problem = back.recorded.contradicted(Path(report.output or final), json.loads(record))
    problem = problem or in_the_way(final, back.sha256, request.force)
    if problem is not None:
        findings = replace(findings, readback=failed("readback", problem))
        return _report(findings, run_checks(findings), request, progress)
    if not there:
        with disk_errors(final, "renaming"):
            result.publish(final)
    publish_bytes(record, final.with_suffix(".json"))
    require_published(final, None if there else back.stamp, back.sha256, record)
    return report


def _proved(
    file: ModelFile,
    before: Stamp,
    digests: Digests,
    copied: Copied,
    request: Request,
    asked: Wanted,
    result: Temporary,
    prove: Prove | None,
    progress: Progress | None,
) -> tuple[Proof, Back]:
    """Open a written file again, and prove it while it is synced to the disk."""
    with _syncing(result):
        if prove is None:
            proof = Proof(not_checked("forward", NO_FORWARD))
        else:
            with open_checkpoint(result.path) as reopened:
                proof = prove(file, asked, reopened)
        # Opened once more: what is published is what can be read now, after all else has run.
        with open_checkpoint(result.path) as reopened:
            back = reading(progress, "reading back")
            loaded = proof.loaded
            return proof, read_back(
                file, before, digests, copied, request, asked, reopened, loaded, back
            )


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
