"""Options that several commands share, each declared once, and what they ask for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from hornet_convert.conversion.request import HEADS, PRECISIONS, TARGETS, Edits, Onnx, Request
from hornet_convert.errors import UsageError
from hornet_convert.family import zoo
from hornet_convert.family.file_names import FORMATS
from hornet_convert.report.verdict import REQUIREMENTS
from hornet_convert.text import counted, printable

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


def _folder(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """The folder for results: a name of a file is a mistake."""
    if value.suffix in (".safetensors", ".pth", ".pt", ".onnx") and not value.is_dir():
        raise UsageError(
            "--out names a folder, not a file",
            found=printable(str(value)),
            hint=f"Try --out {printable(str(value.parent))}: the result gets its name from its "
            "model and its SHA-256.",
        )
    return value


class _Precision(click.Choice[str]):
    """An element type, also in torch's and other short spellings."""

    _short: ClassVar = {
        **dict.fromkeys(("fp16", "half"), "float16"),
        **dict.fromkeys(("fp32", "float"), "float32"),
        "bf16": "bfloat16",
    }

    def convert(
        self, value: str, parameter: click.Parameter | None, context: click.Context | None
    ) -> str:
        plain = value.lower().removeprefix("torch.")
        return super().convert(self._short.get(plain, plain), parameter, context)


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


def _one(context: click.Context, parameter: click.Parameter, values: Sequence[Path]) -> Path | None:
    """The one file that is named; a second one is not dropped in silence."""
    if len(values) > 1:
        raise click.BadParameter("give one file")
    return values[0] if values else None


def _ckpt(text: str, callback: Callable[..., Any] | None) -> Callable[[F], F]:
    return click.option(
        "--ckpt", metavar="FILE", type=PATH, multiple=True, callback=callback, help=text
    )


ckpt = _ckpt(
    "The checkpoint: .pth in any container and layout, .safetensors or .onnx, or a folder with "
    "model.safetensors.",
    _one,
)
ckpts = together(
    click.argument("files", nargs=-1, metavar="FILE...", type=PATH),
    _ckpt("A checkpoint, as FILE.", None),
)
model = click.option("--model", metavar="NAME", help="Fail unless the file holds this model.")
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
    help="Write an HTML report to this file, with charts.",
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
    callback=_cache,
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
        callback=_image_size,
        help="Image size in the forward check, 384 or 256x320.  [default: the model's]",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of the random images."
    ),
    click.option("--batch", type=click.IntRange(1, 64), default=1, help="Number of images."),
)
edits = together(
    click.option(
        "--head",
        callback=_head,
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
        type=_Precision(PRECISIONS),
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
        callback=_folder,
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
        help="A folder with the files, tried first: a directory, http(s)://…, hf://ORG/REPO[@REV], "
        "s3://… or whatever else fsspec opens. May be repeated.  [env: HORNET_CONVERT_MIRROR]",
    ),
    click.option(
        "--header",
        "headers",
        metavar="'NAME: VALUE'",
        multiple=True,
        callback=_headers,
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
        callback=_rate,
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


def files_from(values: Mapping[str, Any]) -> list[Path]:
    """The checkpoints named, as arguments and by --ckpt, each once."""
    files = list(dict.fromkeys((*values["files"], *values["ckpt"])))
    if not files:
        hint = f"See `{click.get_current_context().command_path} -h`."
        raise UsageError("no checkpoint is named", hint=hint)
    return files


def which(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the options of `key` and `ema` say: which of the weights in a file to take."""
    return {name: values[name] for name in ("key", "ema", "prefix")}


def request_from(values: Mapping[str, Any], **more: Any) -> Request:
    """What the options of `result` ask for; `more` are other members of the request."""
    edits = edits_from(values)
    same = {name: values[name] for name in ("out", "layout", "format", "force")}
    shape = {name: values[name] for name in ("single_file", "features")}
    if values["format"] != "onnx":
        if given := [name for name, value in shape.items() if value]:
            raise UsageError(
                f"--{given[0].replace('_', '-')} was given without --format onnx",
                hint="It is about an ONNX model: add --format onnx, or leave it out.",
            )
        return Request(edits=edits, **same, **which(values), **more)
    same["format"] = "safetensors"
    return Request(edits=edits, onnx=Onnx(**shape), **same, **which(values), **more)


def edits_from(values: Mapping[str, Any]) -> Edits:
    """What the options of `edits` ask for."""
    return Edits(values["head"], values["resolution"], values["dtype"])


def claims_from(
    values: Mapping[str, Any], subject: Path, progress: Progress | None = None
) -> list[Claim]:
    """What the options of `references` and the trust record say about a file."""
    from hornet_convert.checkpoint.folder import file_of
    from hornet_convert.checks.statement import claims_beside
    from hornet_convert.checks.verify import against
    from hornet_convert.download.pins import claims_of
    from hornet_convert.download.trust import TrustRecord
    from hornet_convert.report.claims import given

    subject, said = file_of(subject), []
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

    limits = {name: values[name] for name in ("timeout", "retry_max_time", "connections", "rate")}
    if (retries := values["retries"]) is not None:
        limits |= {"retries": retries, "connect_tries": retries + 1}
    same = ("cache", "choice", "offline", "refetch", "jobs", "keep", "headers", "quiet")
    return Download(
        **{name: values[name] for name in same},
        mirrors=tuple(filter(None, values["mirror"])) or None,
        forward=not values.get("no_forward", False),
        limits=Limits(**limits),
    )


def chosen(names: Sequence[str], every: bool) -> list[zoo.Published]:
    """The models named, each once; all nine if asked for."""
    everything = [name.lower() for name in names] == ["all"]
    if every and names and not everything:
        raise UsageError("names and --all were both given", hint="Give one of them.")
    if every or everything:
        return list(zoo.MODELS)
    if not names:
        hint = "Give one or more names, see `hornet-convert list`, or --all."
        raise UsageError("no model is named", hint=hint)
    return list(dict.fromkeys(zoo.find(name) for name in names))


def cache_line(cache: Cache, when: str) -> str:
    """What the cache holds, in a line."""
    held = cache.usage()
    parts = f", {held.parts} unfinished ({held.part_bytes:,} bytes)" if held.parts else ""
    folder = printable(str(cache.folder), 1000)
    return f"cache {when}: {counted(held.files, 'file')}, {held.bytes:,} bytes{parts} in {folder}"
