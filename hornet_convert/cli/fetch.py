"""`hornet-convert fetch`."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options
from hornet_convert.conversion.edits import Target
from hornet_convert.conversion.result_name import Format


@click.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="All nine.")
@options.out
@options.download
@options.layout
@options.edits
@options.file_format
@options.ema
@options.no_forward
@options.force
@options.as_json
def fetch(
    names: tuple[str, ...],
    every: bool,
    out: Path,
    layout: Target,
    file_format: Format,
    ema: bool,
    no_forward: bool,
    force: bool,
    as_json: bool,
    **how: object,
) -> int:
    """Download, check, convert and prove published checkpoints.

    NAME is any spelling: large-gf384, HorNet-L-GF384, hornet_large_gf_img384, or the file's stem.
    Sources are tried in order: the mirror, OpenMMLab, the authors' links.

    \b
    Examples:
      hornet-convert fetch large-gf384
      hornet-convert fetch --all --out weights --mirror /mnt/hornet
      hornet-convert fetch large-gf --head in1k --resolution 384 --format pth --layout openmmlab
    """
    from hornet_convert import fetch as fetching
    from hornet_convert.cli.finish import finish, finish_many
    from hornet_convert.cli.progress import progress_bars
    from hornet_convert.conversion.convert import Request

    models = options.chosen(names, every)
    edits = options.edits_from(how)
    for model in models:  # what cannot be is said before anything is downloaded
        edits.check(model.architecture, layout)
    request = Request(
        out,
        layout,
        ema=ema,
        forward=not no_forward,
        force=force,
        edits=edits,
        format=file_format,
    )
    download = options.download_from(how)
    with progress_bars() as bars:
        if not as_json:
            bars.say(options.cache_line(download.cache, "before"))
        reports = []
        for report in fetching.fetch(
            models, download, request, events=bars.download, progress=bars.conversion
        ):
            reports.append(report)
            if not as_json and len(models) > 1:
                bars.say(f"{report.model}: {report.status}")
        if not as_json:
            bars.say(options.cache_line(download.cache, "after"))
    return finish(reports[0], as_json) if len(models) == 1 else finish_many(reports, as_json)
