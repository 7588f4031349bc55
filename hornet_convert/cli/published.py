"""Commands on the nine published checkpoints: `list`, `fetch`, `validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hornet_convert.bars import Bars
from hornet_convert.cli import asked, completion, options, output, pages
from hornet_convert.conversion.request import Onnx
from hornet_convert.errors import HornetConvertError, as_ours
from hornet_convert.family import zoo
from hornet_convert.files.writing import publish_bytes
from hornet_convert.report.document import document, result, so_far, worst_exit_code
from hornet_convert.report.report import Report
from hornet_convert.text import listed

if TYPE_CHECKING:
    from hornet_convert.report.results import PublishedResult


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
        return output.print_document(rows)
    from hornet_convert.cli import render

    render.print_models(rows)
    return 0


def _row(model: zoo.Published) -> PublishedResult:
    """One of the nine as a JSON object; parameters and FLOPs are computed here, not copied."""
    architecture = model.architecture
    return {
        **result(model.name),
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
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=completion.names_or_all)
@click.option("--all", "every", is_flag=True, help="All nine.")
@options.result
@options.download
@options.no_forward
@options.report
@options.verbose
@options.as_json
def fetch_command(
    names: tuple[str, ...],
    every: bool,
    html: Path | None,
    verbose: bool,
    as_json: bool,
    **values: Any,
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
    request = asked.request_from(values, statistics=html is not None)
    for model in models:  # what cannot be is said before anything is downloaded
        request.edits.check(model.architecture, request.layout)
    download = asked.download_from(values)
    title = f"Fetching {listed([model.name for model in models])}"
    with pages.errors_on_page(html, title), Bars(values["quiet"]) as bars:
        say = bars.say if verbose and not as_json else lambda line: None
        say(asked.cache_line(download.cache, "before"))
        reports = []
        for report in fetch.fetch(
            models, download, request, events=bars.download, progress=bars.conversion
        ):
            reports.append(report)
            with bars.aside():
                output.tell(report, as_json, verbose)
        say(asked.cache_line(download.cache, "after"))
    order = [model.name for model in models]
    reports.sort(key=lambda report: order.index(report.asked or ""))
    so_far.sort(key=lambda result: order.index(result["subject"]))
    return output.finish(reports, as_json, pages.of_reports(html, reports))


@click.command("validate")
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=completion.names_or_all)
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
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write an HTML report on each model to this folder, and an index.",
)
def validate_command(
    names: tuple[str, ...],
    onnx: bool,
    json_file: Path | None,
    junit: Path | None,
    folder: Path | None,
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

    pages.require_apart({"--json": json_file, "--junit": junit})
    models: list[zoo.Published] = []
    reports: list[Report] = []
    seconds: list[float] = []
    untold: list[OSError] = []  # a full stdout stops neither the work nor the other files

    def write_json(problem: HornetConvertError | None) -> None:
        order = [model.name for model in models]
        results = output.reports_to_json(reports, seconds)
        results.sort(key=lambda result: order.index(result["subject"]))
        text = output.as_json(document("validate", results, error=problem))
        if json_file is not None:
            publish_bytes(text.encode(), json_file, "--json")

    try:
        models = asked.chosen(names, every=not names)
        with Bars(values["quiet"]) as bars:
            for report, took in validate.validate(
                models,
                asked.download_from(values),
                statistics=folder is not None,
                onnx=Onnx() if onnx else None,
                events=bars.download,
                progress=bars.conversion,
            ):
                reports.append(report)
                seconds.append(took)
                with bars.aside(), output.to_stdout(untold):
                    render.print_line(report)
    except Exception as error:
        reason = as_ours(error)
        output.problem_of(lambda: write_json(reason))
        raise
    with output.to_stdout(untold):
        render.print_validation(reports, seconds)
    problems = [*map(as_ours, untold)]
    if junit is not None:
        xml = output.junit(reports, seconds)
        problems += output.problem_of(lambda: publish_bytes(xml, junit, "--junit"))
    if folder is not None:
        problems += output.problem_of(lambda: pages.write_pages(reports, seconds, folder))
    problems += output.problem_of(lambda: write_json(problems[0] if problems else None))
    return output.with_problems(worst_exit_code(r.exit_code for r in reports), problems)
