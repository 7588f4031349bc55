"""One checkpoint: verified, converted, compared, inspected. The forward check joins in here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hornet_convert.checkpoint.reader import Checkpoint, open_checkpoint
from hornet_convert.checks import verify as verifying
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion import convert as converting
from hornet_convert.conversion.proof import Proof
from hornet_convert.conversion.readback import Wanted
from hornet_convert.conversion.request import Request
from hornet_convert.inspect import Inspection, inspect_checkpoint
from hornet_convert.report.check import Check
from hornet_convert.report.claims import Claim
from hornet_convert.report.progress import Progress
from hornet_convert.report.report import Report
from hornet_convert.report.trace import Probe
from hornet_convert.report.verdict import Requirement

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

    `forward` makes the forward check, which needs torch, on the images of `probe`; everything else
    is as for `hornet_convert.checks.verify.verify`, and so is what it raises.
    """

    def check(file: ModelFile) -> Check:
        from hornet_convert.model.forward import forward_check

        return forward_check(file, probe)

    return verifying.verify(
        Path(path),
        model=model,
        claims=claims,
        require=require,
        key=key,
        ema=ema,
        prefix=prefix,
        forward=check if forward else None,
        statistics=statistics,
        progress=progress,
    )


def convert(
    path: str | os.PathLike[str],
    request: Request,
    *,
    forward: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Convert a checkpoint to one new file, proven before it gets its name.

    `forward` makes the forward check, which needs torch. Everything else is as for
    `hornet_convert.conversion.convert.convert`, and so is what it raises.
    """

    def prove(file: ModelFile, asked: Wanted, result: Checkpoint) -> Proof:
        from hornet_convert.model import forward as proving

        return proving.prove(file, asked, result)

    return converting.convert(Path(path), request, prove if forward else None, progress)


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
