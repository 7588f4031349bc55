"""Reports, and the nine models, as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from hornet_convert.cli.screen import STACKED_BELOW, Screen, figure, table
from hornet_convert.report.check import Check
from hornet_convert.report.report import ALARM, Aside, Dangers, Report, dangers_in_words
from hornet_convert.report.trace import Trace
from hornet_convert.report.verdict import MEANINGS
from hornet_convert.text import counted, listed, printable

if TYPE_CHECKING:
    from hornet_convert.comparison.outcome import Side
    from hornet_convert.report.results import PublishedResult

STYLES = {"pass": "green", "fail": "bold red", "error": "bold red", "not checked": "yellow"}
VERDICT_STYLES = {
    "authentic": "bold green",
    "seen before": "green",
    "identified": "green",
    "consistent": "yellow",
    "failed": "bold red",
}


def facts(found: Report | Side, unknown: str, *more: str) -> str:
    """What a file holds, in a line."""
    known = [
        found.model or unknown,
        found.layout and f"{found.layout} layout",
        found.container and f"{found.container} container",
        *more,
        None
        if found.num_classes is None
        else f"{found.num_classes} {'class' if found.num_classes == 1 else 'classes'}",
    ]
    return ", ".join(fact for fact in known if fact)


def print_report(report: Report, verbose: bool = False) -> None:
    """The verdict on one checkpoint: in a few lines, or all there is to say.

    What failed comes first. The reason why the work could not be done is not part of it: that goes
    to stderr.
    """
    screen = Screen()
    model = next((c for c in report.checks if (c.code, c.status) == ("model", "fail")), None)
    stranger = model is not None and report.layout is None and not verbose
    what = model.detail if model and stranger else facts(report, "not identified")
    screen.say(printable(what, 4000), report.status.upper(), STYLES[report.status], pad=5)
    print_alarm(report.dangers, screen)
    _origin(report, screen)
    if stranger:
        return
    # A file that was never written has no row of its own.
    rows = [c for c in report.checks if (c.code, c.status) != ("readback", "not checked")]
    for check in rows:
        if verbose or check.status == "fail":
            _row(check, screen)
    if report.trace is not None and report.trace.around:
        screen.show(_deviations(report.trace))
    if report.verdict is not None:
        word, claim = report.verdict.word, report.verdict.claim
        by = f", by {printable(claim.origin, 1000)}" if claim else ""
        meaning = MEANINGS[word]
        if not verbose and word == "failed":
            meaning = "That reference says otherwise." if claim else "A check failed."
        elif not verbose:
            meaning = meaning.partition(". ")[0].rstrip(".") + "."
        screen.say(f"{word}{by}. {meaning}", "verdict", VERDICT_STYLES[word])
    if rows and not verbose:
        screen.say(_counts(rows), "checks")
    for note in report.notes:
        if verbose or not isinstance(note, Aside):
            screen.say(printable(note, 1000), "note")
    if verbose and report.fingerprint:
        screen.say(report.fingerprint, "weights")
    if report.output:
        screen.say(printable(report.output, 4000), "written")
    elif report.status == "fail" and any(check.code == "readback" for check in report.checks):
        screen.say("No output file was created.")


def _origin(report: Report, screen: Screen) -> None:
    """Where the file came from, or which file it is."""
    if report.source is not None:
        cached = " (cached)" if report.source.get("from_cache") else ""
        screen.say(printable(f"{report.source['url']}{cached}", 4000), "from")
    elif report.path:
        screen.say(printable(report.path, 4000), "file")


def _row(check: Check, screen: Screen) -> None:
    """One check: in columns, or on a narrow terminal with its words below it."""
    detail = printable(check.detail.removeprefix("not checked, "), 4000)
    code = f"{check.code:<11}"
    if screen.width < STACKED_BELOW:
        screen.print(
            Text(f"{check.status:<13}", STYLES[check.status]).append(check.code, "default")
        )
        screen.say(f"    {detail}", indent=4)
    else:
        line = f"{check.status:<11}  {code}  "
        screen.say(detail, line.rstrip(), STYLES[check.status], pad=len(line))


def _counts(rows: Sequence[Check]) -> str:
    """How many checks passed and failed, and which were not made."""
    count = {word: sum(row.status == word for row in rows) for word in ("pass", "fail")}
    parts = [f"{count['pass']} passed"] + [f"{count['fail']} failed"] * bool(count["fail"])
    skipped = [row.code for row in rows if row.status == "not checked"]
    if skipped:
        parts.append(f"not checked: {', '.join(skipped)}")
    return f"{'; '.join(parts)} (-v shows all)"


def print_alarm(dangers: Dangers, screen: Screen) -> None:
    """The sentence on a file that is dangerous to others, in red, and why it is."""
    if dangers:
        screen.say(f"{ALARM} {dangers_in_words(dangers)}", style="bold red")


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


def print_models(rows: Sequence[PublishedResult]) -> None:
    """The nine as a table; an asterisk marks a figure whose published form is explained below."""
    screen = Screen()
    shown = _models(rows, published=True)
    whole = screen.fits(shown)
    screen.show(shown if whole else _models(rows, published=False))
    screen.print()
    for row in rows:
        screen.say(f"{row['name']}: {row['file']}")
    screen.print()
    screen.say("Parameters with 1000 classes; FLOPs are multiply-adds at the model's resolution.")
    if wrong := [
        f"{row['name']} {row['published_flops_g']:.2f} G (computed {row['flops'] / 1e9:.3f} G)"
        for row in rows
        if not _flops_are_right(row)
    ]:
        screen.say(
            f"{'* ' * whole}Published FLOPs that were not rounded to nearest: {', '.join(wrong)}. "
            "All nine follow from the definition by one rule."
        )
    errata: dict[str, list[str]] = {}
    for row in rows:
        for erratum in row["errata"]:
            errata.setdefault(erratum, []).append(row["name"])
    for erratum, names in errata.items():
        screen.say(f"{', '.join(names)}: {erratum}")


def _models(rows: Sequence[PublishedResult], published: bool) -> Table:
    also = ("published",) if published else ()
    shown = table(
        "name",
        "pretraining",
        numbers=("pixels", "parameters", *also, "FLOPs", *also, "top-1", "top-5"),
    )
    for row in rows:
        known = "" if row["published_parameters_right"] else " *"
        exact = "" if _flops_are_right(row) else " *"
        shown.add_row(
            row["name"],
            row["pretraining"],
            str(row["resolution"]),
            f"{row['parameters']:,}",
            *([f"{row['published_parameters_m']:.2f} M{known}"] if published else []),
            f"{row['flops']:,}",
            *([f"{row['published_flops_g']:.2f} G{exact}"] if published else []),
            figure(row["top1"], ".2f"),
            figure(row["top5"], ".2f"),
        )
    return shown


def _flops_are_right(row: PublishedResult) -> bool:
    """Whether the published figure is what the definition gives, rounded to 0.01 G."""
    return bool(abs(row["flops"] / 1e9 - row["published_flops_g"]) <= 0.005)


def print_line(report: Report) -> None:
    """One line for one model of several."""
    screen = Screen()
    line = Text(f"{report.name or '?'}: ").append(_outcome(report))
    why = printable(report.first_failure, 1000)
    screen.print(line.append(f" {why}" if why else ""), soft_wrap=True)
    print_alarm(report.dangers, screen)


def _outcome(report: Report) -> Text:
    return Text(report.outcome, STYLES.get(report.outcome, "yellow"))


def _verdict(report: Report) -> str:
    return "" if report.verdict is None else report.verdict.word


def print_several(reports: Sequence[Report]) -> None:
    """The table after the reports on several checkpoints: the last column never breaks."""
    screen = Screen()
    rows = [("model", "outcome", "verdict", "file")]
    for report in reports:
        file = report.output or (report.path if report.source is None else None) or ""
        rows.append((report.name or "–", report.outcome, _verdict(report), printable(file, 4000)))
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    screen.print()
    for number, row in enumerate(rows):
        line = Text(f"{row[0]:<{widths[0]}}  ")
        line.append(f"{row[1]:<{widths[1]}}", STYLES.get(row[1], "yellow") if number else "")
        line.append(f"  {row[2]:<{widths[2]}}  {row[3]}")
        line.rstrip()
        if not number:
            line.stylize("bold")
        screen.print(line, soft_wrap=True)
    _print_counts(reports, screen, "file" if all(r.asked is None for r in reports) else "model")


def _print_counts(reports: Sequence[Report], screen: Screen, what: str) -> None:
    words = [report.outcome for report in reports]
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    screen.say(f"{counted(len(reports), what)}: {', '.join(counts)}")
    if "unreachable" in words:
        screen.say("unreachable says nothing about a checkpoint: it was not checked")


def print_validation(reports: Sequence[Report], seconds: Sequence[float]) -> None:
    """The table at the end of `validate`: a row per model, and the counts.

    A column per check where there is room, else how many passed and which did not.
    """
    screen = Screen()
    wide = _validation(reports, seconds, stacked=False)
    screen.show(wide if screen.fits(wide) else _validation(reports, seconds, stacked=True))
    _print_counts(reports, screen, "model")


def _validation(reports: Sequence[Report], seconds: Sequence[float], stacked: bool) -> Table:
    codes = list(dict.fromkeys(check.code for report in reports for check in report.checks))
    signs = {"pass": "pass", "fail": "FAIL", "not checked": "–"}
    more = ("passed",) if stacked else (*codes, "file", "source")
    last = "others" if stacked else None
    rows = table("model", "outcome", "verdict", *more, numbers=("seconds",), last=last)
    rows.padding = (0, 2, 0, 0) if stacked else (0, 1, 0, 0)
    for report, took in zip(reports, seconds, strict=True):
        cells = {c.code: Text(signs[c.status], STYLES[c.status]) for c in report.checks}
        failed, skipped = (
            [c.code for c in report.checks if c.status == s] for s in ("fail", "not checked")
        )
        row: list[Text | str] = [
            report.name or "?",
            _outcome(report).append(" DANGEROUS" if report.dangers else "", "bold red"),
            _verdict(report),
        ]
        if stacked:
            passed = len(report.checks) - len(failed) - len(skipped)
            others = Text().append(f"FAIL: {listed(failed)} " if failed else "", STYLES["fail"])
            others.append(f"–: {listed(skipped)}" if skipped else "", STYLES["not checked"])
            row += [f"{passed} of {len(report.checks)}", f"{took:.1f}", others]
        else:
            row += [cells.get(code, "") for code in codes]
            row += [report.container or "", str((report.source or {}).get("name", ""))]
            row += [f"{took:.1f}"]
        rows.add_row(*row)
    return rows
