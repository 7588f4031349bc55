"""One checkpoint from the first source that gives it, checked on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Edges
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.result import Attempt, Fetched, Request, UnusableError
from hornet_convert.download.sources import Source
from hornet_convert.download.stored import from_cache, from_directory, wanted_from
from hornet_convert.download.trust import TrustRecord
from hornet_convert.errors import printable
from hornet_convert.family.zoo import Published

if TYPE_CHECKING:
    import requests

    Step = Callable[[Source], Fetched | None]


def fetch(
    model: Published,
    sources: Sequence[Source],
    cache: Cache,
    *,
    trust: TrustRecord | None = None,
    offline: bool = False,
    force: bool = False,
    edges: Edges | None = None,
    session: requests.Session | None = None,
) -> Fetched:
    """Get a model's file.

    A mirror is asked before anything that is cached from elsewhere is used; apart from that a
    cached file is preferred to any network. Whatever comes from the cache is hashed again.

    Parameters
    ----------
    model, sources, cache
        What, from where (see `sources_for`), and where to keep it.
    trust
        What is known about the sources; by default the record that belongs to the cache.
    offline
        Use what is cached and local, open no socket.
    force
        Fetch again what is cached already. The cached file stays until the new one is complete.
    edges
        Limits, progress, clock, and a way to stop.
    session
        HTTP session, as `http.new_session` makes it; by default one of its own.

    Raises
    ------
    ChecksumMismatchError
        A file was found and is another than the expected one. No further source is tried.
    NoSourceError
        No source gave the file.
    MalformedError
        The mirror's index, or the trust record, is malformed.
    DiskError
        The cache cannot be read or written.
    CancelledError
        `edges.cancel` was set.
    """
    record = trust or TrustRecord(cache.trust_path)
    request = Request(model, cache, record, edges or Edges(), offline)
    attempts: list[Attempt] = []
    with contextlib.ExitStack() as stack:
        for source, step in _steps(request, sources, force, stack, session):
            request.edges.check()
            try:
                found = step(source)
            except UnusableError as error:
                attempts.append(Attempt(source, str(error), error.url or source.location))
                continue
            if found is not None:
                return replace(found, attempts=(*attempts, Attempt(source, None, found.url)))
    raise _nothing(request, attempts)


def _steps(
    request: Request,
    sources: Sequence[Source],
    force: bool,
    stack: contextlib.ExitStack,
    session: requests.Session | None,
) -> Iterator[tuple[Source, Step]]:
    """What to do in turn: mirrors first, then what is cached, then the network."""
    opened = session

    def connection() -> requests.Session:
        nonlocal opened
        if opened is None:
            # Only now: without a download nothing of the HTTP libraries is imported.
            from hornet_convert.download.http import new_session

            opened = stack.enter_context(new_session())
        return opened

    def mirror(source: Source) -> Fetched | None:
        from hornet_convert.download.remote import into_cache, remote_index

        try:
            want = wanted_from(request, source, remote_index(request, source, connection()))
        except UnusableError as error:
            found = None if force else from_cache(request, source, None)
            if found is None:
                raise
            return replace(found, notes=(*found.notes, f"{error}; the cached file is used"))
        found = None if force else from_cache(request, source, want)
        return found or into_cache(request, source, want, connection(), force=force)

    def cached(source: Source) -> Fetched | None:
        want = None if source.name == "mirror" else wanted_from(request, source, None)
        return from_cache(request, source, want)

    def remote(source: Source) -> Fetched:
        from hornet_convert.download.remote import into_cache

        want = wanted_from(request, source, None)
        return into_cache(request, source, want, connection(), force=force)

    def absent(source: Source) -> None:
        raise UnusableError("nothing of it is cached, and the network is not to be used")

    mirrors = [source for source in sources if source.name == "mirror"]
    others = [source for source in sources if source.name != "mirror"]
    for source in mirrors:
        if source.is_directory:
            yield source, lambda source: from_directory(request, source)
        elif not request.offline:
            yield source, mirror
        else:
            yield source, cached
            yield source, absent
    if request.offline or not force:
        yield from ((source, cached) for source in others)
    yield from ((source, absent if request.offline else remote) for source in others)


def _nothing(request: Request, attempts: Sequence[Attempt]) -> NoSourceError:
    name = request.model.name
    reasons = tuple(f"{a.source.name} {a.url}: {a.reason}" for a in attempts)
    if request.offline:
        elsewhere = sorted(
            {
                printable(f"{entry.source} {entry.location}")
                for entry, _ in request.cache.entries(name)
            }
        )
        hint = "Run it once without --offline, or name a directory with --mirror."
        if elsewhere:
            hint = f"It is cached from {', '.join(elsewhere)}: name that source. {hint}"
        return NoSourceError(f"{name} is not at hand", reasons=reasons, hint=hint)
    kept = sum(
        part.stat().st_size
        for attempt in attempts
        if not attempt.source.is_directory
        and (part := request.cache.slot(name, attempt.source).part).is_file()
    )
    hint = "Name another source with --mirror URL_OR_DIR, or convert a local file."
    if kept:
        hint = f"{kept} bytes are kept: run the same command again to go on from there. {hint}"
    return NoSourceError(f"no source gave {name}", reasons=reasons, hint=hint)
