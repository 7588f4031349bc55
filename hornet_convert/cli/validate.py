"""`hornet-convert validate`."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@options.download
@options.no_forward
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the JSON there.",
)
@click.option(
    "--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write JUnit XML there."
)
@click.option(
    "--report",
    "pages",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a report for people on each model there, and an index.",
)
def validate(
    names: tuple[str, ...],
    no_forward: bool,
    json_file: Path | None,
    junit: Path | None,
    pages: Path | None,
    **how: object,
) -> int:
    """Fetch, convert, verify and read back every published checkpoint; keep no result.

    All nine, or those named. A source that cannot be reached is told apart from a failed check.

    \b
    Example:
      hornet-convert validate --mirror https://example.org/hornet --json result.json
    """
    from hornet_convert import validate as validation
    from hornet_convert.cli import documents, render
    from hornet_convert.cli.progress import progress_bars
    from hornet_convert.conversion.publish import publish_bytes
    from hornet_convert.verification.report import summary_to_json, worst_exit_code

    models = options.chosen(names, every=not names)
    reports = []
    with progress_bars() as bars:
        for report in validation.validate(
            models,
            options.download_from(how),
            forward=not no_forward,
            statistics=pages is not None,
            events=bars.download,
            progress=bars.conversion,
        ):
            reports.append(report)
            render.print_line(report)
    render.print_validation(reports)
    if pages is not None:
        from hornet_convert.cli.pages import write_pages

        write_pages(reports, pages)
    if json_file is not None:
        publish_bytes(documents.as_json(summary_to_json(reports)).encode(), json_file)
    if junit is not None:
        publish_bytes(validation.junit(reports), junit)
    return worst_exit_code(reports)
