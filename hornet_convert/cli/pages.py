"""Reports for people, written to their places."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hornet_convert.conversion.provenance import versions
from hornet_convert.conversion.publish import disk_errors, publish_bytes, refuse_special
from hornet_convert.errors import DiskError
from hornet_convert.family import zoo
from hornet_convert.pages.page import GENERATOR, index, page
from hornet_convert.verification.report import Report


def write_page(report: Report, path: Path) -> None:
    """Write the page on one checkpoint."""
    _publish(page(report, _about()), path)


def write_pages(reports: Sequence[Report], folder: Path) -> None:
    """Write a page for each of several models, and an index of them in the zoo's order."""
    about = _about()
    order = list(zoo.BY_NAME)
    known = sorted(reports, key=lambda r: order.index(r.model) if r.model in order else len(order))
    links = [(report, f"{report.model or number}.html") for number, report in enumerate(known)]
    for report, link in links:
        _publish(page(report, about), folder / link)
    _publish(index(links, about), folder / "index.html")


def _about() -> dict[str, str]:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"Made": now, "By": ", ".join(f"{name} {v}" for name, v in versions().items())}


def _publish(text: str, path: Path) -> None:
    """Write a page; what stands there already has to be one."""
    refuse_special(path)
    if path.exists():
        with disk_errors(path, "reading"), path.open("rb") as file:
            start = file.read(1000)
        if GENERATOR.encode() not in start:
            raise DiskError(
                "the report would replace a file that is no report",
                where=str(path),
                hint="Name another file, as in --report report.html.",
            )
    publish_bytes(text.encode(), path)
