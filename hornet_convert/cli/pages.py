"""Files beside the outcome of a command: pages, lists. If one fails, that hides nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hornet_convert.cli.output import problem_of, with_problems
from hornet_convert.errors import EXIT_USAGE, DiskError, HornetConvertError, UsageError, as_ours
from hornet_convert.family import zoo
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.writing import publish_bytes, refuse_special
from hornet_convert.report.report import Report

About = Mapping[str, str]


def of(path: Path | None, make: Callable[[About], str]) -> list[HornetConvertError]:
    """Write the page that --report asks for, if it does; why that failed."""
    return [] if path is None else problem_of(lambda: _publish(make(_about()), path))


def of_reports(path: Path | None, reports: Sequence[Report]) -> list[HornetConvertError]:
    """Write the page on one checkpoint or several, if it is asked for; why that failed.

    None is written where the only report says that the command line is at fault.
    """

    def make(about: About) -> str:
        from hornet_convert.html.page import page, several

        return page(reports[0], about) if len(reports) == 1 else several(reports, about)

    at_fault = [report.exit_code for report in reports] == [EXIT_USAGE]
    return of(None if at_fault else path, make)


@contextlib.contextmanager
def errors_on_page(path: Path | None, title: str) -> Iterator[None]:
    """Write what cannot be done on the page, too, unless the command line itself is at fault."""
    try:
        yield
    except Exception as error:
        ours = as_ours(error)
        if path is not None and ours.exit_code != EXIT_USAGE:
            from hornet_convert.html.environment import error_page

            with_problems(0, of(path, lambda about: error_page(title, ours, about)))
        raise


def write_csv(text: str, path: Path, titles: Sequence[str]) -> None:
    """Write a list; what stands there already has to be one with these titles. Raises DiskError."""
    _replace(text, path, ",".join(titles), "--csv", "list")


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
    from hornet_convert.html.environment import GENERATOR

    _replace(text, path, GENERATOR, "--report", "report")


def require_places(page: Path | None, listing: Path | None, titles: Sequence[str]) -> None:
    """Raise before a long work what writing its page and list would be refused for after it."""
    require_apart({"--report": page, "--csv": listing})
    if page is not None:
        from hornet_convert.html.environment import GENERATOR

        _require_ours(page, GENERATOR, "--report", "report")
    if listing is not None:
        _require_ours(listing, ",".join(titles), "--csv", "list")


def require_apart(files: Mapping[str, Path | None]) -> None:
    """Raise UsageError if two options, the keys, name one file."""
    options: dict[str, str] = {}
    for option, path in files.items():
        other = options.setdefault(os.path.realpath(path), option) if path else option
        if other != option:
            raise UsageError(
                f"{other} and {option} name the same file",
                where=str(path),
                hint="Give each a file of its own.",
            )


def _replace(text: str, path: Path, mark: str, option: str, what: str) -> None:
    """Write a file, if it may replace what stands there."""
    _require_ours(path, mark, option, what)
    publish_bytes(text.encode("utf-8", "surrogateescape"), path, option)


def _require_ours(path: Path, mark: str, option: str, what: str) -> None:
    """Raise DiskError if a file stands there that has not the mark of ours at its start."""
    with disk_errors(path, "reading", option):
        refuse_special(path)
        if path.exists():
            with path.open("rb") as file:
                start = file.read(1000)
            if mark.encode() not in start:
                raise DiskError(
                    f"the {what} would replace a file that is not a {what}",
                    where=str(path),
                    hint=f"Name another place with {option}; what stands there is left alone.",
                )
