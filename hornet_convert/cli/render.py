"""Reports as a person reads them."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hornet_convert.errors import printable
from hornet_convert.verification.report import Report, first_failure, outcome
from hornet_convert.verification.trace import Trace
from hornet_convert.verification.verdict import MEANINGS

STYLES = {"pass": "green", "fail": "bold red", "error": "bold red", "not checked": "yellow"}
VERDICT_STYLES = {
    "authentic": "bold green",
    "identified": "green",
    "consistent": "yellow",
    "failed": "bold red",
}
PIPE_WIDTH = 120
TABLE_WIDTH = 180  # a column per check


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command what a reader that has gone means; rich would exit with 1."""
        raise BrokenPipeError


def console(width: int = PIPE_WIDTH) -> Console:
    """Where human output goes: stdout, at its own width on a terminal and a given one elsewhere."""
    plain = _Screen(markup=False, highlight=False)
    return plain if plain.is_terminal else _Screen(markup=False, highlight=False, width=width)


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
    if report.trace is not None and report.trace.around:
        screen.print(_deviations(report.trace))
    if report.verdict is not None:
        word = report.verdict.word
        line = Text("verdict ").append(word, VERDICT_STYLES[word])
        screen.print(line.append(f". {MEANINGS[word]}"))
    for note in report.notes:
        screen.print(Text(f"note: {printable(note, 1000)}"))
    if report.fingerprint:
        screen.print(Text(f"fingerprint {report.fingerprint}"))
    if report.error is not None:
        screen.print(Text(f"error: {report.error.message}", STYLES["error"]))
        if report.error.hint:
            screen.print(Text(f"hint: {printable(report.error.hint, 4000)}"))
    if report.output:
        screen.print(Text(f"written {printable(report.output, 4000)}"), soft_wrap=True)
    elif report.status == "fail" and any(check.code == "readback" for check in report.checks):
        screen.print(Text("nothing written"))


def _deviations(trace: Trace) -> Table:
    """The parts around the first one that diverges."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 4))
    table.add_column("part", no_wrap=True)
    for title in ("largest value", "deviation", "relative", ""):
        table.add_column(title, justify="right", no_wrap=True)
    first = trace.first_diverging
    for part in trace.around:
        is_first = first is not None and part is trace.parts[first]
        table.add_row(
            part.module,
            f"{part.largest:.3e}",
            f"{part.absolute:.3e}",
            f"{part.relative:.1e}",
            "first to differ" if is_first else "",
            style=STYLES["fail"] if is_first else "",
        )
    return table


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


def print_line(report: Report) -> None:
    """One line for one model of several."""
    word = outcome(report)
    line = Text(f"{report.model or '?'}: ")
    line.append(word, STYLES.get(word, "yellow"))
    why = report.error.message if report.error else first_failure(report)
    console().print(line.append(f" {printable(why, 1000)}" if why else ""), soft_wrap=True)


def print_validation(reports: list[Report]) -> None:
    """The table at the end of `validate`: a column per check, a row per model, and the counts."""
    codes = list(dict.fromkeys(check.code for report in reports for check in report.checks))
    signs = {"pass": "pass", "fail": "FAIL", "not checked": "–"}
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for title in ("model", "outcome", "verdict", *codes, "container", "source", "seconds"):
        table.add_column(title, no_wrap=True)
    for report in reports:
        by_code = {check.code: check.status for check in report.checks}
        word = outcome(report)
        table.add_row(
            report.model or "?",
            Text(word, STYLES.get(word, "yellow")),
            "" if report.verdict is None else report.verdict.word,
            *(
                Text(signs[by_code[code]], STYLES[by_code[code]]) if code in by_code else ""
                for code in codes
            ),
            report.container or "",
            str((report.source or {}).get("name", "")),
            "" if report.seconds is None else f"{report.seconds:.1f}",
        )
    screen = console(TABLE_WIDTH)
    screen.print(table)
    words = [outcome(report) for report in reports]
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    screen.print(Text(f"{len(reports)} models: {', '.join(counts)}"))
    if "unreachable" in words:
        screen.print(Text("unreachable says nothing about a checkpoint: it was not checked"))
