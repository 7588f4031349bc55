"""What was seen in images, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from hornet_convert.cli.render import STYLES
from hornet_convert.cli.screen import Screen, figure, table
from hornet_convert.family import labels, zoo
from hornet_convert.text import counted, printable

if TYPE_CHECKING:
    from hornet_convert.images.evaluation import Evaluation
    from hornet_convert.images.predict import Predicted

BAR_WIDTH = 24
SKIPPED_SHOWN = 12
CONFUSIONS_SHOWN = 5


def print_prediction(result: Predicted) -> None:
    """One image: its classes with their probabilities as bars, or why it was left out."""
    screen = Screen()
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
    screen.show(rows)


def print_skipped(results: Sequence[Predicted]) -> None:
    """How many images were left out, if any were."""
    skipped = sum(result.error is not None for result in results)
    if skipped:
        Screen().print(
            f"{skipped} of {counted(len(results), 'image')} skipped", style=STYLES["error"]
        )


def print_evaluation(evaluation: Evaluation) -> None:
    """Top-1 and Top-5 beside the published ones, and what was left out."""
    screen = Screen()
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
    screen.show(rows)
    _print_confusions(evaluation, screen)
    for skipped in evaluation.skipped[:SKIPPED_SHOWN]:
        many = f" ({skipped.images:,} images)" if skipped.images > 1 else ""
        line = printable(f"skipped {skipped.where}: {skipped.reason}{many}", 400)
        screen.print(line, style=STYLES["not checked"], soft_wrap=True)
    if len(evaluation.skipped) > SKIPPED_SHOWN:
        screen.print(f"and {len(evaluation.skipped) - SKIPPED_SHOWN:,} more; --json lists all")
    for note in evaluation.notes:
        screen.say(printable(note, 1000), "note")


def _print_confusions(evaluation: Evaluation, screen: Screen) -> None:
    """The classes that were mistaken for each other most; once is no pattern."""
    rows = table("most confused", "taken for", numbers=("images",))

    def name(number: int) -> str:
        words = labels.named(number, evaluation.dataset.num_classes)["label"]
        return f"{number} {str(words).partition(',')[0]}" if words else str(number)

    for confusion in evaluation.confusions[:CONFUSIONS_SHOWN]:
        if confusion.images > 1:
            count = f"{confusion.images:,} of {confusion.of:,}"
            rows.add_row(name(confusion.truth), name(confusion.predicted), count)
    if rows.row_count:
        screen.show(rows)


def _evaluated(evaluation: Evaluation) -> str:
    row = zoo.BY_NAME.get(evaluation.model)
    name = f"{row.label} ({row.name})" if row else evaluation.model
    images = evaluation.tally.images
    rate = images / max(evaluation.seconds, 1e-9)
    text = [
        f"{name} at {evaluation.resolution} × {evaluation.resolution}",
        f"{counted(images, 'image')} of {counted(evaluation.classes, 'class', 'classes')}",
        f"{evaluation.skipped_images:,} skipped" if evaluation.skipped_images else "",
        f"{evaluation.seconds:.1f} s ({rate:.1f} images/s)",
        f"{evaluation.processes} processes" if evaluation.processes > 1 else "",
    ]
    return f"{printable(str(evaluation.dataset.source), 400)}: {', '.join(filter(None, text))}"
