"""Commands on a local checkpoint: `verify`, `convert`, `compare`, `inspect`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hornet_convert.bars import Bars
from hornet_convert.cli import asked, options, output, pages
from hornet_convert.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError, as_ours
from hornet_convert.report.report import Report
from hornet_convert.report.trace import Probe


@click.command("verify")
@options.checked
@options.key
@options.ema
@options.no_forward
@options.probe
@options.report
@options.verbose
@options.quiet
@options.as_json
def verify_command(no_forward: bool, html: Path | None, **values: Any) -> int:
    """Identify a checkpoint and report whether it is intact. Writes nothing.

    The verdict is authentic, seen before, identified, consistent or failed. Files in the trust
    record (see `pins`) count as known. Several files end with a table.

    \b
    Examples:
      hornet-convert verify hornet-tiny_3rdparty_in1k_20220915-0e8eedff.pth
      hornet-convert verify copy.safetensors --against original.pth --require authentic
    """
    from hornet_convert.api import checkpoints

    probe = Probe(*(values[name] for name in ("image_size", "seed", "batch", "float32")))
    if no_forward and probe != Probe():
        raise UsageError(
            "--no-forward was given with an option of the forward check",
            hint="Leave out --no-forward, or --image-size, --seed, --batch and --float32.",
        )

    def verify(file: Path, bars: Bars) -> Report:
        return checkpoints.verify(
            file,
            model=values["model"],
            claims=asked.claims_from(values, file, bars.show),
            require=values["require"],
            **asked.which(values),
            forward=not no_forward,
            probe=probe,
            statistics=html is not None,
            progress=bars.show,
        )

    return _each(verify, html, **values)


@click.command("convert")
@options.checked
@options.result
@options.no_forward
@options.report
@options.verbose
@options.quiet
@options.as_json
def convert_command(no_forward: bool, html: Path | None, **values: Any) -> int:
    """Convert local checkpoints.

    Each result is proved before it gets its name.

    \b
    Examples:
      hornet-convert convert hornet_tiny_gf.pth --out weights
      hornet-convert convert hornet_tiny_gf.safetensors --layout openmmlab --format pth
      hornet-convert convert hornet_large_gf.pth --head in1k --resolution 384 --dtype float16
    """
    from hornet_convert.api import checkpoints

    def convert(file: Path, bars: Bars) -> Report:
        request = asked.request_from(
            values,
            model=values["model"],
            claims=asked.claims_from(values, file, bars.show),
            require=values["require"],
            statistics=html is not None,
        )
        return checkpoints.convert(file, request, forward=not no_forward, progress=bars.show)

    return _each(convert, html, **values)


def _each(
    work: Callable[[Path, Bars], Report],
    html: Path | None,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> int:
    """Do the work of a command on each file; of several, one that fails does not stop the rest."""
    files = asked.files_from(values)
    asked.require_meaning(values)
    reports = []
    with Bars(quiet) as bars:
        for file in files:
            try:
                report = work(file, bars)
            except Exception as error:
                if "HORNET_CONVERT_TRACEBACK" in os.environ:
                    raise
                report = Report(path=str(file), error=as_ours(error))
            reports.append(report)
            with bars.aside():
                output.tell(report, as_json, verbose, str(file))
    return output.finish(reports, as_json, pages.of_reports(html, reports))


@click.command("compare")
@click.argument("a", type=options.PATH)
@click.argument("b", type=options.PATH)
@click.option("--tensors", is_flag=True, help="Show every changed tensor instead of blocks.")
@click.option("--ema", is_flag=True, help="Take the averaged (EMA) weights of B.")
@options.report
@options.quiet
@options.as_json
def compare_command(
    a: Path, b: Path, tensors: bool, ema: bool, html: Path | None, quiet: bool, as_json: bool
) -> int:
    """Compare the weights of two checkpoints.

    They may come in any container, layout and type. Exit code 0 if all tensors are equal bit for
    bit, 1 if not. A sentence says what the difference looks like: rounding, a scale, an averaged
    (EMA) twin, a few numbers, other weights.

    \b
    Example:
      hornet-convert compare hornet_tiny_gf.pth hornet-tiny-gf_1000c-0123abcd.safetensors
    """
    from hornet_convert.comparison import compare

    with (
        pages.errors_on_page(html, "Two checkpoints compared"),
        output.about(f"{a} {b}"),
        Bars(quiet) as bars,
    ):
        found = compare.compare(a, b, ema=ema, progress=bars.show)

    def page(about: pages.About) -> str:
        from hornet_convert.html.comparison import comparison_page

        return comparison_page(found, about)

    if as_json:
        return output.print_document([found.as_json()], pages.of(html, page))
    from hornet_convert.cli import render_contents

    with output.to_stdout():
        render_contents.print_comparison(found, tensors)
    return output.with_problems(EXIT_OK if found else EXIT_CHECK_FAILED, pages.of(html, page))


@click.command("inspect")
@click.argument("file", type=options.PATH)
@click.option("--tensors", is_flag=True, help="Show every tensor instead of blocks.")
@options.key
@options.ema
@options.as_json
def inspect_command(file: Path, tensors: bool, as_json: bool, **which: Any) -> int:
    """Show what is in any checkpoint; nothing in it is run.

    Container, wrapper, layout, model, tensors by block, what else the file holds, and what a plain
    pickle.load of it would import and call.

    \b
    Example:
      hornet-convert inspect unknown.pth
    """
    from hornet_convert.api import checkpoints

    with output.about(file):
        found = checkpoints.inspect(file, **which)
    if as_json:
        return output.print_document([found.as_json()])
    from hornet_convert.cli import render_contents

    render_contents.print_inspection(found, tensors)
    return EXIT_OK
