"""`hornet-convert eval`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hornet_convert.cli import options
from hornet_convert.cli.weights import checkpoint_path, require_one, weights

if TYPE_CHECKING:
    from hornet_convert.images.evaluation import Tally


@click.command("eval")
@click.argument("data", metavar="DIR", type=click.Path(path_type=Path))
@weights
@click.option(
    "--batch",
    type=click.IntRange(1, 4096),
    default=32,
    show_default=True,
    metavar="N",
    help="Images per forward pass.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Threads that read images.  [default: one per processor, at most 8]",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Evaluate N images, spread evenly over all.",
)
@options.as_json
def evaluate(
    data: Path,
    batch: int,
    workers: int | None,
    limit: int | None,
    as_json: bool,
    **values: Any,
) -> int:
    """Measure Top-1 and Top-5 on labelled images, beside the published figures.

    DIR holds a folder per class, named by its synset of ImageNet-1k (n01440764), or is a CSV file
    with the columns path,label; a label is a synset or a class number. Models of ImageNet-21k are
    judged by their outputs for the classes of ImageNet-1k. Several processes, started with
    torchrun, share the images. Needs Pillow: pip install 'hornet-convert[images]'.

    \b
    Examples:
      hornet-convert eval imagenet/val --model tiny-gf
      torchrun --nproc-per-node 4 -m hornet_convert eval imagenet/val --model base
    """
    require_one(values)
    from hornet_convert.images.files import is_folder

    is_folder(data)  # there at all, said before anything is loaded
    from hornet_convert.cli.image_progress import ImageBar
    from hornet_convert.cli.progress import progress_bars
    from hornet_convert.cli.render_images import print_evaluation
    from hornet_convert.family.labels import IN1K_CLASSES
    from hornet_convert.images.dataset import read_dataset
    from hornet_convert.model.evaluate import evaluate as measure
    from hornet_convert.model.images import require_pillow
    from hornet_convert.model.inference import choose_device, require_classifier
    from hornet_convert.model.load import load_model
    from hornet_convert.model.processes import joined

    require_pillow()
    # All published models know ImageNet-1k: a wrong folder is found before a long download.
    dataset = read_dataset(data, IN1K_CLASSES) if values["model"] is not None else None
    with joined() as processes:
        place = choose_device(values["device"], processes.local_rank)
        with progress_bars() as bars:
            path = checkpoint_path(values, bars)
        model = load_model(path, ema=values["ema"])
        dataset = dataset or read_dataset(data, require_classifier(model))
        dataset = dataset.limited(limit)
        share = len(dataset.share(processes.rank, processes.count))
        what = "eval" if processes.count == 1 else f"eval, process 0 of {processes.count}"
        with contextlib.closing(ImageBar(what, share, shown=processes.rank == 0)) as bar:
            result = measure(
                model,
                dataset,
                batch=batch,
                workers=workers,
                device=place,
                processes=processes,
                progress=lambda tally: bar.show(tally.images + tally.refused, _so_far(tally)),
            )
    if processes.rank == 0 and as_json:
        from hornet_convert.cli.documents import print_json

        print_json({"checkpoint": str(path), **result.to_json()})
    elif processes.rank == 0:
        print_evaluation(result)
    return 0


def _so_far(tally: Tally) -> str:
    """The running figures."""
    if not tally.images:
        return ""
    top1, top5 = (100 * right / tally.images for right in (tally.top1, tally.top5))
    return f"Top-1 {top1:.2f}, Top-5 {top5:.2f}"
