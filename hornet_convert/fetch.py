"""`fetch`: published checkpoints by name, downloaded side by side, each converted as it arrives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hornet_convert.conversion.convert import Request, convert
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Edges, Event, ignore
from hornet_convert.download.errors import ChecksumMismatchError
from hornet_convert.download.fetch import fetch as download
from hornet_convert.download.parallel import Outcome, fetch_many
from hornet_convert.download.result import Fetched
from hornet_convert.download.sources import Pin, sources_for
from hornet_convert.download.trust import TrustRecord
from hornet_convert.errors import HornetConvertError
from hornet_convert.family import zoo
from hornet_convert.verification.references import pinned
from hornet_convert.verification.report import Report, failed
from hornet_convert.verification.subject import Progress
from hornet_convert.verification.verdict import Reference


@dataclass(frozen=True)
class Download:
    """How to get the files.

    `mirror` is a URL or a directory; `pin` one source alone; `jobs` how many downloads at once;
    `refetch` whether to fetch again what is cached; `keep` whether the cache keeps what was
    converted without a failure.
    """

    cache: Cache
    mirror: str | None = None
    pin: Pin = "auto"
    offline: bool = False
    refetch: bool = False
    jobs: int = 2
    keep: bool = True


def fetch(
    models: Sequence[zoo.Published],
    how: Download,
    request: Request,
    *,
    events: Callable[[Event], None] = ignore,
    progress: Callable[[str], Progress | None] = lambda name: None,
) -> Iterator[Report]:
    """Download and convert; yields the report of each model as soon as it is done.

    Parameters
    ----------
    models
        Which of the nine.
    how
        Where from and how.
    request
        What is asked of each conversion; its row, source and expectations are filled in here.
    events
        Told how the downloads go, from several threads.
    progress
        Gives the progress callback for the conversion of one model.

    One model's failure does not stop the others: its report carries the error.
    """
    cancel = threading.Event()
    edges = Edges(progress=events, cancel=cancel)

    def one(model: zoo.Published) -> Fetched:
        sources = sources_for(model, mirror=how.mirror, pin=how.pin)
        return download(
            model, sources, how.cache, offline=how.offline, force=how.refetch, edges=edges
        )

    outcomes = fetch_many(models, one, jobs=how.jobs, cancel=cancel)
    for outcome in outcomes:
        report = _finish(outcome, how, request, progress(outcome.model.name))
        got = outcome.fetched
        if report and not how.keep and got is not None and not got.source.is_directory:
            how.cache.discard(outcome.model.name, got.source)
        yield report


def _finish(outcome: Outcome, how: Download, request: Request, progress: Progress | None) -> Report:
    """Convert what was downloaded, and remember it if everything passed."""
    model, got = outcome.model, outcome.fetched
    if got is None:
        return _without_file(model, outcome.error)
    source = _source(got)
    own = replace(
        request,
        model=model.name,
        row=model,
        source=source,
    )
    try:
        record = TrustRecord(how.cache.trust_path)
        references = (*request.references, *_references(got, record))
        report = convert(got.path, replace(own, references=references), progress)
        if report and report.fingerprint is not None:
            record.record(
                model.name,
                got.source,
                sha256=report.sha256 or got.sha256,
                size=got.size,
                fingerprint=report.fingerprint,
            )
            report = replace(report, notes=(*got.notes, *report.notes))
    except HornetConvertError as error:
        report = Report(
            path=str(got.path), model=model.name, sha256=got.sha256, source=source, error=error
        )
    return report


def _without_file(model: zoo.Published, error: HornetConvertError | None) -> Report:
    """The report of a model whose file could not be had, or was another one."""
    if isinstance(error, ChecksumMismatchError):
        found = error.found_digest or f"another length, {error.size:,} bytes"
        said = f"{error.origin} says {error.expected_digest}; the file has {found}"
        return Report(
            model=model.name,
            sha256=error.found_digest,
            checks=(failed("checksum", said),),
            error=error,
        )
    return Report(model=model.name, error=error)


def _references(got: Fetched, record: TrustRecord) -> list[Reference]:
    """What the file is known by: what it came with, and what the trust record has."""
    known = pinned(record.pins(), got.model.name, got.source)
    if got.expected is None or any(got.expected.digest == pin.digits for pin in known):
        return known
    # The mirror that lists a digest serves the file too: it can contradict, and not vouch.
    return [Reference(got.expected.digest, got.expected.origin, vouches=False), *known]


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
