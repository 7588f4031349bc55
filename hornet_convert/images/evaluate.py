"""Top-1 and Top-5 of a model on labelled images, alone or shared between processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hornet_convert.errors import HornetConvertError, UsageError
from hornet_convert.family import labels
from hornet_convert.images.decode import quiet_pillow
from hornet_convert.images.engine import Logits
from hornet_convert.images.evaluation import Evaluation, Tally
from hornet_convert.images.files import ImageRefusedError
from hornet_convert.images.inference import Model, as_engine, classify
from hornet_convert.images.processes import Processes
from hornet_convert.images.samples import Answer, Dataset, Sample, Skipped

BATCH = 32
BEST = 5  # classes kept of each image
SHOWN = 3

Progress = Callable[[Tally], None]
"""Called with this process's tally so far."""


def evaluate(
    model: Model,
    dataset: Dataset,
    *,
    batch: int = BATCH,
    workers: int | None = None,
    resolution: int | None = None,
    processes: Processes | None = None,
    progress: Progress = lambda tally: None,
) -> Evaluation:
    """Classify every image of a dataset once, and count the right answers.

    A 21k head is judged by its 1000 rows that stand for ImageNet-1k. Images that cannot be read are
    left out and listed. With several processes, each takes its share, and all get the whole result.

    Parameters
    ----------
    model, batch, workers, resolution
        As for `classify`; batch and workers are per process.
    dataset
        The labelled images, of the model's number of classes.
    processes
        Those that share the work; None to do it alone.
    progress
        Told how far this process is.

    Raises
    ------
    UsageError
        What `classify` raises; the labels are not those of the model's classes, or the processes do
        not have the same images.
    ImageRefusedError
        None of the images can be read.
    CheckFailedError
        The model's outputs are not finite.
    """
    processes = processes or Processes()
    engine = as_engine(model)
    num_classes = engine.classes()
    rows = labels.in1k_rows(num_classes)
    if dataset.num_classes != (num_classes if rows is None else len(rows)):
        raise UsageError(
            "the images are labelled for another model",
            expected=f"labels for one with {num_classes} classes",
            found=f"labels among {dataset.num_classes} classes",
            hint="Read the dataset with the model's number of classes.",
        )
    _require_the_same_images(dataset, processes)
    resolution = resolution or engine.architecture.resolution
    places = dataset.places(processes.rank, processes.count)
    ours = [dataset.samples[place] for place in places]
    start, tally, answers = time.monotonic(), Tally(), dict[int, Answer]()
    with quiet_pillow():
        for part in classify(
            engine,
            [sample.path for sample in ours],
            batch=batch,
            workers=workers,
            resolution=resolution,
        ):
            new = {at: Answer(ours[at], error=_reason(e)) for at, e in part.refused.items()}
            if part.logits is not None:
                logits = part.logits if rows is None else part.logits[:, list(rows)]
                judged = judge(logits, [ours[at] for at in part.indices])
                new |= zip(part.indices, judged, strict=True)
            answers |= {places[at]: answer for at, answer in new.items()}
            tally += Tally.of(new.values())
            progress(tally)
    # Other processes may have the same images in another folder.
    for part_of_all in processes.gather(answers):
        answers |= part_of_all
    everything = tuple(
        replace(answers[place], sample=dataset.samples[place]) for place in sorted(answers)
    )
    refused = [Skipped(dataset.shown(a.sample.path), a.error) for a in everything if a.error]
    together = sorted(refused, key=lambda item: item.where)
    total = Tally.of(everything)
    if not total.images:
        raise ImageRefusedError(
            "none of the images can be read",
            where=dataset.shown(str(dataset.source)),
            found="; ".join(f"{s.where}: {s.reason}" for s in together[:SHOWN]),
            hint="They may be damaged: get them again.",
        )
    return Evaluation(
        engine.architecture.name,
        num_classes,
        resolution,
        dataset,
        total,
        (*dataset.skipped, *together),
        processes.count,
        engine.device,
        engine.name,
        time.monotonic() - start,
        everything,
    )


def judge(logits: Logits, samples: Sequence[Sample]) -> list[Answer]:
    """The answers of a model: its logits (N, classes), beside the N samples they are for."""
    order = np.argsort(-logits, axis=1, kind="stable")
    targets = np.array([sample.label for sample in samples])
    ranks = 1 + (order == targets[:, None]).argmax(axis=1)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return [
        Answer(sample, int(rank), tuple((int(n), float(row[n])) for n in best))
        for sample, rank, row, best in zip(samples, ranks, shares, order[:, :BEST], strict=True)
    ]


def _require_the_same_images(dataset: Dataset, processes: Processes) -> None:
    digests = processes.gather(dataset.digest())
    if len(set(digests)) > 1:
        different = [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]
        raise UsageError(
            "the processes do not have the same images",
            expected="the same folder, or a copy of it, for all of them",
            found=f"other files or labels in process {', '.join(different)} than in process 0",
            hint="Give every process the same images.",
        )


def _reason(error: HornetConvertError) -> str:
    return error.what if error.found is None else f"{error.what}: {error.found}"
