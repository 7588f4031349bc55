"""`hornet-convert verify`."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options
from hornet_convert.verification.verdict import Requirement


@click.command()
@options.ckpt
@options.model
@options.references
@options.require
@options.ema
@options.no_forward
@options.probe
@options.report
@options.as_json
def verify(
    ckpt: Path,
    model: str | None,
    require: Requirement | None,
    ema: bool,
    no_forward: bool,
    html: Path | None,
    as_json: bool,
    **more: object,
) -> int:
    """Tell the truth about any file: what it is, and whether it is right. Writes nothing.

    The verdict is authentic, identified or consistent, or failed. The files in the trust record
    (see `pins`) count as known.

    \b
    Examples:
      hornet-convert verify --ckpt hornet-tiny_3rdparty_in1k_20220915-0e8eedff.pth
      hornet-convert verify --ckpt copy.safetensors --against original.pth --require authentic
    """
    from hornet_convert.cli.finish import finish
    from hornet_convert.cli.progress import progress_bars
    from hornet_convert.errors import UsageError
    from hornet_convert.verification import verify as verification

    probe = options.probe_from(more)
    if no_forward and probe is not None:
        raise UsageError(
            "--no-forward was given with an option of the forward check",
            hint="Leave out --no-forward, or --image-size, --seed and --batch.",
        )
    with progress_bars() as bars:
        report = verification.verify(
            ckpt,
            model=model,
            references=options.references_from(more, ckpt, bars.show),
            require=require,
            ema=ema,
            forward=not no_forward,
            probe=probe,
            statistics=html is not None,
            progress=bars.show,
        )
    return finish(report, as_json, html)
