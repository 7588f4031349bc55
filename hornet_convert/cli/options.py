"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.layouts import LAYOUTS

ckpt = click.option(
    "--ckpt",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The checkpoint: .pth in any container and layout, or .safetensors.",
)
out = click.option(
    "--out",
    default=".",
    metavar="DIR",
    show_default="this folder",
    type=click.Path(path_type=Path),
    help="Folder for the result; made if need be.",
)
layout = click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="reference",
    show_default=True,
    help="Key names of the result.",
)
model = click.option("--model", metavar="NAME", help="Fail unless the file holds this model.")
ema = click.option("--ema", is_flag=True, help="Take the averaged (EMA) weights in the file.")
no_forward = click.option(
    "--no-forward", is_flag=True, help="Skip the forward check (and then need no torch)."
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
force = click.option(
    "--force", is_flag=True, help="Replace a different file that has the result's name."
)
