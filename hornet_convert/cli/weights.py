"""Which weights `predict` and `eval` use: a published model by name, or a local checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hornet_convert.cli import options
from hornet_convert.errors import UsageError
from hornet_convert.family import zoo

if TYPE_CHECKING:
    from hornet_convert.cli.progress import Bars

_OPTIONS = (
    click.option("--model", metavar="NAME", help="A published model; fetched if need be."),
    click.option(
        "--ckpt",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="A checkpoint: .pth in any container and layout, or .safetensors.",
    ),
    options.ema,
    click.option(
        "--device", metavar="DEVICE", help="cpu, cuda, cuda:1, ….  [default: a GPU if any]"
    ),
    options.download,
)


def weights(command: options.F) -> options.F:
    """Add the options that name weights and device; they arrive as keyword arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def require_one(values: Mapping[str, Any]) -> None:
    """Raise UsageError unless the options name one checkpoint, before anything is read."""
    model, ckpt = values["model"], values["ckpt"]
    if (model is None) == (ckpt is None):
        raise UsageError(
            "no weights are named" if model is None else "--model and --ckpt were both given",
            expected="--model NAME or --ckpt FILE",
            hint="See the names with `hornet-convert list`."
            if model is None
            else "Give one of them.",
        )
    if model is not None:
        zoo.find(model)
        if values["ema"]:
            raise UsageError(
                "--ema was given with --model", hint="--ema is for a checkpoint named by --ckpt."
            )


def checkpoint_path(values: Mapping[str, Any], bars: Bars) -> Path:
    """The checkpoint that the options name, fetched and converted if need be."""
    if values["ckpt"] is not None:
        return Path(values["ckpt"])
    from hornet_convert.pretrained import pretrained

    return pretrained(
        zoo.find(values["model"]),
        options.download_from(values),
        events=bars.download,
        progress=bars.conversion,
    )
