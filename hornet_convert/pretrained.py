"""A published model ready to be loaded: fetched, converted and proven once, then kept in the cache.

The result lies in `converted/` of the cache folder; `<model>.kept.json` there says which it is, its
SHA-256 and where it came from. It is used again as long as its bytes are those, and its source is
one that would be asked now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hornet_convert.conversion.convert import Request
from hornet_convert.download import converted
from hornet_convert.download.digests import sha256_of
from hornet_convert.download.disk import disk_errors, read_json, write_json
from hornet_convert.download.edges import Edges, Event, ignore
from hornet_convert.download.index import is_plain_name
from hornet_convert.download.locks import exclusive
from hornet_convert.download.sources import Source, sources_for
from hornet_convert.errors import CheckFailedError
from hornet_convert.family import zoo
from hornet_convert.fetch import Download, fetch
from hornet_convert.verification.report import first_failure
from hornet_convert.verification.subject import Progress


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
    folder = how.cache.folder / converted.FOLDER
    sources = sources_for(model, mirror=how.mirror, pin=how.pin)
    waiting = Event(model.name, "cache", "waiting", detail="another process is converting it")
    with disk_errors(folder, "using the cache"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / f".{model.name}.lock"
        with exclusive(lock, Edges(progress=events), lambda: events(waiting)):
            kept = None if how.refetch else _kept(model, folder, sources)
            return kept or _convert(model, how, folder, events, progress)


def _record(model: zoo.Published, folder: Path) -> Path:
    return folder / f"{model.name}.kept.json"


def _convert(
    model: zoo.Published,
    how: Download,
    folder: Path,
    events: Callable[[Event], None],
    progress: Callable[[str], Progress | None],
) -> Path:
    request = Request(folder, force=True)  # a damaged file may have the name
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
    path, source = Path(report.output), report.source or {}
    kept = {"file": path.name, "sha256": report.output_sha256}
    write_json(_record(model, folder), {**kept, "source": source["name"], "url": source["url"]})
    return path


def _kept(model: zoo.Published, folder: Path, sources: list[Source]) -> Path | None:
    """The result that is kept, if it is whole and came from one of the sources."""
    record = read_json(_record(model, folder)) or {}
    name = record.get("file")
    if not isinstance(name, str) or not is_plain_name(name) or not (folder / name).is_file():
        return None
    if not any(_came_from(record, source) for source in sources):
        return None
    return folder / name if sha256_of(folder / name)[0] == record.get("sha256") else None


def _came_from(record: Mapping[str, object], source: Source) -> bool:
    """Whether the record names this source; a mirror's file lies below its address."""
    url = str(record.get("url"))
    below = url.startswith(source.location.rstrip("/") + "/")
    return record.get("source") == source.name and (url == source.location or below)
