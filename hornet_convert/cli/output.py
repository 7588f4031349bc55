"""How a command ends: reports shown or written to their files, the exit code chosen."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import click

from hornet_convert.errors import EXIT_OK, HornetConvertError, as_ours
from hornet_convert.interrupts import LOCK, last_words
from hornet_convert.report.document import command_of, document, finite, so_far, worst_exit_code
from hornet_convert.report.report import Report, dangers_in_words
from hornet_convert.text import printable

if TYPE_CHECKING:
    from hornet_convert.report.results import CheckpointResult


def tell(report: Report, as_json: bool, verbose: bool, subject: str | None = None) -> None:
    """Show one report, or keep it for the document, there as what it was named: `subject`."""
    if not as_json:
        show(report, verbose)
        return
    told = report.to_json()
    told["subject"] = subject or told["subject"]
    so_far.append(told)


def show(report: Report, verbose: bool = False) -> None:
    """Show one report: on stdout what was found out, on stderr why the rest was not."""
    from hornet_convert.cli.render import print_report

    if report.error is None or report.checks:
        with to_stdout():
            print_report(report, verbose)
    if report.error is not None:
        print_error(report.error, report.path or report.asked)


def finish(
    reports: Sequence[Report],
    as_json: bool,
    problems: Sequence[HornetConvertError] = (),
) -> int:
    """End a command whose reports were told: the JSON document, or the table of several.

    `problems` are those of the files beside the outcome. Returns the exit code.
    """
    if as_json:
        return print_document(so_far, problems)
    if len(reports) > 1:
        from hornet_convert.cli.render import print_several

        with to_stdout():
            print_several(reports)
    return with_problems(worst_exit_code(report.exit_code for report in reports), problems)


def reports_to_json(
    reports: Sequence[Report], seconds: Sequence[float] | None = None
) -> list[CheckpointResult]:
    """The reports as results of a document, with what each took."""
    taken: Sequence[float | None] = seconds or [None] * len(reports)
    return [report.to_json(took) for report, took in zip(reports, taken, strict=True)]


def problem_of(write: Callable[[], None]) -> list[HornetConvertError]:
    """Write something beside the result; why that failed, nothing if it did not."""
    try:
        write()
    except Exception as error:
        if "HORNET_CONVERT_TRACEBACK" in os.environ:
            raise
        return [as_ours(error)]
    return []


def with_problems(code: int, problems: Sequence[HornetConvertError]) -> int:
    """The exit code, once stderr has told what went wrong beside the work.

    It is that of the first problem, unless `code` tells of another failure.
    """
    for problem in problems:
        print_error(problem)
        code = code or problem.exit_code
    return code


def print_document(
    results: Sequence[Mapping[str, Any]],
    problems: Sequence[HornetConvertError] = (),
    about: Mapping[str, Any] | None = None,
) -> int:
    """Write the document of the command that is running to stdout; returns the exit code.

    `problems` are of the files beside the results: the first is told.
    """
    names = click.get_current_context().command_path.split()[1:]
    told = document(command_of(names), results, error=next(iter(problems), None), about=about)
    untold = print_json(told)
    return told["exit_code"] or untold


def print_json(document: Mapping[str, Any]) -> int:
    """Write the one JSON document to stdout: whole, and none after it.

    If stdout does not take it, stderr says so; returns the exit code for that, 0 if it did.
    """
    text, untold = as_json(document), list[OSError]()
    with to_stdout(untold):
        last_words.clear()
        sys.stdout.write(text)
    return with_problems(EXIT_OK, [*map(as_ours, untold)])


@contextlib.contextmanager
def about(subject: object) -> Iterator[None]:
    """What goes wrong in the block is about one thing, which the document then names."""
    try:
        yield
    except Exception as error:
        ours = as_ours(error)
        ours.subject = str(subject)
        if ours is error:
            raise
        raise ours from error


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
            ours = OSError(error.errno, error.strerror, "standard output")
            if untold is None:
                raise ours from error
            give_up_stdout()
            untold.append(ours)


def as_json(document: Mapping[str, Any]) -> str:
    """A JSON document as text, with its last line ended."""
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


def print_error(error: HornetConvertError, about: str | None = None) -> None:
    """Say on stderr what went wrong, with which file or model, and what to do."""
    with LOCK:
        message = printable(error.what, 4000) if error.reasons else error.message
        about = printable(about or "", 4000)
        about = "" if about in message else f"{about}: "
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
