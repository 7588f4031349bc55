"""Commands on images: `predict` and `eval`, with a published model or a local checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hornet_convert.cli import options, output
from hornet_convert.cli.progress import Bars
from hornet_convert.errors import UsageError
from hornet_convert.family import labels, zoo
from hornet_convert.images import files

if TYPE_CHECKING:
    from hornet_convert.images.evaluation import Tally
    from hornet_convert.images.predict import Predicted

_weights = options.together(
    click.option("--model", metavar="NAME", help="A published model; fetched if need be."),
    options.checkpoint(required=False),
    options.key,
    options.ema,
    click.option(
        "--device", metavar="DEVICE", help="cpu, cuda, cuda:1, ….  [default: a GPU if any]"
    ),
    options.download,
)


@click.command("predict")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=options.PATH)
@_weights
@click.option(
    "--top", type=click.IntRange(min=1), default=5, metavar="N", help="Classes to show per image."
)
@options.as_json
def predict_command(images: tuple[Path, ...], top: int, as_json: bool, **values: Any) -> int:
    """Say what is in images: the most probable classes, with their probabilities.

    IMAGE is a file, or a folder that stands for all images below it. Needs Pillow:
    pip install 'hornet-convert[images]'.

    \b
    Examples:
      hornet-convert predict photo.jpg --model tiny
      hornet-convert predict holiday/ --ckpt hornet_tiny_gf.pth --top 3 --json
    """
    _require_one(**values)
    found = files.chosen(images)
    from hornet_convert.cli import render
    from hornet_convert.images import decode, inference, predict
    from hornet_convert.model import load

    decode.require_pillow()
    device = inference.choose_device(values["device"])
    results: list[Predicted] = []
    with Bars() as bars, decode.quiet_pillow():
        path = _checkpoint_path(values, bars)
        model = load.load_model(path, **options.which(values))
        paths = [image.path for image in found]
        for result in predict.predict(model, paths, top=top, device=device):
            results.append(result)
            if len(found) > 1:
                bars.images("predict", len(results), len(found))
            if not as_json:
                with bars.aside():
                    render.print_prediction(result)
    # An image below a folder may be anything: it counts only where none could be read.
    all_refused = all(result.error for result in results)
    refused = [
        result.error.exit_code
        for image, result in zip(found, results, strict=True)
        if result.error is not None and (image.named or all_refused)
    ]
    if as_json:
        document = {
            "status": "error" if refused else "pass",
            "model": model.architecture.name,
            "checkpoint": str(path),
            "num_classes": model.num_classes,
            "resolution": model.architecture.resolution,
            "images": [result.to_json() for result in results],
            "error": None,
        }
        output.print_json(document)
    else:
        render.print_skipped(results)
    return max(refused, default=0)


@click.command("eval")
@click.argument("data", metavar="DIR", type=options.PATH)
@_weights
@click.option(
    "--batch",
    type=click.IntRange(1, 4096),
    default=32,
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
    "--limit", type=click.IntRange(min=1), metavar="N", help="Evaluate N images, evenly spread."
)
@options.as_json
def eval_command(data: Path, as_json: bool, **values: Any) -> int:
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
    _require_one(**values)
    files.is_folder(data)  # there at all, said before anything is loaded
    from hornet_convert.cli import render
    from hornet_convert.images import dataset, decode, evaluate, inference, processes
    from hornet_convert.model import load

    decode.require_pillow()
    images = None
    if values["model"] is not None:  # all of them know ImageNet-1k: before a long download
        images = dataset.read_dataset(data, labels.IN1K_CLASSES)
    with processes.joined() as group, Bars() as bars:
        device = inference.choose_device(values["device"], group.local_rank)
        path = _checkpoint_path(values, bars)
        model = load.load_model(path, **options.which(values))
        images = images or dataset.read_dataset(data, inference.require_classifier(model))
        images = images.limited(values["limit"])
        share = len(images.share(group.rank, group.count))
        what = "eval" if group.count == 1 else f"eval, process 0 of {group.count}"

        def show(tally: Tally) -> None:
            if group.rank == 0:
                right = (("Top-1", tally.top1), ("Top-5", tally.top5)) if tally.images else ()
                figures = ", ".join(f"{name} {100 * n / tally.images:.2f}" for name, n in right)
                bars.images(what, tally.images + tally.refused, share, figures)

        result = evaluate.evaluate(
            model,
            images,
            batch=values["batch"],
            workers=values["workers"],
            device=device,
            processes=group,
            progress=show,
        )
    if group.rank == 0 and as_json:
        output.print_json({"checkpoint": str(path), **result.to_json()})
    elif group.rank == 0:
        render.print_evaluation(result)
    return 0


def _require_one(
    model: str | None,
    ckpt: Path | None,
    key: str | None,
    ema: bool,
    prefix: str | None,
    **others: Any,
) -> None:
    """Raise UsageError unless the options name one checkpoint, before anything is read."""
    if model is None:
        if ckpt is None:
            hint = "Give --model NAME, see `hornet-convert list`, or --ckpt FILE."
            raise UsageError("no weights are named", hint=hint)
        return
    if ckpt is not None:
        raise UsageError("--model and --ckpt were both given", hint="Give one of them.")
    zoo.find(model)
    if ema or key or prefix:
        option = "--ema" if ema else "--key" if key else "--prefix"
        hint = f"{option} is for a checkpoint named by --ckpt."
        raise UsageError(f"{option} was given with --model", hint=hint)


def _checkpoint_path(values: dict[str, Any], bars: Bars) -> Path:
    """The checkpoint that the options name, fetched and converted if need be."""
    if values["ckpt"] is not None:
        return Path(values["ckpt"])
    from hornet_convert.api import pretrained

    model, download = zoo.find(values["model"]), options.download_from(values)
    return pretrained.pretrained(model, download, events=bars.download, progress=bars.conversion)
