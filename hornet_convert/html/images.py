"""What `predict` and `eval` found, as HTML pages. Pure strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hornet_convert.family import labels, zoo
from hornet_convert.html.environment import render
from hornet_convert.images.evaluation import CONFUSIONS_SHOWN, Evaluation
from hornet_convert.images.predict import Predicted
from hornet_convert.images.thumbnails import SHOWN

RANKS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 10), (11, 100), (101, 1_000_000))


def prediction_page(
    results: Sequence[Predicted],
    thumbnails: Mapping[str, str],
    facts: Sequence[tuple[str, object]],
    about: Mapping[str, str],
) -> str:
    """The whole page on images: `thumbnails` are URIs by path, at most `SHOWN` are of use."""
    good = [result for result in results if result.error is None]
    return render(
        "predictions.html.j2",
        about,
        images=len(results),
        good=good[:SHOWN],
        left=len(good[SHOWN:]),
        skipped=[(result.path, result.error) for result in results if result.error is not None],
        thumbnails=thumbnails,
        facts=facts,
    )


def evaluation_page(evaluation: Evaluation, checkpoint: str, about: Mapping[str, str]) -> str:
    """The whole page on one evaluation of a checkpoint."""
    row = zoo.BY_NAME.get(evaluation.model)
    classes = evaluation.dataset.num_classes
    return render(
        "evaluation.html.j2",
        about,
        evaluation=evaluation,
        title=f"{row.label} ({row.name})" if row else evaluation.model,
        accuracies=[("Top-1", evaluation.top1), ("Top-5", evaluation.top5)],
        confusions=[
            (labels.named(each.truth, classes), labels.named(each.predicted, classes), each)
            for each in evaluation.confusions[:CONFUSIONS_SHOWN]
            if each.images > 1
        ],
        ranks=_ranks(evaluation),
        facts=[
            ("Checkpoint", checkpoint),
            ("Outputs of the model", f"{evaluation.num_classes:,}"),
            ("Images", evaluation.dataset.source),
            ("Pixels", f"{evaluation.resolution} × {evaluation.resolution}"),
            ("Computed by", f"{evaluation.engine} on {evaluation.device}"),
            ("Processes", evaluation.processes),
            ("Seconds", f"{evaluation.seconds:.1f}"),
        ],
    )


def _ranks(evaluation: Evaluation) -> list[tuple[str, int]]:
    """How often the right class came in which place, up to the last that occurs."""
    ranks = [answer.rank for answer in evaluation.answers if answer.rank is not None]
    most = max(ranks, default=0)
    return [
        (_place(low, high), sum(low <= rank <= high for rank in ranks))
        for low, high in RANKS
        if low <= max(most, 5)
    ]


def _place(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low} to {high}" if high <= 100 else "later"
