"""`hornet-convert predict`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hornet_convert.cli import options
from hornet_convert.cli.weights import checkpoint_path, require_one, weights

if TYPE_CHECKING:
    from hornet_convert.images.files import Found
    from hornet_convert.model.predict import Predicted


@click.command()
@click.argument(
    "images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path)
)
@weights
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="How many classes to show of each image.",
)
@options.as_json
def predict(images: tuple[Path, ...], top: int, as_json: bool, **values: Any) -> int:
    """Say what is in images: the most probable classes, with their probabilities.

    IMAGE is a file, or a folder that stands for all images below it. Needs Pillow:
    pip install 'hornet-convert[images]'.

    \b
    Examples:
      hornet-convert predict photo.jpg --model tiny
      hornet-convert predict holiday/ --ckpt hornet_tiny_gf.pth --top 3 --json
    """
    from hornet_convert.images.files import chosen

    require_one(values)
    found = chosen(images)
    from hornet_convert.cli.image_progress import ImageBar
    from hornet_convert.cli.progress import progress_bars
    from hornet_convert.cli.render_images import print_prediction, print_skipped
    from hornet_convert.model.images import quiet_pillow, require_pillow
    from hornet_convert.model.inference import choose_device
    from hornet_convert.model.load import load_model
    from hornet_convert.model.predict import predict as predictions

    require_pillow()
    place = choose_device(values["device"])
    with progress_bars() as bars:
        path = checkpoint_path(values, bars)
    model = load_model(path, ema=values["ema"])
    results: list[Predicted] = []
    bar = ImageBar("predict", len(found), shown=len(found) > 1)
    with contextlib.closing(bar), quiet_pillow():
        for result in predictions(model, [image.path for image in found], top=top, device=place):
            results.append(result)
            bar.show(len(results))
            if not as_json:
                with bar.aside():
                    print_prediction(result)
    if as_json:
        from hornet_convert.cli.documents import print_json

        print_json(
            {
                "status": "pass" if not _exit_code(found, results) else "error",
                "model": model.architecture.name,
                "checkpoint": str(path),
                "num_classes": model.num_classes,
                "resolution": model.architecture.resolution,
                "images": [result.to_json() for result in results],
                "error": None,
            }
        )
    else:
        print_skipped(results)
    return _exit_code(found, results)


def _exit_code(found: Sequence[Found], results: Sequence[Predicted]) -> int:
    """That of the worst error in an image the user named, or in all images of his folders."""
    errors = [result.error for result in results]
    all_refused = all(error is not None for error in errors)
    return max(
        error.exit_code if error is not None and (image.named or all_refused) else 0
        for image, error in zip(found, errors, strict=True)
    )
