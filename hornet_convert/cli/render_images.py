"""Predictions and evaluations as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from hornet_convert.cli.render import STYLES, console
from hornet_convert.errors import printable
from hornet_convert.family import zoo
from hornet_convert.images.evaluation import Accuracy, Evaluation
from hornet_convert.model.predict import Predicted

BAR_WIDTH = 24
SHOWN = 12


def print_prediction(result: Predicted) -> None:
    """One image: its classes with their probabilities as bars, or why it was left out."""
    screen = console()
    line = Text(printable(result.path, 400), "bold")
    if result.error is not None:
        why = result.error.what + (f": {result.error.found}" if result.error.found else "")
        line.append(f": skipped, {printable(why, 400)}", STYLES["error"])
    screen.print(line, soft_wrap=True)
    if result.error is not None:
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True, width=len("100.00 %"))
    table.add_column(width=BAR_WIDTH, no_wrap=True)
    table.add_column(justify="right", no_wrap=True, width=len("10458"))
    table.add_column(no_wrap=True)
    table.add_column()  # the only one that gives way on a narrow terminal
    for prediction in result.predictions:
        names = prediction.names
        table.add_row(
            f"{100 * prediction.probability:.2f} %",
            Bar(1.0, 0.0, prediction.probability, width=BAR_WIDTH, color="cyan"),
            str(prediction.number),
            "" if names is None else names.synset,
            Text("" if names is None else names.words, no_wrap=True, overflow="ellipsis"),
        )
    screen.print(table)


def print_skipped(results: Sequence[Predicted]) -> None:
    """How many images were left out, if any were."""
    skipped = sum(result.error is not None for result in results)
    if skipped:
        console().print(Text(f"{skipped} of {len(results)} images skipped", STYLES["error"]))


def print_evaluation(evaluation: Evaluation) -> None:
    """Top-1 and Top-5 beside the published ones, and what was left out."""
    screen = console()
    screen.print(_headline(evaluation), soft_wrap=True)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("")
    for title in ("right", "measured", "published", "difference", "standard errors"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, accuracy in (("Top-1", evaluation.top1), ("Top-5", evaluation.top5)):
        table.add_row(name, *_cells(accuracy))
    screen.print(table)
    for skipped in evaluation.skipped[:SHOWN]:
        many = f" ({skipped.images:,} images)" if skipped.images > 1 else ""
        line = f"skipped {skipped.where}: {skipped.reason}{many}"
        screen.print(Text(printable(line, 400), STYLES["not checked"]), soft_wrap=True)
    if len(evaluation.skipped) > SHOWN:
        screen.print(Text(f"and {len(evaluation.skipped) - SHOWN:,} more; --json lists all"))
    for note in evaluation.notes:
        screen.print(Text(f"note: {note}"))


def _headline(evaluation: Evaluation) -> Text:
    row = zoo.BY_NAME.get(evaluation.model)
    name = evaluation.model if row is None else f"{row.label} ({evaluation.model})"
    facts = [
        f"{name} at {evaluation.resolution} × {evaluation.resolution}",
        f"{evaluation.tally.images:,} images of {evaluation.dataset.classes:,} classes",
    ]
    if evaluation.skipped_images:
        facts.append(f"{evaluation.skipped_images:,} skipped")
    rate = evaluation.tally.images / max(evaluation.seconds, 1e-9)
    facts.append(f"{evaluation.seconds:.1f} s ({rate:.1f} images/s)")
    if evaluation.processes > 1:
        facts.append(f"{evaluation.processes} processes")
    return Text(f"{printable(str(evaluation.dataset.source), 400)}: {', '.join(facts)}")


def _cells(accuracy: Accuracy) -> tuple[str, ...]:
    """Count, own and published share in per cent, their difference, that in standard errors."""
    published, difference = accuracy.published, accuracy.difference
    errors = accuracy.standard_errors
    return (
        f"{accuracy.correct:,}",
        f"{accuracy.percent:.2f} ± {accuracy.standard_error:.2f}",
        "–" if published is None else f"{published:.2f}",
        "–" if difference is None else f"{difference:+.2f}",
        "–" if errors is None else f"{errors:+.1f}",
    )
