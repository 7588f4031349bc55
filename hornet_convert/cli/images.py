"""Commands on images: `predict` and `eval`, with a published model or a local checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hornet_convert.bars import Bars
from hornet_convert.cli import asked, completion, options, output, pages
from hornet_convert.errors import UsageError
from hornet_convert.family import labels, zoo
from hornet_convert.images import files
from hornet_convert.images.engine import NAMES
from hornet_convert.report.document import worst_exit_code, writes_for_all

if TYPE_CHECKING:
    from hornet_convert.images.engine import Engine
    from hornet_convert.images.predict import Predicted
    from hornet_convert.report.results import ModelFacts

_weights = options.together(
    click.option(
        "--model",
        metavar="NAME",
        shell_complete=completion.names,
        help="A published model; fetched if needed.",
    ),
    options.ckpt,
    options.key,
    options.ema,
    click.option(
        "--engine",
        type=click.Choice(NAMES),
        default="torch",
        help="What computes; onnxruntime (pip install 'hornet-convert[onnx]') needs no torch.",
    ),
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
@options.report
@options.as_json
def predict_command(
    images: tuple[Path, ...], top: int, html: Path | None, as_json: bool, **values: Any
) -> int:
    """Name the most probable classes of images.

    IMAGE is a file, or a folder, which stands for all images below it. Needs Pillow:
    pip install 'hornet-convert[images]'.

    \b
    Examples:
      hornet-convert predict photo.jpg --model tiny
      hornet-convert predict holiday/ --ckpt hornet_tiny_gf.pth --top 3 --json
    """
    _require_one(**values)
    found = files.chosen(images)
    from hornet_convert.cli import render_images as render
    from hornet_convert.images import decode, predict
    from hornet_convert.images.thumbnails import SHOWN, thumbnail

    decode.require_pillow()
    results: list[Predicted] = []
    small: dict[str, str] = {}
    named = ", ".join(map(str, images[:3]))
    with (
        pages.errors_on_page(html, f"What HorNet sees in {named}"),
        Bars(values["quiet"]) as bars,
        decode.quiet_pillow(),
    ):
        path, model = _model(values, bars)
        paths = [image.path for image in found]
        if len(found) > 1:
            bars.images("predict", 0, len(found))
        for result in predict.predict(model, paths, top=top):
            results.append(result)
            if html is not None and len(small) < SHOWN and result.error is None:
                small |= {result.path: thumbnail(result.path) or ""}
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
    if not as_json:
        render.print_skipped(results)

    def page(about: pages.About) -> str:
        from hornet_convert.html.images import prediction_page

        rows = [
            ("Model", model.architecture.name),
            ("Checkpoint", path),
            ("Classes", f"{model.num_classes:,}"),
            ("Pixels", f"{model.architecture.resolution} × {model.architecture.resolution}"),
            ("Computed by", f"{model.name} on {model.device}"),
        ]
        return prediction_page(results, small, rows, about)

    problems = pages.of(html, page)
    if not as_json:
        return output.with_problems(worst_exit_code(refused), problems)
    facts: ModelFacts = {
        "model": model.architecture.name,
        "checkpoint": str(path),
        "num_classes": model.num_classes or 0,
        "resolution": model.architecture.resolution,
        "engine": model.name,
    }
    told = [
        result.to_json(skipped=result.error is not None and not (image.named or all_refused))
        for image, result in zip(found, results, strict=True)
    ]
    return output.print_document(told, problems, facts)


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
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Evaluate only N images, evenly spread.",
)
@click.option(
    "--csv",
    "listing",
    metavar="FILE",
    type=options.FILE,
    help="Write a row for each image to this file: its class, the rank of that, the first five.",
)
@options.report
@options.as_json
def eval_command(
    data: Path, listing: Path | None, html: Path | None, as_json: bool, **values: Any
) -> int:
    """Measure Top-1 and Top-5 on labelled images.

    DIR holds a folder per class, named by its ImageNet-1k synset (n01440764), or is a CSV file
    with columns path,label, or a val.txt, where a label is a synset or a class number. The results
    stand beside the published figures. ImageNet-21k models are judged on the classes of
    ImageNet-1k. Several processes, started with torchrun, share the images. Needs Pillow: pip
    install 'hornet-convert[images]'.

    \b
    Examples:
      hornet-convert eval imagenet/val --model tiny-gf
      torchrun --nproc-per-node 4 -m hornet_convert eval imagenet/val --model base
    """
    _require_one(**values)
    files.is_folder(data)  # there at all, said before anything is loaded
    from hornet_convert.cli import render_images as render
    from hornet_convert.images import dataset, decode, evaluate, processes
    from hornet_convert.images.evaluation import TITLES, Tally

    decode.require_pillow()
    if writes_for_all():
        pages.require_places(html, listing, TITLES)
    images = None
    if values["model"] is not None:  # all of them know ImageNet-1k: before a long download
        images = dataset.read_dataset(data, labels.IN1K_CLASSES)
    with (
        output.about(data),
        processes.joined() as group,
        pages.errors_on_page(html if group.rank == 0 else None, f"Evaluation on {data}"),
        Bars(values["quiet"]) as bars,
    ):
        path, model = _model(values, bars, group.local_rank)
        images = images or dataset.read_dataset(data, model.classes())
        images = images.limited(values["limit"])
        share = len(images.share(group.rank, group.count))
        what = "eval" if group.count == 1 else f"eval, process 0 of {group.count}"

        def show(tally: Tally) -> None:
            if group.rank == 0:
                right = (("Top-1", tally.top1), ("Top-5", tally.top5)) if tally.images else ()
                figures = ", ".join(f"{name} {100 * n / tally.images:.2f}" for name, n in right)
                bars.images(what, tally.images + tally.refused, share, figures)

        show(Tally())
        result = evaluate.evaluate(
            model,
            images,
            batch=values["batch"],
            workers=values["workers"],
            processes=group,
            progress=show,
        )
    if group.rank != 0:
        return 0
    if not as_json:
        render.print_evaluation(result)

    def page(about: pages.About) -> str:
        from hornet_convert.html.images import evaluation_page

        return evaluation_page(result, str(path), about)

    problems = pages.of(html, page)
    if listing is not None:
        write = partial(pages.write_csv, result.to_csv(), listing, TITLES)
        problems += output.problem_of(write)
    if as_json:
        return output.print_document([result.to_json(str(path))], problems)
    return output.with_problems(0, problems)


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


def _model(values: dict[str, Any], bars: Bars, process: int = 0) -> tuple[Path, Engine]:
    """The checkpoint that the options name, and its model on the engine and device they name.

    What the engine lacks is said before anything is fetched.
    """
    which = asked.which(values)
    if values["engine"] == "onnxruntime":
        from hornet_convert.images.onnx_engine import OnnxEngine, require_onnxruntime

        require_onnxruntime(values["device"])
        path = _checkpoint_path(values, bars)
        return path, OnnxEngine(path, **which)
    from hornet_convert.images.torch_engine import TorchEngine, choose_device
    from hornet_convert.model.load import load_model

    device = choose_device(values["device"], process)
    path = _checkpoint_path(values, bars)
    bars.show("loading the model", 0, 1, unit="models")
    engine = TorchEngine(load_model(path, **which), device)
    bars.show("loading the model", 1, 1, unit="models")
    return path, engine


def _checkpoint_path(values: dict[str, Any], bars: Bars) -> Path:
    """The checkpoint that the options name, fetched and converted if need be."""
    if values["ckpt"] is not None:
        return Path(values["ckpt"])
    from hornet_convert.api import pretrained

    model, download = zoo.find(values["model"]), asked.download_from(values)
    return pretrained.pretrained(model, download, events=bars.download, progress=bars.conversion)
