"""Options that several commands share, each declared once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hornet_convert.conversion.edits import HEADS, PRECISIONS, TARGETS, Edits
from hornet_convert.conversion.result_name import FORMATS
from hornet_convert.errors import UsageError, printable
from hornet_convert.family import zoo
from hornet_convert.verification.verdict import REQUIREMENTS

if TYPE_CHECKING:
    from hornet_convert.download.cache import Cache
    from hornet_convert.fetch import Download
    from hornet_convert.verification.subject import Progress
    from hornet_convert.verification.trace import Probe
    from hornet_convert.verification.verdict import Reference

F = TypeVar("F", bound=Callable[..., Any])

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


def _head(context: click.Context, parameter: click.Parameter, value: str) -> str | int:
    """`keep`, `none`, `in1k`, or a number of classes."""
    if value in HEADS:
        return value
    if value.isascii() and value.isdigit() and 0 < int(value) < 1 << 31:
        return int(value)
    raise click.BadParameter(f"{value!r} is not {', '.join(HEADS)} or a number of classes")


layout = click.option(
    "--layout",
    type=click.Choice(TARGETS),
    default="reference",
    show_default=True,
    help="Key names of the result. `backbone`: what the authors' detection and segmentation "
    "backbones load, official names without head and final norm.",
)
_EDITS = (
    click.option(
        "--head",
        callback=_head,
        default="keep",
        show_default=True,
        metavar="keep|none|in1k|N",
        help="The classifier: as it is; left out; of a 21k head the 1000 rows of ImageNet-1k; or N "
        "classes, which must be there or be had by in1k.",
    ),
    click.option(
        "--resolution",
        type=click.IntRange(min=1),
        metavar="PIXELS",
        help="Resize the global-local filters for square images of this side.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(PRECISIONS),
        help="Round all weights but the global-local filters, which are then float32, and measure "
        "what that changes.  [default: as they are]",
    ),
)
file_format = click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    default="safetensors",
    show_default=True,
    help="Container of the result; pth loads with torch.load(weights_only=True).",
)
model = click.option("--model", metavar="NAME", help="Fail unless the file holds this model.")
ema = click.option("--ema", is_flag=True, help="Take the averaged (EMA) weights in the file.")
no_forward = click.option(
    "--no-forward", is_flag=True, help="Skip the forward check (and then need no torch)."
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
report = click.option(
    "--report",
    "html",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a report for people there: one HTML page, with charts.",
)
force = click.option(
    "--force", is_flag=True, help="Replace a different file that has the result's name."
)
cache = click.option(
    "--cache",
    metavar="DIR",
    envvar="HORNET_CONVERT_CACHE",
    help="Where downloads are kept.  [env: HORNET_CONVERT_CACHE; default: the user's cache folder]",
)
_REFERENCES = (
    click.option(
        "--sha256",
        metavar="HEX",
        help="The SHA-256 the file should have, or its first 8 digits or more.",
    ),
    click.option(
        "--against",
        metavar="FILE_OR_DIGEST",
        help="A checkpoint, in any form, with the weights the file should hold; or their "
        "fingerprint, or the file's whole SHA-256.",
    ),
    cache,
)
require = click.option(
    "--require",
    type=click.Choice(REQUIREMENTS),
    help="Fail unless the verdict is at least this.",
)


def _image_size(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> int | tuple[int, int] | None:
    """Pixels: one number for a square, or HEIGHTxWIDTH; both at least 32."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{2,4})(?:[x×](\d{2,4}))?", value)
    if match is None or any(int(side) < 32 for side in match.groups() if side):
        raise click.BadParameter("give 384 or 256x320, at least 32 pixels", ctx, param)
    height, width = match.groups()
    return int(height) if width is None else (int(height), int(width))


_PROBE = (
    click.option(
        "--image-size",
        metavar="PIXELS",
        callback=_image_size,
        help="Size of the image in the forward check, 384 or 256x320.  [default: the model's]",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of the image.  [default: 0]"
    ),
    click.option("--batch", type=click.IntRange(1, 64), help="How many images.  [default: 1]"),
)
_DOWNLOAD = (
    click.option(
        "--source",
        type=click.Choice(["auto", "mirror", "openmmlab", "official"]),
        default="auto",
        show_default=True,
        help="Use this source alone.",
    ),
    click.option(
        "--mirror",
        metavar="URL_OR_DIR",
        envvar="HORNET_CONVERT_MIRROR",
        help="A folder with the files, asked first.  [env: HORNET_CONVERT_MIRROR]",
    ),
    cache,
    click.option("--offline", is_flag=True, help="Use what is cached; open no socket."),
    click.option("--refetch", is_flag=True, help="Download again what is cached."),
    click.option(
        "--jobs",
        type=click.IntRange(1, 16),
        default=2,
        show_default=True,
        help="Downloads at once.",
    ),
    click.option(
        "--keep/--no-keep",
        default=True,
        show_default=True,
        help="Keep the downloaded file in the cache after a good conversion.",
    ),
)


def edits(command: F) -> F:
    """Add the options that change weights; they arrive as keyword arguments."""
    for option in reversed(_EDITS):
        command = option(command)
    return command


def edits_from(values: Mapping[str, Any]) -> Edits:
    """What the options of `edits` ask for."""
    return Edits(values["head"], values["resolution"], values["dtype"])


def probe(command: F) -> F:
    """Add the options of the forward check; they arrive as keyword arguments."""
    for option in reversed(_PROBE):
        command = option(command)
    return command


def probe_from(values: Mapping[str, Any]) -> Probe | None:
    """What the options of `probe` ask for; None if none is given."""
    from hornet_convert.verification.trace import Probe

    size, seed, batch = values["image_size"], values["seed"], values["batch"]
    if size is None and seed is None and batch is None:
        return None
    return Probe(size, seed or 0, batch or 1)


def references(command: F) -> F:
    """Add the options that say what a file is known by; they arrive as keyword arguments."""
    for option in reversed(_REFERENCES):
        command = option(command)
    return command


def references_from(
    values: Mapping[str, Any], subject: Path, progress: Progress | None = None
) -> list[Reference]:
    """What the options of `references` and the trust record say about a file."""
    from hornet_convert.download.cache import Cache
    from hornet_convert.download.trust import TrustRecord
    from hornet_convert.verification import references as known

    said = []
    if values["sha256"] is not None:
        said.append(known.given(values["sha256"]))
    if values["against"] is not None:
        said.append(known.against(values["against"], subject, progress))
    pins = TrustRecord(Cache.at(values["cache"]).trust_path).pins()
    return said + known.pinned(pins)


def download(command: F) -> F:
    """Add the options that say where files come from; they arrive as keyword arguments."""
    for option in reversed(_DOWNLOAD):
        command = option(command)
    return command


def download_from(values: Mapping[str, Any]) -> Download:
    """What the options of `download` ask for."""
    from hornet_convert.download.cache import Cache
    from hornet_convert.fetch import Download

    return Download(
        Cache.at(values["cache"]),
        values["mirror"] or None,
        values["source"],
        values["offline"],
        values["refetch"],
        values["jobs"],
        values["keep"],
    )


def chosen(names: Sequence[str], every: bool) -> list[zoo.Published]:
    """The models named, each once; all nine if asked for."""
    if every and names:
        raise UsageError("names and --all were both given", hint="Give one of them.")
    if every:
        return list(zoo.MODELS)
    if not names:
        raise UsageError(
            "no model is named",
            expected="one or more names, or --all",
            hint="See the names with `hornet-convert list`.",
        )
    return list(dict.fromkeys(zoo.find(name) for name in names))


def cache_line(cache: Cache, when: str) -> str:
    """What the cache holds, in a line."""
    held = cache.usage()
    parts = f", {held.parts} unfinished ({held.part_bytes:,} bytes)" if held.parts else ""
    files = "1 file" if held.files == 1 else f"{held.files} files"
    folder = printable(str(cache.folder), 1000)
    return f"cache {when}: {files}, {held.bytes:,} bytes{parts} in {folder}"
