"""What the options that several commands share ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hornet_convert.conversion.request import Edits, Onnx, Request
from hornet_convert.errors import UsageError
from hornet_convert.family import zoo
from hornet_convert.text import counted, printable

if TYPE_CHECKING:
    from hornet_convert.api.fetch import Download
    from hornet_convert.download.cache import Cache
    from hornet_convert.report.claims import Claim
    from hornet_convert.report.progress import Progress


def files_from(values: Mapping[str, Any]) -> list[Path]:
    """The checkpoints named, as arguments and by --ckpt, each once."""
    files = list(dict.fromkeys((*values["files"], *values["ckpt"])))
    if not files:
        hint = f"See `{click.get_current_context().command_path} -h`."
        raise UsageError("no checkpoint is named", hint=hint)
    return files


def require_meaning(values: Mapping[str, Any]) -> None:
    """Raise UsageError if --model or --sha256 mean nothing, whatever the file."""
    from hornet_convert.report.claims import given

    if values["model"] is not None:
        zoo.architecture_of(values["model"])
    if values["sha256"] is not None:
        given(values["sha256"])


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

    subject, text = file_of(subject), []
    if values["sha256"] is not None:
        text.append(given(values["sha256"]))
    if values["against"] is not None:
        text.append(against(values["against"], subject, progress))
    text += claims_beside(subject, values["signed_by"])
    return text + claims_of(TrustRecord(values["cache"].trust_path).pins())


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
