"""How a command ends: reports shown or written to their files, the exit code chosen."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click

from hornet_convert.errors import DiskError, HornetConvertError
from hornet_convert.family import zoo
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.writing import publish_bytes, refuse_special
from hornet_convert.interrupts import LOCK, last_words
from hornet_convert.report.report import (
    Report,
    dangers_in_words,
    finite,
    summary_to_json,
    worst_exit_code,
)
from hornet_convert.text import printable


def show(report: Report, verbose: bool = False) -> None:
    """Show one report: on stdout what was found out, on stderr why the rest was not."""
    from hornet_convert.cli.render import print_report

    if report.error is None or report.checks:
        with to_stdout():
            print_report(report, verbose)
    if report.error is not None:
        print_error(report.error, report.path or report.asked)


def finish(reports: Sequence[Report], as_json: bool, html: Path | None = None) -> int:
    """End a command whose reports were shown: the JSON document or the table of several, the page.

    The JSON document of one report is the report itself, that of several a summary. The page is of
    the first. Returns the exit code.
    """
    if as_json:
        print_json(reports[0].to_json() if len(reports) == 1 else summary_to_json(reports))
    elif len(reports) > 1:
        from hornet_convert.cli.render import print_several

        with to_stdout():
            print_several(reports)
    code = worst_exit_code(reports)
    if html is None:
        return code
    return with_pages(code, lambda: write_page(reports[0], html))


def with_pages(code: int, write: Callable[[], None]) -> int:
    """Write pages once everything else has been shown, and return the exit code.

    If that fails, stderr says so, and the exit code is the error's unless `code` tells of another
    failure.
    """
    try:
        write()
    except HornetConvertError as error:
        print_error(error)
        return code or error.exit_code
    return code


def print_json(document: dict[str, Any]) -> None:
    """Write the one JSON document to stdout: whole, and none after it."""
    text = as_json(document)
    with to_stdout():
        last_words.clear()
        sys.stdout.write(text)


@contextlib.contextmanager
def to_stdout(untold: list[OSError] | None = None) -> Iterator[None]:
    """Write without being cut in half; a reader that goes first, as `head` does, is no error.

    Whatever else stdout does not take is one, which is raised, or put into `untold` for later.
    """
    with LOCK:
        try:
            yield
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):  # rich's way to say the same
            give_up_stdout()
        except OSError as error:
            if untold is None:
                raise
            give_up_stdout()
            untold.append(error)


def as_json(document: dict[str, Any]) -> str:
    """A JSON document as text, with its last line ended."""
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


def print_error(error: HornetConvertError, about: str | None = None) -> None:
    """Say on stderr what went wrong, with which file or model, and what to do."""
    with LOCK:
        message = printable(error.what, 4000) if error.reasons else error.message
        about = f"{printable(about, 4000)}: " if about and about not in message else ""
        click.echo(f"Error: {about}{message}", err=True)
        for reason in error.reasons:
            click.echo(f"  {printable(reason, 4000)}", err=True)
        if error.hint:
            click.echo(f"Hint: {printable(error.hint, 4000)}", err=True)


def give_up_stdout() -> None:
    """Write nothing more to stdout, not even at exit what is still buffered."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def junit(reports: Sequence[Report], seconds: Sequence[float]) -> bytes:
    """The reports as JUnit XML: one case per model; unreachable is *skipped*, with the reason."""
    words = [report.outcome for report in reports]
    suite = ElementTree.Element(
        "testsuite",
        name="hornet-convert validate",
        tests=str(len(reports)),
        failures=str(words.count("fail")),
        errors=str(words.count("error")),
        skipped=str(words.count("unreachable")),
        time=f"{sum(seconds):.2f}",
    )
    tags = {"fail": "failure", "error": "error", "unreachable": "skipped"}
    for report, word, took in zip(reports, words, seconds, strict=True):
        facts = {"classname": "hornet-convert", "name": report.name or "?", "time": f"{took:.2f}"}
        case = ElementTree.SubElement(suite, "testcase", facts)
        rows = [f"{report.alarm} {dangers_in_words(report.dangers)}"] if report.alarm else []
        rows += [f"{check.status}: {check.code}: {check.detail}" for check in report.checks]
        about = {"message": printable(report.first_failure, 4000)} if word in tags else {}
        tag = tags.get(word, "system-out")
        ElementTree.SubElement(case, tag, about).text = "\n".join(printable(r, 4000) for r in rows)
    ElementTree.indent(suite)
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"


def write_page(report: Report, path: Path) -> None:
    """Write the page on one checkpoint. Raises DiskError."""
    from hornet_convert.html.page import page

    _publish(page(report, _about()), path)


def write_pages(reports: Sequence[Report], seconds: Sequence[float], folder: Path) -> None:
    """Write a page for each model, named after it, and an index of them in the zoo's order.

    Raises DiskError.
    """
    from hornet_convert.html.page import index, page

    about, order = _about(), [*zoo.BY_NAME]
    rows = []
    for report, took in zip(reports, seconds, strict=True):
        link = f"{report.name or 'unidentified'}.html"
        _publish(page(report, about), folder / link)
        rows.append((report, link, took))
    rows.sort(key=lambda row: order.index(row[0].name) if row[0].name in order else len(order))
    _publish(index(rows, about), folder / "index.html")


def _about() -> dict[str, str]:
    """When a page was made, and by what."""
    from hornet_convert.conversion.provenance import versions

    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"Made": now, "By": ", ".join(f"{name} {v}" for name, v in versions().items())}


def _publish(text: str, path: Path) -> None:
    """Write a page; what stands there already has to be one."""
    from hornet_convert.html.page import GENERATOR

    with disk_errors(path, "reading", "--report"):
        refuse_special(path)
        if path.exists():
            with path.open("rb") as file:
                start = file.read(1000)
            if GENERATOR.encode() not in start:
                raise DiskError(
                    "the report would replace a file that is not a report",
                    where=str(path),
                    hint="Name another place with --report; what stands there is left alone.",
                )
    publish_bytes(text.encode(), path, "--report")
