"""Commands on a local checkpoint: `verify`, `convert`, `compare`, `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hornet_convert.cli import options, output
from hornet_convert.cli.progress import Bars
from hornet_convert.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from hornet_convert.report.trace import Probe


@click.command("verify")
@options.checked
@options.key
@options.ema
@options.no_forward
@options.probe
@options.report
@options.as_json
def verify_command(
    ckpt: Path, no_forward: bool, html: Path | None, as_json: bool, **values: Any
) -> int:
    """Tell the truth about any file: what it is, and whether it is right. Writes nothing.

    The verdict is authentic, identified or consistent, or failed. The files in the trust record
    (see `pins`) count as known.

    \b
    Examples:
      hornet-convert verify --ckpt hornet-tiny_3rdparty_in1k_20220915-0e8eedff.pth
      hornet-convert verify --ckpt copy.safetensors --against original.pth --require authentic
    """
    from hornet_convert.api import checkpoints

    probe = Probe(values["image_size"], values["seed"], values["batch"])
    if no_forward and probe != Probe():
        raise UsageError(
            "--no-forward was given with an option of the forward check",
            hint="Leave out --no-forward, or --image-size, --seed and --batch.",
        )
    with Bars() as bars:
        report = checkpoints.verify(
            ckpt,
            model=values["model"],
            claims=options.claims_from(values, ckpt, bars.show),
            require=values["require"],
            **options.which(values),
            forward=not no_forward,
            probe=probe,
            statistics=html is not None,
            progress=bars.show,
        )
    return output.finish([report], as_json, html)


@click.command("convert")
@options.checked
@options.result
@options.no_forward
@options.report
@options.as_json
def convert_command(
    ckpt: Path, no_forward: bool, html: Path | None, as_json: bool, **values: Any
) -> int:
    """Convert a local checkpoint, and prove the result before it gets its name.

    \b
    Examples:
      hornet-convert convert --ckpt hornet_tiny_gf.pth --out weights
      hornet-convert convert --ckpt hornet_tiny_gf.safetensors --layout openmmlab --format pth
      hornet-convert convert --ckpt hornet_large_gf.pth --head in1k --resolution 384 --dtype float16
    """
    from hornet_convert.api import checkpoints

    with Bars() as bars:
        request = options.request_from(
            values,
            model=values["model"],
            claims=options.claims_from(values, ckpt, bars.show),
            require=values["require"],
            statistics=html is not None,
        )
        report = checkpoints.convert(ckpt, request, forward=not no_forward, progress=bars.show)
    return output.finish([report], as_json, html)


@click.command("compare")
@click.argument("a", type=options.PATH)
@click.argument("b", type=options.PATH)
@click.option("--tensors", is_flag=True, help="Show every changed tensor, not only the blocks.")
@click.option("--ema", is_flag=True, help="Take the averaged (EMA) weights in B.")
@options.as_json
def compare_command(a: Path, b: Path, tensors: bool, ema: bool, as_json: bool) -> int:
    """Compare the weights in two checkpoints, whatever container, layout or type they come in.

    Exit code 0 if every tensor is the same bit for bit, 1 if not. The sentence says what the
    difference looks like: rounding, a scale, an averaged (EMA) twin, a few numbers, other weights.

    \b
    Example:
      hornet-convert compare hornet_tiny_gf.pth hornet-tiny-gf_1000c-0123abcd.safetensors
    """
    from hornet_convert.comparison import compare

    with Bars() as bars:
        found = compare.compare(a, b, ema=ema, progress=bars.show)
    if as_json:
        output.print_json(found.as_json())
    else:
        from hornet_convert.cli import render_contents

        with output.to_stdout():
            render_contents.print_comparison(found, tensors)
    return EXIT_OK if found else EXIT_CHECK_FAILED


@click.command("inspect")
@click.argument("file", type=options.PATH)
@click.option("--tensors", is_flag=True, help="Show every tensor, not only the blocks.")
@options.key
@options.ema
@options.as_json
def inspect_command(file: Path, tensors: bool, as_json: bool, **which: Any) -> int:
    """Show what is in a checkpoint, HorNet or not, without running or loading anything of it.

    Container, wrapper, layout, model, tensors by block, what lies beside the weights, and what a
    plain pickle.load of the file would import and call.

    \b
    Example:
      hornet-convert inspect unknown.pth
    """
    from hornet_convert.api import checkpoints

    found = checkpoints.inspect(file, **which)
    if as_json:
        output.print_json({"status": "pass", **found.as_json()})
    else:
        from hornet_convert.cli import render_contents

        render_contents.print_inspection(found, tensors)
    return EXIT_OK
