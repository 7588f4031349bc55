"""A published model ready to be loaded: fetched, converted and proven once, then kept in the cache.

The result lies in `converted/` of the cache folder, with its record beside it. It is used again as
long as its bytes are those of the record, and it came from a source that would be asked now.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hornet_convert import zoo
from hornet_convert.convert import Request
from hornet_convert.download.digests import sha256_of
from hornet_convert.download.disk import disk_errors, read_json
from hornet_convert.download.edges import Edges, Event, ignore
from hornet_convert.download.locks import exclusive
from hornet_convert.download.sources import Source, sources_for
from hornet_convert.errors import CheckFailedError
from hornet_convert.fetch import Download, fetch
from hornet_convert.report import first_failure
from hornet_convert.verify import Progress

FOLDER = "converted"


def pretrained(
    model: zoo.Published,
    how: Download,
    *,
    events: Callable[[Event], None] = ignore,
    progress: Callable[[str], Progress | None] = lambda name: None,
) -> Path:
    """The verified safetensors file of a published model; fetches and converts it if need be.

    Of several processes that want the same model one does the work, and the others wait for it.

    Raises
    ------
    CheckFailedError
        A check of the checkpoint failed.
    HornetConvertError
        No source can be reached, the file is none, or it cannot be written.
    """
    folder = how.cache.folder / FOLDER
    sources = sources_for(model, mirror=how.mirror, pin=how.pin)
    waiting = Event(model.name, "cache", "waiting", detail="another process is converting it")
    with disk_errors(folder, "using the cache"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / f".{model.name}.lock"
        with exclusive(lock, Edges(progress=events), lambda: events(waiting)):
            kept = None if how.refetch else _kept(model, folder, sources)
            return kept or _convert(model, how, folder, events, progress)


def _convert(
    model: zoo.Published,
    how: Download,
    folder: Path,
    events: Callable[[Event], None],
    progress: Callable[[str], Progress | None],
) -> Path:
    request = Request(folder, force=True)  # what has the name is not what its record says
    [report] = fetch([model], how, request, events=events, progress=progress)
    if report.error is not None:
        raise report.error
    if report.output is None:
        raise CheckFailedError(
            f"the checkpoint of {model.name} is not right",
            where=report.path,
            found=first_failure(report),
            hint=f"`hornet-convert fetch {model.name}` shows all checks; --refetch downloads anew.",
        )
    return Path(report.output)


def _kept(model: zoo.Published, folder: Path, sources: list[Source]) -> Path | None:
    """The newest intact result from one of the sources."""
    records = folder.glob(f"{model.stem}-*.json")
    for path in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True):
        record = read_json(path) or {}
        file = path.with_suffix(".safetensors")
        if (
            file.is_file()
            and _came_from(record.get("source"), sources)
            and sha256_of(file)[0] == record.get("sha256")
        ):
            return file
    return None


def _came_from(recorded: object, sources: list[Source]) -> bool:
    """Whether what a record says of its source is one of these."""
    if not isinstance(recorded, dict):
        return False
    name, url = recorded.get("name"), str(recorded.get("url"))
    return any(
        name == source.name
        and (url == source.location or url.startswith(source.location.rstrip("/") + "/"))
        for source in sources
    )
