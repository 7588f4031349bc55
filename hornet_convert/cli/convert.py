"""`hornet-convert convert`."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options
from hornet_convert.conversion.edits import Target
from hornet_convert.conversion.result_name import Format
from hornet_convert.verification.verdict import Requirement


@click.command()
@options.ckpt
@options.out
@options.layout
@options.edits
@options.file_format
@options.model
@options.references
@options.require
@options.ema
@options.no_forward
@options.force
@options.report
@options.as_json
def convert(
    ckpt: Path,
    out: Path,
    layout: Target,
    file_format: Format,
    model: str | None,
    require: Requirement | None,
    ema: bool,
    no_forward: bool,
    force: bool,
    html: Path | None,
    as_json: bool,
    **more: object,
) -> int:
    """Convert a local checkpoint, and prove the result before it gets its name.

    \b
    Examples:
      hornet-convert convert --ckpt hornet_tiny_gf.pth --out weights
      hornet-convert convert --ckpt hornet_tiny_gf.safetensors --layout openmmlab --format pth
      hornet-convert convert --ckpt hornet_large_gf.pth --head in1k --resolution 384 --dtype float16
    """
    from hornet_convert.cli.finish import finish
    from hornet_convert.cli.progress import progress_bars
    from hornet_convert.conversion import convert as conversion

    with progress_bars() as bars:
        request = conversion.Request(
            out,
            layout,
            model,
            references=options.references_from(more, ckpt, bars.show),
            require=require,
            ema=ema,
            forward=not no_forward,
            force=force,
            statistics=html is not None,
            edits=options.edits_from(more),
            format=file_format,
        )
        report = conversion.convert(ckpt, request, bars.show)
    return finish(report, as_json, html)
