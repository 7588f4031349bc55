"""`hornet-convert inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tensors", is_flag=True, help="Show every tensor, not only the blocks.")
@options.ema
@options.as_json
def inspect(file: Path, tensors: bool, ema: bool, as_json: bool) -> int:
    """Show what is in a checkpoint, HorNet or not, without running or loading anything of it.

    Container, wrapper, layout, model, tensors by block, what lies beside the weights, and what a
    plain pickle.load of the file would import and call.

    \b
    Example:
      hornet-convert inspect unknown.pth
    """
    from hornet_convert.checkpoint.reader import open_checkpoint
    from hornet_convert.inspect import inspect_checkpoint

    with open_checkpoint(file) as checkpoint:
        found = inspect_checkpoint(checkpoint, ema)
    if as_json:
        import json

        click.echo(json.dumps({"status": "pass", **found.as_json()}, indent=2))
    else:
        from hornet_convert.cli.render_inspection import print_inspection

        print_inspection(found, tensors)
    return 0
