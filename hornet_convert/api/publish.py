"""`publish`: a proven model as the folder that a repository of the Hub is, and its upload."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hornet_convert.api.checkpoints import cases_for, convert
from hornet_convert.api.fetch import Download, fetch
from hornet_convert.checkpoint.folder import SAFETENSORS, file_of
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Onnx, Request
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Event, ignore, network_is_off
from hornet_convert.download.hub import require_repository, upload
from hornet_convert.errors import DiskError, HornetConvertError, UnknownModelError, UsageError
from hornet_convert.family import zoo
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.reading import sha256_of
from hornet_convert.files.records import as_text, read_text
from hornet_convert.files.writing import (
    publish_bytes,
    refuse_special,
    sync_folder,
    temporary_folder,
)
from hornet_convert.publishing.card import card
from hornet_convert.publishing.files import CARD, ONNX, RECORD, small_files
from hornet_convert.publishing.told import record, told_to_others
from hornet_convert.report.progress import Progress
from hornet_convert.report.report import Report
from hornet_convert.text import listed, printable

if TYPE_CHECKING:
    from hornet_convert.onnx.make import Cases

_SCRATCH: Final = "hornet-convert-publish-"


def publish(
    what: str | os.PathLike[str],
    request: Request,
    *,
    push: str | None = None,
    settings: Download | None = None,
    forward: bool = True,
    events: Callable[[Event], None] = ignore,
    progress: Callable[[str], Progress | None] = lambda name: None,
) -> Report:
    """Make `request.out` what a repository of the Hub is, of one proven model, and upload it.

    Parameters
    ----------
    what
        One of the nine by any of its names, fetched as `settings` say; or a checkpoint, or a folder
        with one. A file of the name goes first.
    request
        As for `convert`, in the reference layout and safetensors; `onnx` with the weights inside
        asks for `onnx/model.onnx` as well.
    push
        ORG/REPO on the Hub, made if need be; by huggingface_hub, whose HF_ENDPOINT and HF_TOKEN
        count. Only the files made here are uploaded.
    settings, forward, events, progress
        As for `fetch` and `convert`.

    Returns
    -------
    Report
        That of the conversion; `output` is the folder, None if a check failed: then nothing is
        written or uploaded. If only the upload failed, `error` says so.

    Raises
    ------
    UsageError
        What cannot be had, or a library that is not installed.
    DiskError
        Other files have the names of those to be written, unless forced.
    HornetConvertError
        What `convert` raises.
    """
    _require_possible(request, push, settings)
    found = meant(os.fspath(what))
    with temporary_folder(request.out, _SCRATCH) as folder:
        plain = replace(request, out=folder, onnx=None, keep=True)
        report = _converted(found, plain, settings, forward, events, progress)
        onnx = None
        if report and report.output is not None and request.onnx is not None:
            report, onnx = _with_onnx(report, folder, cases_for(request) if forward else None)
        if report.output is None or not report:
            return replace(report, output=None, output_sha256=None)
        digests = _files(report, onnx, folder, request, push)
        names = _place(folder, request, digests)
    if not {*names} - {CARD, RECORD}:
        report = replace(report, notes=(*report.notes, "the model was there already, the same"))
    told = {**(report.conversion or {}), "files": digests, "pushed": None}
    report = replace(report, output=str(request.out), conversion=told)
    return report if push is None else _pushed(report, push, tuple(digests))


def _require_possible(request: Request, push: str | None, settings: Download | None) -> None:
    if request.layout != "reference" or request.format != "safetensors":
        raise UsageError(
            "a repository holds the reference layout, in safetensors",
            found=f"layout {request.layout}, format {request.format}",
        )
    if request.onnx is not None:
        from hornet_convert.onnx.make import required

        if request.onnx != Onnx(single_file=True):
            raise UsageError("the ONNX model of a repository has the weights inside, and logits")
        required(request)
    if push is not None:
        require_repository(push)
        if network_is_off() or (settings is not None and settings.offline):
            raise UsageError(
                "--push needs the network, which is off limits",
                hint="Leave out --push, or allow it: no --offline, no HORNET_CONVERT_OFFLINE.",
            )


def meant(text: str) -> zoo.Published | Path:
    """The file that is meant, or the model that is to be fetched. Raises UsageError."""
    path, row = Path(text), zoo.known(text)
    if path.is_file() or (path.exists() and row is None):
        return file_of(path)
    try:
        return zoo.find(text)
    except UnknownModelError as error:
        if row is None and (path.suffix or path.name != text):
            raise UsageError("there is no such file", where=printable(text, 1000)) from error
        raise


def _converted(
    found: zoo.Published | Path,
    request: Request,
    settings: Download | None,
    forward: bool,
    events: Callable[[Event], None],
    progress: Callable[[str], Progress | None],
) -> Report:
    if isinstance(found, Path):
        return convert(found, request, forward=forward, progress=progress(found.name))
    request.edits.check(found.architecture, request.layout)
    settings = replace(settings or Download(Cache.at()), forward=forward)
    [report] = fetch([found], settings, request, events=events, progress=progress)
    return report


def _with_onnx(report: Report, folder: Path, cases: Cases | None) -> tuple[Report, dict[str, Any]]:
    """Make the ONNX model of what was converted: the report with its rows, and what it is."""
    from hornet_convert.onnx.make import with_model

    request = Request(folder / "made", onnx=Onnx(single_file=True))
    made = with_model(lambda _: report, request, cases)
    if made.output is None or not made:
        return replace(made, output=None, notes=report.notes), {}
    (folder / ONNX).parent.mkdir()
    Path(made.output).rename(folder / ONNX)
    about = {name: (made.conversion or {})[name] for name in ("outputs", "opset", "ir_version")}
    return replace(report, checks=made.checks), {"sha256": made.output_sha256, **about}


def _files(
    report: Report, onnx: dict[str, Any] | None, folder: Path, request: Request, push: str | None
) -> dict[str, str]:
    """Put all files into `folder`; their SHA-256 by name, what speaks of others after them."""
    weights, conversion = Path(str(report.output)), report.conversion or {}
    statement = json.loads(weights.with_suffix(".json").read_bytes())
    weights.rename(folder / SAFETENSORS)
    architecture = zoo.architecture_of(conversion["model"])
    digests = {SAFETENSORS: str(report.output_sha256)}
    digests |= {ONNX: str(onnx["sha256"])} if onnx else {}

    def put(name: str, text: bytes) -> None:
        publish_bytes(text, folder / name)
        digests[name] = hashlib.sha256(text).hexdigest()

    for name, text in small_files(architecture, conversion["num_classes"]).items():
        put(name, text)
    told = told_to_others(report)
    source = checks_in(record(statement, told, digests, onnx))["source"]
    readme = card(told, source, digests, chosen=request.chooses, repository=push)
    put(CARD, readme.encode())
    put(RECORD, as_text(record(statement, told, digests, onnx)))
    return digests


def _place(folder: Path, request: Request, digests: Mapping[str, str]) -> list[str]:
    """Give the files their names in `request.out`; the names of those that were not there.

    What was made here before of the same weights may be replaced. Raises DiskError before anything
    is changed if another file has one of the names, unless forced.
    """
    out, others, missing = request.out, [], []
    with disk_errors(out / RECORD, "reading"):
        ours = _recorded(out, digests)
    for name, digest in digests.items():
        with disk_errors(out / name, "reading"):
            refuse_special(out / name)
            found = sha256_of(out / name)[0] if os.path.lexists(out / name) else None
        if found != digest:
            missing.append(name)
            others += [] if found in (None, ours.get(name)) else [name]
    if others and not request.force:
        raise DiskError(
            "other files have the names of those to be written",
            where=printable(str(out), 1000),
            found=listed(others),
            hint="Name another folder with --out, or replace them with --force.",
        )
    for name in missing:
        with disk_errors(out / name, "renaming"):
            (out / name).parent.mkdir(exist_ok=True)
            (folder / name).replace(out / name)
            sync_folder((out / name).parent)
    return missing


def _recorded(out: Path, digests: Mapping[str, str]) -> dict[str, str]:
    """The files that were made here before, of the same weights: their SHA-256 by name."""
    text = read_text(out / RECORD) or b""
    try:
        reason = {each["name"]: each["digest"]["sha256"] for each in json.loads(text)["subject"]}
    except (ValueError, TypeError, LookupError, RecursionError):
        return {}
    if reason.get(SAFETENSORS) != digests[SAFETENSORS]:
        return {}
    return {**reason, RECORD: hashlib.sha256(text).hexdigest()}


def _pushed(report: Report, repository: str, names: Sequence[str]) -> Report:
    """Upload what was written; the report says where it is, or why that failed."""
    folder, message = Path(str(report.output)), f"{report.model} by hornet-convert"
    try:
        url = upload(folder, repository, message=message, files=names)
    except HornetConvertError as error:
        return replace(report, error=error)
    told = {**(report.conversion or {}), "pushed": url}
    return replace(report, conversion=told, notes=(*report.notes, f"pushed: {url}"))
