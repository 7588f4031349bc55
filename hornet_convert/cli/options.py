"""Options that several commands share, each declared once, and what they ask for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hornet_convert.conversion.request import HEADS, PRECISIONS, TARGETS, Edits, Request
from hornet_convert.errors import UsageError
from hornet_convert.family import zoo
from hornet_convert.family.file_names import FORMATS
from hornet_convert.report.verdict import REQUIREMENTS
from hornet_convert.text import printable

if TYPE_CHECKING:
    from hornet_convert.api.fetch import Download
    from hornet_convert.download.cache import Cache
    from hornet_convert.report.claims import Claim
    from hornet_convert.report.progress import Progress

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


def _head(context: click.Context, parameter: click.Parameter, value: str) -> str | int:
    """`keep`, `none`, `in1k`, or a number of classes."""
    if value not in HEADS and not re.fullmatch("[1-9][0-9]{0,8}", value):
        raise click.BadParameter(f"{value!r} is not {', '.join(HEADS)} or a number of classes")
    return value if value in HEADS else int(value)


def _image_size(
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


def _rate(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Bytes per second, with K, M or G for powers of 1024."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([KMG]?)B?", value.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise click.BadParameter("give bytes per second, such as 500K or 2M")
    return float(match[1]) * 1024.0 ** " KMG".index(match[2].upper() or " ")


def _headers(
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


def _cache(context: click.Context, parameter: click.Parameter, value: str | None) -> Cache:
    from hornet_convert.download.cache import Cache

    return Cache.at(value)


def checkpoint(required: bool) -> Callable[[F], F]:
    """The option that names a local checkpoint."""
    text = "The checkpoint: .pth in any container and layout, or .safetensors."
    return click.option("--ckpt", required=required, metavar="FILE", type=PATH, help=text)


ckpt = checkpoint(required=True)
model = click.option("--model", metavar="NAME", help="Fail unless the file holds this model.")
key = together(
    click.option(
        "--key",
        metavar="KEY",
        help="Take the weights under this key of the file, such as state_dict, or model.net; asked "
        "for where there are several.",
    ),
    click.option(
        "--prefix",
        metavar="PREFIX",
        help="Take the weights whose names begin so, such as student.backbone. By default what "
        "trainers are known to put before names is taken off, and said.",
    ),
)
ema = click.option("--ema", is_flag=True, help="Take the averaged (EMA) weights in the file.")
no_forward = click.option(
    "--no-forward", is_flag=True, help="Skip the forward check (and then need no torch)."
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
report = click.option(
    "--report",
    "html",
    metavar="FILE.html",
    type=FILE,
    help="Write a report for people there: one HTML page, with charts.",
)
require = click.option(
    "--require",
    type=click.Choice([level.replace(" ", "-") for level in REQUIREMENTS]),
    callback=lambda context, option, given: [level.replace("-", " ") for level in given],
    multiple=True,
    help="Fail unless the verdict is at least this; `safe`: refuse a file that names anything a "
    "plain load would run. May be given twice.",
)
cache = click.option(
    "--cache",
    metavar="DIR",
    callback=_cache,
    envvar="HORNET_CONVERT_CACHE",
    help="Where downloads are kept.  [env: HORNET_CONVERT_CACHE; default: the user's cache folder]",
)
references = together(
    click.option(
        "--sha256",
        metavar="HEX",
        help="The SHA-256 the file should have, or 8 or more digits of it.",
    ),
    click.option(
        "--against",
        metavar="FILE_OR_DIGEST",
        help="A checkpoint, in any form, with the weights the file should hold; or their "
        "fingerprint, or the file's whole SHA-256.",
    ),
    click.option(
        "--signed-by",
        metavar="KEY.pub",
        type=PATH,
        help="Demand that the record beside the file is signed with this public key (PEM).",
    ),
    cache,
)
checked = together(ckpt, model, references, require)
probe = together(
    click.option(
        "--image-size",
        metavar="PIXELS",
        callback=_image_size,
        help="Size of the image in the forward check, 384 or 256x320.  [default: the model's]",
    ),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of the image."),
    click.option("--batch", type=click.IntRange(1, 64), default=1, help="How many images."),
)
result = together(
    click.option(
        "--out",
        default=".",
        metavar="DIR",
        show_default="this folder",
        type=PATH,
        help="Folder for the result; made if need be.",
    ),
    click.option(
        "--layout",
        type=click.Choice(TARGETS),
        default="reference",
        help="Key names of the result. `backbone`: what the authors' detection and segmentation "
        "backbones load, official names without head and final norm.",
    ),
    click.option(
        "--head",
        callback=_head,
        default="keep",
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
    click.option(
        "--format",
        type=click.Choice(FORMATS),
        default="safetensors",
        help="Container of the result; pth loads with torch.load(weights_only=True).",
    ),
    key,
    ema,
    click.option(
        "--force", is_flag=True, help="Replace a different file that has the result's name."
    ),
)


download = together(
    click.option(
        "--source",
        "choice",
        type=click.Choice(["auto", "mirror", "openmmlab", "official"]),
        default="auto",
        help="Use this source alone.",
    ),
    click.option(
        "--mirror",
        metavar="URL_OR_DIR",
        multiple=True,
        help="A folder with the files, asked first: a directory, http(s)://…, hf://ORG/REPO[@REV], "
        "s3://… and what else fsspec knows. May be given several times.  "
        "[env: HORNET_CONVERT_MIRROR]",
    ),
    click.option(
        "--header",
        "headers",
        metavar="'NAME: VALUE'",
        multiple=True,
        callback=_headers,
        help="Send this to the mirrors, and to nobody else. Never recorded. A bearer token may "
        "stand in HORNET_CONVERT_TOKEN instead.",
    ),
    cache,
    click.option(
        "--offline",
        is_flag=True,
        help="Use what is cached; open no socket.  [env: HORNET_CONVERT_OFFLINE]",
    ),
    click.option("--refetch", is_flag=True, help="Download again what is cached."),
    click.option("--jobs", type=click.IntRange(1, 16), default=2, help="Downloads at once."),
    click.option(
        "--connections",
        type=click.IntRange(1, 16),
        default=4,
        help="Ranges of one file to fetch at once at most, where one connection alone is slow.",
    ),
    click.option(
        "--limit-rate",
        "rate",
        metavar="RATE",
        callback=_rate,
        help="Receive no more bytes per second than this, all downloads together: 500K, 2M.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 1000),
        default=8,
        help="How often to try again in a row without getting on.",
    ),
    click.option(
        "--retry-max-time",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=600,
        help="How long to try again without getting on.",
    ),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0.1),
        default=30,
        help="The longest wait for an answer, and for another piece of it.",
    ),
    click.option("--quiet", is_flag=True, help="Show no progress."),
    click.option(
        "--keep/--no-keep",
        default=True,
        help="Keep the downloaded file in the cache after a good conversion.",
    ),
)


def which(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the options of `key` and `ema` say: which of the weights in a file to take."""
    return {name: values[name] for name in ("key", "ema", "prefix")}


def request_from(values: Mapping[str, Any], **more: Any) -> Request:
    """What the options of `result` ask for; `more` are other members of the request."""
    edits = Edits(values["head"], values["resolution"], values["dtype"])
    same = {name: values[name] for name in ("out", "layout", "format", "force")}
    return Request(edits=edits, **same, **which(values), **more)


def claims_from(
    values: Mapping[str, Any], subject: Path, progress: Progress | None = None
) -> list[Claim]:
    """What the options of `references` and the trust record say about a file."""
    from hornet_convert.checks.statement import claims_beside
    from hornet_convert.checks.verify import against
    from hornet_convert.download.pins import claims_of
    from hornet_convert.download.trust import TrustRecord
    from hornet_convert.report.claims import given

    said = []
    if values["sha256"] is not None:
        said.append(given(values["sha256"]))
    if values["against"] is not None:
        said.append(against(values["against"], subject, progress))
    said += claims_beside(subject, values["signed_by"])
    return said + claims_of(TrustRecord(values["cache"].trust_path).pins())


def download_from(values: Mapping[str, Any]) -> Download:
    """What the options of `download` ask for."""
    from hornet_convert.api.fetch import Download
    from hornet_convert.download.edges import Limits

    limits = ("timeout", "retries", "retry_max_time", "connections", "rate")
    same = ("cache", "choice", "offline", "refetch", "jobs", "keep", "headers", "quiet")
    return Download(
        **{name: values[name] for name in same},
        mirrors=tuple(filter(None, values["mirror"])) or None,
        forward=not values.get("no_forward", False),
        limits=Limits(**{name: values[name] for name in limits}),
    )


def chosen(names: Sequence[str], every: bool) -> list[zoo.Published]:
    """The models named, each once; all nine if asked for."""
    if every and names:
        raise UsageError("names and --all were both given", hint="Give one of them.")
    if every:
        return list(zoo.MODELS)
    if not names:
        hint = "Give one or more names, see `hornet-convert list`, or --all."
        raise UsageError("no model is named", hint=hint)
    return list(dict.fromkeys(zoo.find(name) for name in names))


def cache_line(cache: Cache, when: str) -> str:
    """What the cache holds, in a line."""
    held = cache.usage()
    parts = f", {held.parts} unfinished ({held.part_bytes:,} bytes)" if held.parts else ""
    files = "1 file" if held.files == 1 else f"{held.files} files"
    folder = printable(str(cache.folder), 1000)
    return f"cache {when}: {files}, {held.bytes:,} bytes{parts} in {folder}"
