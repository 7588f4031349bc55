"""One checkpoint: verified, converted, compared, inspected. The forward check joins in here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hornet_convert.checkpoint.folder import CONFIG, file_of
from hornet_convert.checkpoint.reader import Checkpoint, open_checkpoint
from hornet_convert.checks import verify as verifying
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion import convert as converting
from hornet_convert.conversion.proof import Proof
from hornet_convert.conversion.readback import Wanted
from hornet_convert.conversion.request import Request
from hornet_convert.errors import CheckFailedError
from hornet_convert.family import zoo
from hornet_convert.inspect import Inspection, inspect_checkpoint
from hornet_convert.report.check import Check
from hornet_convert.report.claims import Claim
from hornet_convert.report.clock import Clock
from hornet_convert.report.progress import Progress
from hornet_convert.report.report import Report
from hornet_convert.report.trace import Probe
from hornet_convert.report.verdict import Requirement

if TYPE_CHECKING:
    from hornet_convert.onnx.runtime import Case

USUAL = Probe()


def verify(
    path: str | os.PathLike[str],
    *,
    model: str | None = None,
    claims: Sequence[Claim] = (),
    require: Sequence[Requirement] = (),
    key: str | None = None,
    ema: bool = False,
    prefix: str | None = None,
    forward: bool = True,
    probe: Probe = USUAL,
    statistics: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Say what a checkpoint file is and whether it is right; writes nothing, needs no network.

    `path` may be a folder with one model, whose `config.json` must then say the same of it.
    `forward` makes the forward check, which needs torch, on the images of `probe`; everything else
    is as for `hornet_convert.checks.verify.verify`, and so is what it raises.
    """
    clock = Clock()
    clock.seconds["starting (processor time)"] = time.process_time()

    def graph(file: ModelFile) -> Check | None:
        if file.checkpoint.container != "onnx":
            return None
        from hornet_convert.onnx.rebuilt import graph_check

        return graph_check(file)

    def check(file: ModelFile) -> Check:
        with clock.measuring("importing torch"):
            from hornet_convert.model.forward import forward_check
        with clock.measuring("the two computations"):
            return forward_check(file, probe, progress)

    where = file_of(Path(path))
    report = verifying.verify(
        where,
        model=model,
        claims=claims,
        require=require,
        key=key,
        ema=ema,
        prefix=prefix,
        forward=check if forward else None,
        graph=graph,
        statistics=statistics,
        progress=progress,
        clock=clock,
    )
    single = None if report.trace is None or not probe.float32 else report.trace.float32
    if single is not None:
        note = f"in float32 the outputs are within {single.relative:.1e} of those in float64"
        report = replace(report, notes=(*report.notes, note))
    if where == Path(path) or report.model is None:
        return report
    from hornet_convert.model.located import require_agreement

    try:
        architecture = zoo.architecture_of(report.model)
        require_agreement(where.with_name(CONFIG), architecture, report.num_classes)
    except CheckFailedError as error:
        report = replace(report, error=error)
    return report


def convert(
    path: str | os.PathLike[str],
    request: Request,
    *,
    forward: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Convert a checkpoint to one new file, proven before it gets its name.

    `forward` makes the forward check, which needs torch, and the proof of an ONNX model, if one is
    asked for. Everything else is as for `hornet_convert.conversion.convert.convert`, and so is what
    it raises.
    """

    def prove(file: ModelFile, asked: Wanted, result: Checkpoint) -> Proof:
        from hornet_convert.model import forward as proving

        return proving.prove(file, asked, result, progress)

    def converted(request: Request) -> Report:
        return converting.convert(Path(path), request, prove if forward else None, progress)

    if request.onnx is None:
        return converted(request)
    from hornet_convert.onnx.make import with_model

    return with_model(converted, request, cases_for(request) if forward else None)


def cases_for(request: Request) -> Callable[[ModelFile, bool], list[Case] | str]:
    """What the proof of an ONNX model runs, or why it cannot; needs torch."""

    def cases(file: ModelFile, features: bool) -> list[Case] | str:
        from hornet_convert.model import reference

        return reference.cases(file, features, asked=request.edits.resolution is not None)

    return cases


def inspect(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    ema: bool = False,
    prefix: str | None = None,
) -> Inspection:
    """Say what is in any checkpoint, HorNet or not, without running or loading anything of it."""
    with open_checkpoint(path) as checkpoint:
        return inspect_checkpoint(checkpoint, key=key, ema=ema, prefix=prefix)
