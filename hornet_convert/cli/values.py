"""What is typed after an option, as what it means; a mistake is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from hornet_convert.conversion.request import HEADS
from hornet_convert.errors import UsageError
from hornet_convert.text import printable

if TYPE_CHECKING:
    from hornet_convert.download.cache import Cache


def head(context: click.Context, parameter: click.Parameter, value: str) -> str | int:
    """`keep`, `none`, `in1k`, or a number of classes."""
    if value not in HEADS and not re.fullmatch("[1-9][0-9]{0,8}", value):
        raise click.BadParameter(f"{value!r} is not {', '.join(HEADS)} or a number of classes")
    return value if value in HEADS else int(value)


def image_size(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> int | tuple[int, int] | None:
    """Pixels: one number for a square, or HEIGHTxWIDTH; both at least 32."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{2,4})(?:[x×]([0-9]{2,4}))?", value)
    sides = [int(side) for side in match.groups() if side] if match else []
    if not sides or min(sides) < 32:
        raise click.BadParameter("give 384 or 256x320, at least 32 pixels")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def folder(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """The folder for results: a name of a file is a mistake."""
    if value.suffix in (".safetensors", ".pth", ".pt", ".onnx") and not value.is_dir():
        raise UsageError(
            "--out names a folder, not a file",
            found=printable(str(value)),
            hint=f"Try --out {printable(str(value.parent))}: the result gets its name from its "
            "model and its SHA-256.",
        )
    return value


class Precision(click.Choice[str]):
    """An element type, also in torch's and other short spellings."""

    _short: ClassVar = {
        **dict.fromkeys(("fp16", "half"), "float16"),
        **dict.fromkeys(("fp32", "float"), "float32"),
        "bf16": "bfloat16",
    }

    def convert(
        self, value: str, parameter: click.Parameter | None, context: click.Context | None
    ) -> str:
        """The type's whole name; raises click.BadParameter for another."""
        plain = value.lower().removeprefix("torch.")
        return super().convert(self._short.get(plain, plain), parameter, context)


def rate(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Bytes per second, with K, M or G for powers of 1024."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([KMG]?)B?", value.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise click.BadParameter("give bytes per second, such as 500K or 2M")
    return float(match[1]) * 1024.0 ** " KMG".index(match[2].upper() or " ")


def headers(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Names and values; a bad one is not repeated, since it may be a secret."""
    found = []
    for text in values:
        name, colon, value = (part.strip() for part in text.partition(":"))
        if not (name and colon and re.fullmatch(r"[!#-'*+.^_`|~\w-]+", name, re.ASCII)):
            raise click.BadParameter("give it as 'Name: value'")
        if not (value.isprintable() and value.isascii()):
            raise click.BadParameter("its value has characters that no header may have")
        found.append((name, value))
    return tuple(found)


def cache(context: click.Context, parameter: click.Parameter, value: str | None) -> Cache:
    """The cache at a folder, by default the user's."""
    from hornet_convert.download.cache import Cache

    return Cache.at(value)


def item(context: click.Context, parameter: click.Parameter, values: Sequence[Path]) -> Path | None:
    """The one file that is named; a second one is not dropped in silence."""
    if len(values) > 1:
        raise click.BadParameter("give one file")
    return values[0] if values else None
