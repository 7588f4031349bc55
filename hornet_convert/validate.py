"""`validate`: what CI runs. Every model through the whole of `fetch`, the results thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from hornet_convert.conversion.convert import Request
from hornet_convert.conversion.publish import disk_errors
from hornet_convert.download.edges import Event, ignore
from hornet_convert.family import zoo
from hornet_convert.fetch import Download, fetch
from hornet_convert.verification.report import Report, first_failure, outcome
from hornet_convert.verification.subject import Progress


def validate(
    models: Sequence[zoo.Published],
    how: Download,
    *,
    forward: bool = True,
    statistics: bool = False,
    events: Callable[[Event], None] = ignore,
    progress: Callable[[str], Progress | None] = lambda name: None,
) -> Iterator[Report]:
    """Fetch, convert, verify and read back each model; yields its report with the seconds it took.

    The seconds are those from one report to the next: downloads run ahead of the conversions.
    """
    with disk_errors(how.cache.folder, "making a temporary folder"):
        how.cache.folder.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(prefix="validate-", dir=how.cache.folder)
    with scratch as folder:
        begun = time.monotonic()
        request = Request(Path(folder), forward=forward, statistics=statistics)
        for report in fetch(models, how, request, events=events, progress=progress):
            if report.output is not None:
                Path(report.output).unlink()
            now = time.monotonic()
            yield replace(report, output=None, seconds=round(now - begun, 2))
            begun = now


def junit(reports: Sequence[Report]) -> bytes:
    """The reports as JUnit XML: one case per model; unreachable is *skipped*, with the reason."""
    words = [outcome(report) for report in reports]
    suite = ElementTree.Element(
        "testsuite",
        name="hornet-convert validate",
        tests=str(len(reports)),
        failures=str(words.count("fail")),
        errors=str(words.count("error")),
        skipped=str(words.count("unreachable")),
        time=f"{sum(report.seconds or 0 for report in reports):.2f}",
    )
    tags = {"fail": "failure", "error": "error", "unreachable": "skipped"}
    for report, word in zip(reports, words, strict=True):
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname="hornet-convert",
            name=report.model or "?",
            time=f"{report.seconds or 0:.2f}",
        )
        rows = [f"{check.status}: {check.code}: {check.detail}" for check in report.checks]
        if word in tags:
            why = report.error.message if report.error else first_failure(report)
            ElementTree.SubElement(case, tags[word], message=_xml(why)).text = _xml("\n".join(rows))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml("\n".join(rows))
    ElementTree.indent(suite)
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 does not allow."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)
