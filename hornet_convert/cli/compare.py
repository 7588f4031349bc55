"""`hornet-convert compare`."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--tensors", is_flag=True, help="Show every changed tensor, not only the blocks.")
@click.option("--ema", is_flag=True, help="Take the averaged (EMA) weights in B.")
@options.as_json
def compare(a: Path, b: Path, tensors: bool, ema: bool, as_json: bool) -> int:
    """Compare the weights in two checkpoints, whatever container, layout or type they come in.

    Exit code 0 if every tensor is the same bit for bit, 1 if not. The sentence says what the
    difference looks like: rounding, a scale, an averaged (EMA) twin, a few numbers, other weights.

    \b
    Example:
      hornet-convert compare hornet_tiny_gf.pth hornet-tiny-gf_1000c-0123abcd.safetensors
    """
    from hornet_convert.cli.progress import progress_bars
    from hornet_convert.comparison import compare as comparing
    from hornet_convert.errors import EXIT_CHECK_FAILED, EXIT_OK

    with progress_bars() as bars:
        found = comparing.compare(a, b, ema=ema, progress=bars.show)
    if as_json:
        from hornet_convert.cli.documents import print_json

        print_json(found.as_json())
    else:
        from hornet_convert.cli.render_comparison import print_comparison

        print_comparison(found, tensors)
    return EXIT_OK if found else EXIT_CHECK_FAILED
