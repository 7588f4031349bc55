"""Reports as a person reads them, and as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hornet_convert.errors import printable
from hornet_convert.report import Report

STYLES = {"pass": "green", "fail": "bold red", "error": "bold red", "not checked": "yellow"}
PIPE_WIDTH = 120


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def console() -> Console:
    """Where human output goes: stdout, wide enough for a digest when it is not a terminal."""
    plain = Console(markup=False, highlight=False)
    return plain if plain.is_terminal else Console(markup=False, highlight=False, width=PIPE_WIDTH)


def print_report(report: Report) -> None:
    """The verdict on one checkpoint."""
    screen = console()
    screen.print(_headline(report))
    if report.checks:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in report.checks:
            status = Text(check.status, STYLES[check.status])
            detail = check.detail.removeprefix("not checked, ")
            table.add_row(status, check.code, printable(detail, 4000))
        screen.print(table)
    for note in report.notes:
        screen.print(Text(f"note: {printable(note, 1000)}"))
    if report.fingerprint:
        screen.print(Text(f"fingerprint {report.fingerprint}"))
    if report.error is not None:
        screen.print(Text(f"error: {report.error.message}", STYLES["error"]))
        if report.error.hint:
            screen.print(Text(f"hint: {report.error.hint}"))
    if report.output:
        screen.print(Text(f"written {report.output}"), soft_wrap=True)
    elif report.status == "fail" and any(check.code == "readback" for check in report.checks):
        screen.print(Text("nothing written"))


def _headline(report: Report) -> Text:
    facts = [
        report.model or "not identified",
        f"{report.layout} layout" if report.layout else None,
        f"{report.container} container" if report.container else None,
        f"{report.num_classes} classes" if report.num_classes is not None else None,
    ]
    path = printable(report.path or "", 400)
    line = Text(f"{path}: " if path else "")
    line.append(report.status.upper(), STYLES[report.status])
    line.append(" " + ", ".join(fact for fact in facts if fact))
    return line


def print_models(rows: list[dict[str, Any]]) -> None:
    """The nine as a table; an asterisk marks a published figure that is explained below it."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("name", "pretraining"):
        table.add_column(title, no_wrap=True)
    for title in ("pixels", "parameters", "published", "FLOPs", "published", "top-1", "top-5"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        mark = "" if row["published_parameters_right"] else " *"
        table.add_row(
            row["name"],
            row["pretraining"],
            str(row["resolution"]),
            f"{row['parameters']:,}",
            f"{row['published_parameters_m']:.2f} M{mark}",
            f"{row['flops']:,}",
            f"{row['published_flops_g']:.2f} G",
            "–" if row["top1"] is None else f"{row['top1']:.2f}",
            "–" if row["top5"] is None else f"{row['top5']:.2f}",
        )
    screen = console()
    screen.print(table)
    screen.print()
    for row in rows:
        screen.print(Text(f"{row['name']}: {row['file']}"), soft_wrap=True)
    screen.print()
    screen.print(
        Text("Parameters with 1000 classes; FLOPs are multiply-adds at the model's resolution.")
    )
    for row in rows:
        for erratum in row["errata"]:
            screen.print(Text(f"{row['name']}: {erratum}"))
