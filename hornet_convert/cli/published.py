"""Commands on the nine published checkpoints: `list`, `fetch`, `validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hornet_convert.bars import Bars
from hornet_convert.cli import asked, options, output
from hornet_convert.conversion.request import Onnx
from hornet_convert.errors import as_ours
from hornet_convert.family import zoo
from hornet_convert.files.writing import publish_bytes
from hornet_convert.report.report import summary_to_json, worst_exit_code


@click.command("list")
@options.as_json
def list_command(as_json: bool) -> int:
    """List the nine published checkpoints.

    Parameters and FLOPs are computed from the definition.

    \b
    Example:
      hornet-convert list --json
    """
    rows = [_row(model) for model in zoo.MODELS]
    if as_json:
        output.print_json({"status": "pass", "models": rows})
    else:
        from hornet_convert.cli import render

        render.print_models(rows)
    return 0


def _row(model: zoo.Published) -> dict[str, Any]:
    """One of the nine as a JSON object; parameters and FLOPs are computed here, not copied."""
    architecture = model.architecture
    return {
        "name": model.name,
        "label": model.label,
        "file": model.file_name,
        "resolution": architecture.resolution,
        "pretraining": zoo.DATASETS[model.dataset],
        "parameters": architecture.parameters(model.published_classes),
        "parameters_classes": model.published_classes,
        "published_parameters_m": model.parameters_m,
        "published_parameters_right": model.parameters_are_right,
        "flops": architecture.flops(),
        "published_flops": model.flops_exact,
        "published_flops_g": model.flops_g,
        "top1": model.top1,
        "top5": model.top5,
        "errata": list(model.errata),
        "openmmlab_url": model.openmmlab_url,
        "official_urls": list(model.official_urls),
    }


@click.command("fetch")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="All nine.")
@options.result
@options.download
@options.no_forward
@options.verbose
@options.as_json
def fetch_command(
    names: tuple[str, ...], every: bool, verbose: bool, as_json: bool, **values: Any
) -> int:
    """Download, check, convert and prove published checkpoints.

    NAME is `all` or a model in any spelling: large-gf384, HorNet-L-GF384, hornet_large_gf_img384,
    the published file name. Sources are tried in order: your mirrors, OpenMMLab, the authors'
    links.

    \b
    Examples:
      hornet-convert fetch large-gf384
      hornet-convert fetch --all --out weights --mirror /mnt/hornet
      hornet-convert fetch large-gf --head in1k --resolution 384 --format pth --layout openmmlab
    """
    from hornet_convert.api import fetch

    models = asked.chosen(names, every)
    request = asked.request_from(values)
    for model in models:  # what cannot be is said before anything is downloaded
        request.edits.check(model.architecture, request.layout)
    download = asked.download_from(values)
    with Bars(values["quiet"]) as bars:
        say = bars.say if verbose and not as_json else lambda line: None
        say(asked.cache_line(download.cache, "before"))
        reports = []
        for report in fetch.fetch(
            models, download, request, events=bars.download, progress=bars.conversion
        ):
            reports.append(report)
            if not as_json:
                with bars.aside():
                    output.show(report, verbose)
        say(asked.cache_line(download.cache, "after"))
    return output.finish(reports, as_json)


@click.command("validate")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@options.download
@options.no_forward
@click.option("--onnx", is_flag=True, help="Make and prove an ONNX model of each as well.")
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=options.PATH,
    help="Write the results to this file, as JSON.",
)
@click.option(
    "--junit",
    metavar="FILE",
    type=options.PATH,
    help="Write the results to this file, as JUnit XML.",
)
@click.option(
    "--report",
    "pages",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write an HTML report on each model to this folder, and an index.",
)
def validate_command(
    names: tuple[str, ...],
    onnx: bool,
    json_file: Path | None,
    junit: Path | None,
    pages: Path | None,
    **values: Any,
) -> int:
    """Fetch, convert and verify as a test; nothing is kept.

    All nine published checkpoints, or those named. An unreachable source is not counted as a
    failed check.

    \b
    Example:
      hornet-convert validate --mirror https://example.org/hornet --json result.json
    """
    from hornet_convert.api import validate
    from hornet_convert.cli import render

    models = asked.chosen(names, every=not names)
    reports, seconds = [], []
    untold: list[OSError] = []  # a full stdout stops neither the work nor the other files
    with Bars(values["quiet"]) as bars:
        for report, took in validate.validate(
            models,
            asked.download_from(values),
            statistics=pages is not None,
            onnx=Onnx() if onnx else None,
            events=bars.download,
            progress=bars.conversion,
        ):
            reports.append(report)
            seconds.append(took)
            with bars.aside(), output.to_stdout(untold):
                render.print_line(report)
    with output.to_stdout(untold):
        render.print_validation(reports, seconds)
    if json_file is not None:
        document = output.as_json(summary_to_json(reports, seconds))
        publish_bytes(document.encode(), json_file, "--json")
    if junit is not None:
        publish_bytes(output.junit(reports, seconds), junit, "--junit")
    code = worst_exit_code(reports)
    for error in map(as_ours, untold):
        output.print_error(error)
        code = code or error.exit_code
    if pages is None:
        return code
    return output.with_pages(code, lambda: output.write_pages(reports, seconds, pages))
