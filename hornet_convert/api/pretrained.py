"""A published model ready to be loaded: fetched, converted and proven once, then kept in the cache.

The result lies in `<model>/converted/` of the cache folder, whose entry says which it is, its
SHA-256 and where it came from. It is used again as long as its bytes are those, and its source is
one that would be asked now, or nothing can be asked. Of a cache that is others' and may only be
read the downloads are used, and what is made of them is kept in the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hornet_convert.api.fetch import Download, fetch
from hornet_convert.conversion.request import Request
from hornet_convert.download.cache import Cache, Slot
from hornet_convert.download.edges import Edges, Event, ignore
from hornet_convert.download.errors import OPTION
from hornet_convert.download.locks import exclusive
from hornet_convert.download.sources import Source
from hornet_convert.errors import CheckFailedError
from hornet_convert.family import zoo
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.reading import sha256_of
from hornet_convert.report.progress import Progress


def pretrained(
    model: zoo.Published,
    settings: Download,
    *,
    events: Callable[[Event], None] = ignore,
    progress: Callable[[str], Progress | None] = lambda name: None,
) -> Path:
    """The verified safetensors file of a published model; fetches and converts it if need be.

    Of several processes that want the same model one does the work, and the others wait for it.
    Nothing is locked or written if it is there, so that a cache may be read-only.

    Raises CheckFailedError if a check of the checkpoint failed, another HornetConvertError if no
    source can be reached, the file is not a checkpoint, or it cannot be written.
    """
    slot = settings.cache.converted(model.name)
    if not settings.refetch and (kept := _kept(slot, model, settings)) is not None:
        return kept
    if settings.quiet:
        events = ignore
    if not slot.may_be_written():
        slot = Cache.of_user().converted(model.name)

    def waiting(holder: str) -> None:
        events(Event(model.name, "cache", "waiting", detail=f"{holder} is converting it"))

    slot.prepare()
    with (
        disk_errors(slot.folder, "using the cache", OPTION),
        exclusive(slot.lock, Edges(progress=events), waiting),
    ):
        kept = None if settings.refetch else _kept(slot, model, settings)
        return kept or _convert(model, settings, slot, events, progress)


def _convert(
    model: zoo.Published,
    settings: Download,
    slot: Slot,
    events: Callable[[Event], None],
    progress: Callable[[str], Progress | None],
) -> Path:
    request = Request(slot.folder, force=True)  # a damaged file may have the name
    [report] = fetch([model], settings, request, events=events, progress=progress)
    if report.error is not None:
        if report.error.hint is not None:  # the result lies in the cache
            report.error.hint = report.error.hint.replace("--out", OPTION)
        raise report.error
    if report.output is None:
        raise CheckFailedError(
            f"the checkpoint of {model.name} is not right",
            where=report.path,
            found=report.first_failure,
            hint=f"`hornet-convert fetch {model.name}` shows all checks; --refetch downloads anew.",
        )
    path, source = Path(report.output), report.source or {}
    came_from = next(s for s in settings.sources(model) if _is_from(source, s))
    slot.record(
        path.name,
        model=model.name,
        source=came_from,
        url=source["url"],
        size=path.stat().st_size,
        sha256=str(report.output_sha256),
    )
    return path


def _is_from(told: Mapping[str, Any], source: Source) -> bool:
    """Whether a report names this source; a mirror's file lies below its address."""
    url, place = str(told["url"]), source.location.rstrip("/")
    same = url in (source.location, place) or url.startswith(f"{place}/")
    return told["name"] == source.name and same


def _kept(slot: Slot, model: zoo.Published, settings: Download) -> Path | None:
    """The result that is kept in a slot, if it is whole and came from one of the sources.

    Offline, who names no source means whatever there is.
    """
    sources = settings.sources(model)
    entry = slot.legible_entry()
    if entry is None or not (path := slot.folder / entry.file).is_file():
        return None
    any_will_do = settings.offline and settings.choice == "auto" and not settings.mirrors
    known = any((entry.source, entry.location) == (s.name, s.location) for s in sources)
    if not (known or any_will_do):
        return None
    return path if sha256_of(path)[0] == entry.sha256 else None
