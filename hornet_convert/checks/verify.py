"""`verify`: everything that can be told about a checkpoint file, without writing or a network."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from hornet_convert.checkpoint.folder import file_of
from hornet_convert.checkpoint.metadata import ours
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checks.checks import run_checks
from hornet_convert.checks.findings import Findings
from hornet_convert.checks.kinds import explained, recognise
from hornet_convert.checks.model_file import ModelFile, examine
from hornet_convert.checks.scan import Scan, scan
from hornet_convert.errors import MalformedError, UnsafeError, UsageError
from hornet_convert.family import file_names
from hornet_convert.numbers.statistics import weight_statistics
from hornet_convert.report.check import Check, not_checked
from hornet_convert.report.claims import FULL, Claim
from hornet_convert.report.clock import Clock
from hornet_convert.report.progress import Progress, reading
from hornet_convert.report.report import ALARM, Aside, Report, dangers_in_words
from hornet_convert.report.statistics import BlockStatistics
from hornet_convert.report.verdict import LEVELS, Level, Requirement
from hornet_convert.text import listed, printable

NO_FORWARD: Final = "--no-forward was given"
UNSOUND: Final = "the keys and shapes are not those of a model"

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Forward = Callable[[ModelFile], Check]
"""The forward check of a file: needs torch, so it comes from above."""

Graph = Callable[[ModelFile], Check | None]
"""The row on the graph of an ONNX file, None for any other: needs onnx."""


def verify(
    path: Path,
    *,
    model: str | None = None,
    claims: Sequence[Claim] = (),
    require: Sequence[Requirement] = (),
    key: str | None = None,
    ema: bool = False,
    prefix: str | None = None,
    forward: Forward | None = None,
    graph: Graph = lambda file: None,
    statistics: bool = False,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Report:
    """Check a file and report; the file is read once for all that needs its bytes.

    Parameters
    ----------
    path, model
        A `.pth` in any container, wrapper and layout, a safetensors file, or an ONNX model; what it
        should be.
    claims, require
        What file and weights are known by, beside the digits in the file's name; fail unless the
        verdict is at least this, refuse the file unless it is safe.
    key, ema, prefix
        Which weights to take, see `select_state_dict`.
    forward, graph, statistics
        Makes the forward check, and that of an ONNX file's graph; whether to collect statistics of
        the weights as well.
    clock
        Measures the parts; the report has what they took.

    Raises UnsafeError if a safe file is required and a plain load of this one would run foreign
    code; another HornetConvertError if it cannot be read as a checkpoint at all.
    """
    clock = clock or Clock()
    with open_checkpoint(path) as checkpoint:
        file = examine(checkpoint, model=model, key=key, ema=ema, prefix=prefix)
        level = required(file, require)
        stop = threading.Event()

        def read() -> Scan:
            with clock.measuring("reading, digests, values"):
                return scan(checkpoint, file.tensors, progress=reading(progress), stop=stop)

        # The pass over the bytes fills what time the computations leave the processors.
        with ThreadPoolExecutor(max_workers=1) as beside:
            try:
                passing = beside.submit(read)
                if forward is not None and file.identity.sound:
                    computed = forward(file)
                else:
                    computed = not_checked("forward", UNSOUND if forward else NO_FORWARD)
                seen = passing.result()
            finally:
                stop.set()
        findings = Findings(file, seen, computed, tuple(claims), level, graph=graph(file))
        collected: tuple[BlockStatistics, ...] = ()
        if statistics:
            with clock.measuring("statistics of the weights"):
                collected = statistics_of(file, progress)
        rows = run_checks(findings)
        return report_on(findings, rows, statistics=collected, took=clock.stop())


def against(text: str, subject: Path, progress: Progress | None = None) -> Claim:
    """What `--against` means: a digest, or a file whose weights `subject` has to hold.

    Raises UsageError if it is no digest and no file, `subject` itself, or holds no complete HorNet;
    for a file that is damaged or cannot be read as a checkpoint one of the FileRefusedErrors.
    """
    path, plain = file_of(Path(text)), text.strip().lower()
    if not path.exists():
        if _DIGEST.fullmatch(plain):
            return Claim(plain, "--against", "either")
        raise UsageError(
            "--against is neither a file nor a fingerprint",
            expected=f"a path, or {FULL} hex digits",
            found=printable(text),
            hint="`verify` prints the fingerprint of a file's weights.",
        )
    if subject.exists() and path.samefile(subject):
        raise UsageError(
            "--against is the file itself: that proves nothing",
            where=printable(text),
            hint="Give a file that you have from elsewhere.",
        )
    with open_checkpoint(path) as checkpoint:
        file = examine(checkpoint)
        if not file.identity.complete:
            raise UsageError(
                "--against holds no complete HorNet: it has no fingerprint",
                where=printable(text),
                hint="`hornet-convert verify` shows what is wrong with it; "
                "`hornet-convert compare` compares any two files.",
            )
        passing = reading(progress, "reading the reference")
        seen = scan(checkpoint, file.tensors, look_at_values=False, progress=passing)
        findings = Findings(file, seen)
        if seen.damaged:
            raise MalformedError(
                "--against is damaged: bytes do not match the CRC the file records",
                where=printable(text),
                found=f"CRC mismatch in {listed([printable(key) for key in seen.damaged])}",
                hint="Give an undamaged copy.",
            )
        name, tensors = file.identity.name, findings.digests
        digest = findings.fingerprint or ""
        return Claim(digest, printable(text), "fingerprint", model=name, tensors=tensors)


def required(file: ModelFile, require: Sequence[Requirement]) -> Level | None:
    """The least verdict that is asked for; raises UnsafeError if safety is, and is not given."""
    if "safe" in require and file.dangers:
        raise UnsafeError(
            ALARM,
            where=printable(str(file.checkpoint.path)),
            expected="a file that names nothing a plain load would run (--require safe)",
            found=dangers_in_words(file.dangers),
            hint="Do not load it with anything else. `hornet-convert inspect` shows what it names.",
        )
    return next((level for level in reversed(LEVELS) if level in require), None)


def statistics_of(file: ModelFile, progress: Progress | None) -> tuple[BlockStatistics, ...]:
    """The statistics of the file's weights, in the order of the computation, strangers last."""
    tensors, architecture = file.by_reference_name, file.identity.architecture
    if architecture is not None:
        order = [name for name in architecture.shapes(1) if name in tensors]
        tensors = {name: tensors[name] for name in dict.fromkeys([*order, *tensors])}
    return weight_statistics(file.checkpoint, tensors, reading(progress, "statistics"))


def report_on(
    findings: Findings,
    rows: Sequence[Check],
    *,
    statistics: tuple[BlockStatistics, ...] = (),
    notes: Sequence[str] = (),
    **facts: Any,
) -> Report:
    """The report of a file and its checks, with the notes that a reader should have.

    `facts` are members of the report that say where the file came from and what was written.
    """
    file, state, identity = findings.file, findings.file.state, findings.file.identity
    checks, sentences = explained(rows, recognise(findings))
    return Report(
        path=str(file.checkpoint.path),
        model=identity.name,
        layout=identity.layout,
        container=file.checkpoint.container,
        num_classes=identity.num_classes,
        sha256=findings.seen.sha256,
        fingerprint=findings.fingerprint,
        checks=tuple(checks),
        claims=findings.claims,
        dangers=file.dangers,
        notes=(*sentences, *_other_weights(findings), *_notes(findings), *notes),
        ema="taken" if state.is_ema else "present, not taken" if state.ema_wrapper else None,
        statistics=statistics,
        **facts,
    )


def _other_weights(findings: Findings) -> list[str]:
    """That other weights of the model are known, where none that is known are these."""
    computed, name = findings.fingerprint, findings.file.identity.name
    others = [c for c in findings.given if c.kind == "fingerprint" and not c.binding]
    known = [claim for claim in others if claim.model == name]
    if computed is None or any(claim.accepts(None, computed) for claim in known):
        return []
    return [f"{c.origin} knows other weights of {c.model}: fingerprint {c.digest}" for c in known]


def _notes(findings: Findings) -> list[str]:
    checkpoint, state = findings.file.checkpoint, findings.file.state
    notes: list[str] = []
    if checkpoint.parts > 1:
        notes.append(Aside(f"read from the {checkpoint.parts} files that the index lists"))
    if beside := checkpoint.beside:
        notes.append(f"the weights lie beside the model: the SHA-256 is that of {beside}")
    if state.wrapper:
        notes.append(Aside(f"the weights lie under {' → '.join(state.wrapper)!r}"))
    if state.prefix:
        notes.append(Aside(f"the prefix {state.prefix!r} was removed from the keys"))
    if norms := findings.file.identity.stage_norms:
        notes.append(
            "the norms that a detector has after each stage are no part of what is checked or "
            f"converted: {listed(norms)}"
        )
    if state.ema_wrapper is not None:
        where = " → ".join(state.ema_wrapper)
        taken = "were taken" if state.is_ema else "were not taken; --ema takes them"
        notes.append(f"averaged weights (EMA) lie under {where!r} and {taken}")
    if state.raw_wrapper is not None:
        raw = " → ".join(state.raw_wrapper)
        notes.append(
            f"mmengine exchanged the two when it saved: those under {raw!r} are not averaged; "
            f"--key {raw} takes them"
        )
    notes += [Aside(f"dropped: {line}") for line in state.dropped]
    edits = file_names.history(ours(findings.file.checkpoint.metadata).get("edits", ""), ())
    if edits:
        notes.append(
            f"the file says that its weights were edited ({', '.join(edits)}): they are not the "
            "published ones"
        )
    published = findings.file.identity.published
    return notes + [Aside(erratum) for erratum in (published.errata if published else ())]
