"""Options that several commands share, each declared once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hornet_convert.cli import completion, values
from hornet_convert.conversion.request import PRECISIONS, TARGETS
from hornet_convert.family.file_names import FORMATS
from hornet_convert.report.verdict import REQUIREMENTS

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one; they arrive as keyword arguments."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _ckpt(text: str, callback: Callable[..., Any] | None) -> Callable[[F], F]:
    return click.option(
        "--ckpt", metavar="FILE", type=PATH, multiple=True, callback=callback, help=text
    )


ckpt = _ckpt(
    "The checkpoint: .pth in any container and layout, .safetensors or .onnx, or a folder with "
    "model.safetensors.",
    values.item,
)
ckpts = together(
    click.argument("files", nargs=-1, metavar="FILE...", type=PATH),
    _ckpt("A checkpoint, as FILE.", None),
)
model = click.option(
    "--model",
    metavar="NAME",
    shell_complete=completion.names,
    help="Fail unless the file holds this model.",
)
key = together(
    click.option(
        "--key",
        metavar="KEY",
        help="Take the weights under this key of the file, such as state_dict or model.net; "
        "needed if the file holds several sets.",
    ),
    click.option(
        "--prefix",
        metavar="PREFIX",
        help="Take the weights whose names start with this, such as student.backbone. Prefixes "
        "that trainers are known to add are removed anyway, and noted.",
    ),
)
ema = click.option("--ema", is_flag=True, help="Take the averaged (EMA) weights of the file.")
no_forward = click.option(
    "--no-forward", is_flag=True, help="Skip the forward check; torch is not needed."
)
verbose = click.option("-v", "--verbose", is_flag=True, help="Show every check and every note.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
as_json = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to stdout.")
report = click.option(
    "--report",
    "html",
    metavar="FILE.html",
    type=FILE,
    help="Write an HTML page to this file, for people: all of the outcome, with charts.",
)
require = click.option(
    "--require",
    type=click.Choice([level.replace(" ", "-") for level in REQUIREMENTS]),
    callback=lambda context, option, given: [level.replace("-", " ") for level in given],
    multiple=True,
    help="Fail unless the verdict is at least this; `safe`: refuse a file that names anything a "
    "plain load would run. May be repeated.",
)
cache = click.option(
    "--cache",
    metavar="DIR",
    callback=values.cache,
    shell_complete=completion.folders,
    envvar="HORNET_CONVERT_CACHE",
    help="Folder of the cache and the trust record.  [env: HORNET_CONVERT_CACHE; default: the "
    "user's cache folder]",
)
known_by = together(
    click.option(
        "--sha256",
        metavar="HEX",
        help="Expected SHA-256 of the file, or at least its first 8 digits.",
    ),
    click.option(
        "--against",
        metavar="FILE_OR_DIGEST",
        shell_complete=completion.files,
        help="Expected weights: a checkpoint in any form, a fingerprint, or the file's whole "
        "SHA-256.",
    ),
    click.option(
        "--signed-by",
        metavar="KEY.pub",
        type=PATH,
        help="Require the record beside the file to be signed with this public key (PEM).",
    ),
)
references = together(known_by, cache)
checked = together(ckpts, model, references, require)
probe = together(
    click.option(
        "--image-size",
        metavar="PIXELS",
        callback=values.image_size,
        help="Image size in the forward check, 384 or 256x320.  [default: the model's]",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of the random images."
    ),
    click.option("--batch", type=click.IntRange(1, 64), default=1, help="Number of images."),
    click.option(
        "--float32", is_flag=True, help="Also how far float32 is from float64 in the forward check."
    ),
)
edits = together(
    click.option(
        "--head",
        callback=values.head,
        default="keep",
        metavar="keep|none|in1k|N",
        help="Classifier: keep it; none; in1k: the 1000 ImageNet-1k rows of a 21k head; N: "
        "exactly N classes, taken by in1k if need be.",
    ),
    click.option(
        "--resolution",
        type=click.IntRange(min=1),
        metavar="PIXELS",
        help="Resize the global-local filters for square images of this size.",
    ),
    click.option(
        "--dtype",
        type=values.Precision(PRECISIONS),
        help="Round all weights except the global-local filters, which stay float32, and measure "
        "the effect.  [default: unchanged]",
    ),
)
force = click.option("--force", is_flag=True, help="Overwrite a different file of the same name.")
result = together(
    click.option(
        "--out",
        default=".",
        metavar="DIR",
        show_default="the current folder",
        type=PATH,
        callback=values.folder,
        shell_complete=completion.folders,
        help="Folder for the result; created if missing.",
    ),
    click.option(
        "--layout",
        type=click.Choice(TARGETS),
        default="reference",
        help="Key names of the result. `backbone`: as the authors' detection and segmentation code "
        "loads them, without head and final norm.",
    ),
    edits,
    click.option(
        "--format",
        type=click.Choice([*FORMATS, "onnx"]),
        default="safetensors",
        help="Container of the result. pth loads with torch.load(weights_only=True); onnx is a "
        "graph that uses the weights of a safetensors file beside it.",
    ),
    click.option("--single-file", is_flag=True, help="With --format onnx: embed the weights."),
    click.option(
        "--features",
        is_flag=True,
        help="With --format onnx: output the feature maps of the four stages, for detectors.",
    ),
    key,
    ema,
    force,
)


download = together(
    click.option(
        "--source",
        "choice",
        type=click.Choice(["auto", "mirror", "openmmlab", "official"]),
        default="auto",
        help="Use only this source.",
    ),
    click.option(
        "--mirror",
        metavar="URL_OR_DIR",
        multiple=True,
        shell_complete=completion.folders,
        help="A folder with the files, tried first: a directory, http(s)://…, hf://ORG/REPO[@REV], "
        "s3://… or whatever else fsspec opens. May be repeated.  [env: HORNET_CONVERT_MIRROR]",
    ),
    click.option(
        "--header",
        "headers",
        metavar="'NAME: VALUE'",
        multiple=True,
        callback=values.headers,
        help="Send this header to the mirrors and nobody else; it is never recorded. "
        "HORNET_CONVERT_TOKEN may hold a bearer token instead.",
    ),
    cache,
    click.option(
        "--offline",
        is_flag=True,
        help="Use only what is cached; open no socket.  [env: HORNET_CONVERT_OFFLINE]",
    ),
    click.option("--refetch", is_flag=True, help="Download again what is cached."),
    click.option("--jobs", type=click.IntRange(1, 16), default=2, help="Downloads at a time."),
    click.option(
        "--connections",
        type=click.IntRange(1, 16),
        default=4,
        help="Parallel ranges of one file at most, if a single connection is slow.",
    ),
    click.option(
        "--limit-rate",
        "rate",
        metavar="RATE",
        callback=values.rate,
        help="Limit on all downloads together, in bytes per second: 500K, 2M.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 1000),
        help="Failed attempts without progress before giving up.  [default: 8; 2 while a host has "
        "never answered]",
    ),
    click.option(
        "--retry-max-time",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=600,
        help="Time without progress before giving up.",
    ),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0.1),
        default=30,
        help="Longest wait for an answer, and for more of it.",
    ),
    quiet,
    click.option(
        "--keep/--no-keep",
        default=True,
        help="Keep the downloaded file in the cache after a good conversion.",
    ),
)
