"""One checkpoint from the first source that gives it, checked on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hornet_convert.download.at_hand import Attempt, Fetched, Job, from_cache, from_directory
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Edges
from hornet_convert.download.errors import NoSourceError, UnusableError
from hornet_convert.download.partfile import DATA
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import TrustRecord
from hornet_convert.family.zoo import Published
from hornet_convert.text import printable

Step = Callable[[Job, Source], Fetched | None]


def obtain(
    model: Published,
    sources: Sequence[Source],
    cache: Cache,
    *,
    trust: TrustRecord | None = None,
    offline: bool = False,
    force: bool = False,
    edges: Edges | None = None,
) -> Fetched:
    """Get a model's file.

    Mirrors are asked before anything that is cached from elsewhere is used; apart from that a
    cached file is preferred to any network. Whatever comes from the cache is hashed again.
    By default `trust` is the record that belongs to the cache. `offline` opens no socket; with
    `force` what is cached is fetched again, and stays until the new file is complete.

    Raises
    ------
    ChecksumMismatchError
        A file was found and is another than the expected one. No further source is tried.
    NoSourceError
        No source gave the file.
    MalformedError
        The trust record is malformed.
    DiskError
        The cache cannot be read or written.
    CancelledError
        `edges.cancel` was set.
    """
    edges = edges or Edges()
    record = trust or TrustRecord(cache.trust_path, edges=edges)
    job = Job(model, cache, record, edges, offline, force)
    attempts: list[Attempt] = []
    for source, step in _steps(job, sources):
        job.edges.check()
        try:
            found = step(job, source)
        except UnusableError as error:
            attempts.append(Attempt(source, str(error), error.url or source.location))
            continue
        if found is not None:
            return replace(found, attempts=(*attempts, Attempt(source, None, found.url)))
    raise _nothing(job, attempts)


def _steps(job: Job, sources: Sequence[Source]) -> Iterator[tuple[Source, Step]]:
    """What to do in turn: mirrors first, then what is cached, then the network.

    Only when a download begins is anything of the HTTP libraries imported.
    """
    others = [source for source in sources if source.name != "mirror"]
    for source in sources:
        if source.is_directory:
            yield source, from_directory
        elif source.store == "hf":
            from hornet_convert.download.remote import from_hub

            yield source, from_hub
        elif source.name == "mirror" and not job.offline:
            from hornet_convert.download.remote import from_mirror

            yield source, from_mirror
        elif source.name == "mirror":
            yield source, _cached
            yield source, _absent
    if job.offline or not job.force:
        yield from ((source, _cached) for source in others)
    if job.offline:
        yield from ((source, _absent) for source in others)
        return
    for source in others:
        from hornet_convert.download.remote import from_link

        yield source, from_link


def _cached(job: Job, source: Source) -> Fetched | None:
    return from_cache(job, source, None if source.name == "mirror" else job.wanted_of(source))


def _absent(job: Job, source: Source) -> Fetched | None:
    raise UnusableError("not cached, and the network may not be used")


def _nothing(job: Job, attempts: Sequence[Attempt]) -> NoSourceError:
    name = job.model.name
    reasons = tuple(f"{a.source.name} {a.url}: {a.reason}" for a in attempts)
    if job.offline:
        elsewhere = sorted(
            printable(f"{entry.source} {entry.location}")
            for slot in job.cache.slots(name)
            if not slot.is_converted and (entry := slot.legible_entry()) is not None
        )
        hint = "Run it once without --offline, or name a directory with --mirror."
        if elsewhere:
            hint = f"It is cached from {', '.join(elsewhere)}: name that source. {hint}"
        return NoSourceError(f"{name} is not available offline", reasons=reasons, hint=hint)
    kept = sum(
        data.stat().st_size
        for attempt in attempts
        if (data := job.cache.slot(name, attempt.source).part / DATA).is_file()
    )
    hint = "Name another source with --mirror URL_OR_DIR, or convert a local file."
    if kept:
        hint = f"An unfinished download is kept: the next run resumes it. {hint}"
    return NoSourceError(f"no source provided {name}", reasons=reasons, hint=hint)
