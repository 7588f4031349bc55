"""Reports, the nine models, and what was seen in images, as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hornet_convert.family import zoo
from hornet_convert.report.report import ALARM, Dangers, Report, dangers_in_words
from hornet_convert.report.trace import Trace
from hornet_convert.report.verdict import MEANINGS
from hornet_convert.text import printable

if TYPE_CHECKING:
    from hornet_convert.comparison.outcome import Side
    from hornet_convert.images.evaluation import Evaluation
    from hornet_convert.images.predict import Predicted

STYLES = {"pass": "green", "fail": "bold red", "error": "bold red", "not checked": "yellow"}
VERDICT_STYLES = {
    "authentic": "bold green",
    "seen before": "green",
    "identified": "green",
    "consistent": "yellow",
    "failed": "bold red",
}
PIPE_WIDTH = 120
TABLE_WIDTH = 180  # a column per check
BAR_WIDTH = 24
SKIPPED_SHOWN = 12


def console(width: int = PIPE_WIDTH) -> Console:
    """Where human output goes: stdout, at its own width on a terminal and a given one elsewhere."""
    screen = Console(markup=False, highlight=False, emoji=False)
    if not screen.is_terminal:
        screen.width = width
    return screen


def table(*names: str, numbers: Sequence[str] = (), last: str | None = None) -> Table:
    """An empty table with columns for names, for numbers, and for words; long first ones fold."""
    shown = any((*names, *numbers, last))
    made = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), show_header=shown)
    for name in names:
        made.add_column(name, overflow="fold", no_wrap=len(names) > 1)
    for title in numbers:
        made.add_column(title, justify="right", no_wrap=True)
    if last is not None:
        made.add_column(last, overflow="fold")
    return made


def figure(value: float | None, form: str) -> str:
    """A number in a table; a dash where there is none."""
    return "–" if value is None else format(value, form)


def facts(found: Report | Side, unknown: str, *more: str) -> str:
    """What a file holds, in a line."""
    said = [
        found.model or unknown,
        found.layout and f"{found.layout} layout",
        found.container and f"{found.container} container",
        *more,
        None if found.num_classes is None else f"{found.num_classes} classes",
    ]
    return ", ".join(fact for fact in said if fact)


def print_report(report: Report) -> None:
    """The verdict on one checkpoint."""
    screen = console()
    line = Text(f"{printable(report.path, 400)}: " if report.path else "")
    line.append(report.status.upper(), STYLES[report.status])
    screen.print(line.append(f" {facts(report, 'not identified')}"))
    print_alarm(report.dangers, screen)
    if report.checks:
        rows = table("", "", last="")
        for check in report.checks:
            status = Text(check.status, STYLES[check.status])
            detail = check.detail.removeprefix("not checked, ")
            rows.add_row(status, check.code, printable(detail, 4000))
        screen.print(rows)
    if report.trace is not None and report.trace.around:
        screen.print(_deviations(report.trace))
    if report.verdict is not None:
        word = report.verdict.word
        line = Text("verdict ").append(word, VERDICT_STYLES[word])
        screen.print(line.append(f". {MEANINGS[word]}"))
        if report.verdict.claim is not None:
            screen.print(f"by {printable(report.verdict.claim.origin, 1000)}")
    for note in report.notes:
        screen.print(f"note: {printable(note, 1000)}")
    if report.fingerprint:
        screen.print(f"fingerprint {report.fingerprint}")
    if report.error is not None:
        screen.print(f"error: {report.error.message}", style=STYLES["error"])
        if report.error.hint:
            screen.print(f"hint: {printable(report.error.hint, 4000)}")
    if report.output:
        screen.print(f"written {printable(report.output, 4000)}", soft_wrap=True)
    elif report.status == "fail" and any(check.code == "readback" for check in report.checks):
        screen.print("nothing written")


def print_alarm(dangers: Dangers, screen: Console) -> None:
    """The sentence on a file that is dangerous to others, in red, and why it is."""
    if dangers:
        screen.print(f"{ALARM} {dangers_in_words(dangers)}", style="bold red")


def _deviations(trace: Trace) -> Table:
    """The parts around the first one that diverges."""
    rows = table("    part", numbers=("largest value", "deviation", "relative", ""))
    first = None if trace.first_diverging is None else trace.parts[trace.first_diverging]
    for part in trace.around:
        rows.add_row(
            f"    {part.module}",
            f"{part.largest:.3e}",
            f"{part.absolute:.3e}",
            f"{part.relative:.1e}",
            "first to differ" if part is first else "",
            style=STYLES["fail"] if part is first else "",
        )
    return rows


def print_models(rows: list[dict[str, Any]]) -> None:
    """The nine as a table; an asterisk marks a published figure that is explained below it."""
    shown = table(
        "name",
        "pretraining",
        numbers=("pixels", "parameters", "published", "FLOPs", "published", "top-1", "top-5"),
    )
    for row in rows:
        mark = "" if row["published_parameters_right"] else " *"
        shown.add_row(
            row["name"],
            row["pretraining"],
            str(row["resolution"]),
            f"{row['parameters']:,}",
            f"{row['published_parameters_m']:.2f} M{mark}",
            f"{row['flops']:,}",
            f"{row['published_flops_g']:.2f} G",
            figure(row["top1"], ".2f"),
            figure(row["top5"], ".2f"),
        )
    screen = console()
    screen.print(shown)
    screen.print()
    for row in rows:
        screen.print(f"{row['name']}: {row['file']}", soft_wrap=True)
    screen.print()
    screen.print("Parameters with 1000 classes; FLOPs are multiply-adds at the model's resolution.")
    for row in rows:
        for erratum in row["errata"]:
            screen.print(f"{row['name']}: {erratum}")


def print_line(report: Report) -> None:
    """One line for one model of several."""
    screen = console()
    line = Text(f"{report.name or '?'}: ").append(_outcome(report))
    why = printable(report.first_failure, 1000)
    screen.print(line.append(f" {why}" if why else ""), soft_wrap=True)
    print_alarm(report.dangers, screen)


def _outcome(report: Report) -> Text:
    return Text(report.outcome, STYLES.get(report.outcome, "yellow"))


def print_validation(reports: Sequence[Report], seconds: Sequence[float]) -> None:
    """The table at the end of `validate`: a column per check, a row per model, and the counts."""
    codes = list(dict.fromkeys(check.code for report in reports for check in report.checks))
    signs = {"pass": "pass", "fail": "FAIL", "not checked": "–"}
    rows = table("model", "outcome", "verdict", *codes, "container", "source", numbers=("seconds",))
    rows.padding = (0, 1, 0, 0)
    for report, took in zip(reports, seconds, strict=True):
        cells = {c.code: Text(signs[c.status], STYLES[c.status]) for c in report.checks}
        rows.add_row(
            report.name or "?",
            _outcome(report).append(" DANGEROUS" if report.dangers else "", "bold red"),
            "" if report.verdict is None else report.verdict.word,
            *(cells.get(code, "") for code in codes),
            report.container or "",
            str((report.source or {}).get("name", "")),
            f"{took:.1f}",
        )
    screen = console(TABLE_WIDTH)
    screen.print(rows)
    words = [report.outcome for report in reports]
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    screen.print(f"{len(reports)} models: {', '.join(counts)}")
    if "unreachable" in words:
        screen.print("unreachable says nothing about a checkpoint: it was not checked")


def print_prediction(result: Predicted) -> None:
    """One image: its classes with their probabilities as bars, or why it was left out."""
    screen = console()
    line = Text(printable(result.path, 400), "bold")
    if result.error is not None:
        why = result.error.what + (f": {result.error.found}" if result.error.found else "")
        line.append(f": skipped, {printable(why, 400)}", STYLES["error"])
        screen.print(line, soft_wrap=True)
        return
    screen.print(line, soft_wrap=True)
    rows = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows.add_column(justify="right", no_wrap=True, width=len("100.00 %"))
    rows.add_column(width=BAR_WIDTH, no_wrap=True)
    rows.add_column(justify="right", no_wrap=True, width=len("10458"))
    rows.add_column(no_wrap=True)
    rows.add_column(no_wrap=True)  # the only one that gives way on a narrow terminal
    for prediction in result.predictions:
        names = prediction.names
        rows.add_row(
            f"{100 * prediction.probability:.2f} %",
            Bar(1.0, 0.0, prediction.probability, width=BAR_WIDTH, color="cyan"),
            str(prediction.number),
            *(("", "") if names is None else (names.synset, names.words)),
        )
    screen.print(rows)


def print_skipped(results: Sequence[Predicted]) -> None:
    """How many images were left out, if any were."""
    skipped = sum(result.error is not None for result in results)
    if skipped:
        console().print(f"{skipped} of {len(results)} images skipped", style=STYLES["error"])


def print_evaluation(evaluation: Evaluation) -> None:
    """Top-1 and Top-5 beside the published ones, and what was left out."""
    screen = console()
    screen.print(_evaluated(evaluation), soft_wrap=True)
    rows = table("", numbers=("right", "measured", "published", "difference", "standard errors"))
    for name, accuracy in (("Top-1", evaluation.top1), ("Top-5", evaluation.top5)):
        rows.add_row(
            name,
            f"{accuracy.correct:,}",
            f"{accuracy.percent:.2f} ± {accuracy.standard_error:.2f}",
            figure(accuracy.published, ".2f"),
            figure(accuracy.difference, "+.2f"),
            figure(accuracy.standard_errors, "+.1f"),
        )
    screen.print(rows)
    for skipped in evaluation.skipped[:SKIPPED_SHOWN]:
        many = f" ({skipped.images:,} images)" if skipped.images > 1 else ""
        line = printable(f"skipped {skipped.where}: {skipped.reason}{many}", 400)
        screen.print(line, style=STYLES["not checked"], soft_wrap=True)
    if len(evaluation.skipped) > SKIPPED_SHOWN:
        screen.print(f"and {len(evaluation.skipped) - SKIPPED_SHOWN:,} more; --json lists all")
    for note in evaluation.notes:
        screen.print(f"note: {note}")


def _evaluated(evaluation: Evaluation) -> str:
    row = zoo.BY_NAME.get(evaluation.model)
    name = f"{row.label} ({row.name})" if row else evaluation.model
    images = evaluation.tally.images
    rate = images / max(evaluation.seconds, 1e-9)
    said = [
        f"{name} at {evaluation.resolution} × {evaluation.resolution}",
        f"{images:,} images of {evaluation.dataset.classes:,} classes",
        f"{evaluation.skipped_images:,} skipped" if evaluation.skipped_images else "",
        f"{evaluation.seconds:.1f} s ({rate:.1f} images/s)",
        f"{evaluation.processes} processes" if evaluation.processes > 1 else "",
    ]
    return f"{printable(str(evaluation.dataset.source), 400)}: {', '.join(filter(None, said))}"
