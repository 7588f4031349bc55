"""`fetch`: published checkpoints by name, downloaded side by side, each converted as it arrives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hornet_convert.api.checkpoints import convert
from hornet_convert.conversion.request import Request
from hornet_convert.download.at_hand import Fetched
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Edges, Event, Limits, ignore, network_is_off
from hornet_convert.download.obtain import obtain
from hornet_convert.download.parallel import fetch_many
from hornet_convert.download.pins import claims_of
from hornet_convert.download.sources import (
    Headers,
    Source,
    SourceChoice,
    require_directories,
    sources_for,
)
from hornet_convert.download.trust import TrustRecord
from hornet_convert.download.wanted import ChecksumMismatchError
from hornet_convert.errors import (
    AmbiguousError,
    DiskError,
    FileRefusedError,
    HornetConvertError,
    UnsafeError,
    as_ours,
)
from hornet_convert.family import zoo
from hornet_convert.report.check import failed
from hornet_convert.report.claims import Claim
from hornet_convert.report.progress import Progress
from hornet_convert.report.report import Report

MIRROR: Final = "HORNET_CONVERT_MIRROR"
TOKEN: Final = "HORNET_CONVERT_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True)
class Download:
    """How to get the files.

    `mirrors` are URLs and directories, in order; by default what HORNET_CONVERT_MIRROR names.
    `choice` is one source alone; `headers` are for the mirrors, and a token in
    HORNET_CONVERT_TOKEN is one. `jobs` says how many downloads at once; `refetch` whether to fetch
    again what is cached; `keep` whether the cache keeps what was converted without a failure;
    `forward` whether the forward check is made; `quiet` whether to report no progress.
    HORNET_CONVERT_OFFLINE=1 is as good as `offline`.
    """

    cache: Cache
    mirrors: Sequence[str] | None = None
    choice: SourceChoice = "auto"
    offline: bool = False
    refetch: bool = False
    jobs: int = 2
    keep: bool = True
    forward: bool = True
    headers: Headers = field(default=(), repr=False)
    limits: Limits = field(default_factory=Limits)
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.mirrors is None:
            named = os.environ.get(MIRROR)
            object.__setattr__(self, "mirrors", (named,) if named else ())
        if network_is_off():
            object.__setattr__(self, "offline", True)
        if token := os.environ.get(TOKEN):
            ours = (("Authorization", f"Bearer {token}"), *self.headers)
            object.__setattr__(self, "headers", ours)

    def sources(self, model: zoo.Published) -> list[Source]:
        """Where a model can come from, in order.

        Raises UsageError for a mirror that is a directory and not there, or needs a library that is
        not installed.
        """
        found = sources_for(
            model, mirrors=self.mirrors or (), choice=self.choice, headers=self.headers
        )
        require_directories(found)
        if any(source.store for source in found):
            from hornet_convert.download.stores import require_stores

            require_stores(found)
        return found


def fetch(
    models: Sequence[zoo.Published],
    settings: Download,
    request: Request,
    *,
    events: Callable[[Event], None] = ignore,
    progress: Callable[[str], Progress | None] = lambda name: None,
) -> Iterator[Report]:
    """Download and convert; yields the report of each model as soon as it is done.

    The row, source and claims of `request` are filled in here. `events` is told how the downloads
    go, from several threads; `progress` gives the callback for the conversion of one model. One
    model's failure does not stop the others: its report carries the error.

    Raises UsageError or DiskError for what can be known to be wrong before anything is downloaded.
    """
    if settings.quiet:
        events, progress = ignore, lambda name: None
    if os.path.exists(request.out) and not os.path.isdir(request.out):  # noqa: PTH110, PTH112 - never raise
        raise DiskError(
            "the folder for the result is a file",
            where=str(request.out),
            hint="Name another folder.",
        )
    for model in models:
        settings.sources(model)
    if request.onnx is not None:
        from hornet_convert.onnx.make import required

        required(request)
    return _fetch(models, settings, request, events, progress)


def _fetch(
    models: Sequence[zoo.Published],
    settings: Download,
    request: Request,
    events: Callable[[Event], None],
    progress: Callable[[str], Progress | None],
) -> Iterator[Report]:
    cancel = threading.Event()
    edges = Edges(limits=settings.limits, progress=events, cancel=cancel)

    def item(model: zoo.Published) -> Fetched:
        sources, force = settings.sources(model), settings.refetch
        return obtain(
            model, sources, settings.cache, offline=settings.offline, force=force, edges=edges
        )

    for outcome in fetch_many(models, item, jobs=settings.jobs, cancel=cancel):
        model, got = outcome.model, outcome.fetched
        if got is None:
            yield _without_file(model, outcome.error)
            continue
        report = _converted(got, settings, request, edges, progress(model.name))
        try:
            if report and not settings.keep and got.kept:
                left = settings.cache.discard(model.name, got.source)
                notes = (f"the download stays in the cache: {line}" for line in left)
                report = replace(report, notes=(*report.notes, *notes))
            if not report and got.kept and (problem := _problem(report, request)) is not None:
                came = not got.from_cache
                times = settings.cache.set_aside(model.name, got.source, problem, came=came)
                text = "the file is set aside in the cache: the next run fetches it again"
                if times > 1:
                    text = f"this very file came {times} times: --refetch fetches it again"
                report = replace(report, notes=(*report.notes, text))
            elif report and got.kept:
                settings.cache.set_aside(model.name, got.source, None)
        except DiskError as error:
            report = replace(
                report, notes=(*report.notes, f"the cache is as it was: {error.message}")
            )
        yield report


def _converted(
    got: Fetched, settings: Download, request: Request, edges: Edges, progress: Progress | None
) -> Report:
    """Convert what was downloaded, and remember it if everything passed.

    The result is no worse where nothing can be written down.
    """
    chosen = request.chooses
    try:
        record = TrustRecord(settings.cache.trust_path, edges=edges)
        ours = replace(
            request,
            model=got.model.name,
            row=got.model,
            source=_source(got),
            notes=got.notes,
            claims=(*request.claims, *_claims(got, record, of_weights=not chosen)),
        )
        report = convert(got.path, ours, forward=settings.forward, progress=progress)
        if report and report.fingerprint is not None:
            try:
                record.record(
                    got.model.name,
                    got.source,
                    sha256=report.sha256 or got.sha256,
                    size=got.size,
                    fingerprint=None if chosen else report.fingerprint,
                )
            except DiskError as error:
                note = f"nothing could be recorded in the trust record: {error.message}"
                report = replace(report, notes=(*report.notes, note))
    except Exception as error:  # the other models go on
        report = Report(
            path=str(got.path),
            asked=got.model.name,
            model=got.model.name,
            sha256=got.sha256,
            source=_source(got),
            notes=got.notes,
            error=as_ours(error),
        )
    return report


def _problem(report: Report, request: Request) -> str | None:
    """What is wrong with the file itself; None if it is what was asked of it, or the machine."""
    if request.chooses:
        return None
    error = report.error
    failing = {check.code for check in report.checks if check.status == "fail"}
    if error is None and failing <= {"graph", "runtime"}:  # rows on what was made of the file
        return None
    if isinstance(error, FileRefusedError) and not isinstance(error, AmbiguousError | UnsafeError):
        return error.what
    return None if error is not None else report.first_failure


def _without_file(model: zoo.Published, error: HornetConvertError | None) -> Report:
    """The report of a model whose file could not be had, or was another one."""
    if isinstance(error, ChecksumMismatchError):
        found = error.found_digest or f"another length, {error.size:,} bytes"
        text = f"{error.origin} says {error.expected_digest}; the file has {found}"
        return Report(
            asked=model.name,
            model=model.name,
            sha256=error.found_digest,
            checks=(failed("checksum", text),),
            error=error,
        )
    return Report(asked=model.name, model=model.name, error=error)


def _claims(got: Fetched, record: TrustRecord, of_weights: bool) -> list[Claim]:
    """What the file is known by: what it came with, and what the trust record has."""
    known = [
        claim
        for claim in claims_of(record.pins(), got.model.name, got.source)
        if of_weights or claim.kind != "fingerprint"
    ]
    if got.expected is None or any(got.expected.digest == claim.digest for claim in known):
        return known
    # The mirror that lists a digest serves the file too: it can contradict, and not vouch.
    return [replace(got.expected, authority="none", model=None), *known]


def _source(got: Fetched) -> dict[str, Any]:
    """Where a file came from, and why not from elsewhere, for report and provenance."""
    return {
        "name": got.source.name,
        "url": got.url,
        "from_cache": got.from_cache,
        "not_used": [
            {"name": a.source.name, "url": a.source.location, "reason": a.reason}
            for a in got.attempts
            if a.reason is not None
        ],
    }
