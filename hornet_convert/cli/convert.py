"""`hornet-convert convert`."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options
from hornet_convert.layouts import Layout
from hornet_convert.verdict import Requirement


@click.command()
@options.ckpt
@options.out
@options.layout
@options.model
@options.references
@options.require
@options.ema
@options.no_forward
@options.force
@options.as_json
def convert(
    ckpt: Path,
    out: Path,
    layout: Layout,
    model: str | None,
    require: Requirement | None,
    ema: bool,
    no_forward: bool,
    force: bool,
    as_json: bool,
    **known: object,
) -> int:
    r"""Convert a local checkpoint to safetensors, and prove the result before it gets its name.

    \b
    Example:
      hornet-convert convert --ckpt hornet_tiny_gf.pth --out weights
    """
    from hornet_convert import convert as conversion
    from hornet_convert.cli.finish import finish
    from hornet_convert.cli.progress import progress_bars

    with progress_bars() as bars:
        request = conversion.Request(
            out,
            layout,
            model,
            references=options.references_from(known, ckpt, bars.show),
            require=require,
            ema=ema,
            forward=not no_forward,
            force=force,
        )
        report = conversion.convert(ckpt, request, bars.show)
    return finish(report, as_json)
