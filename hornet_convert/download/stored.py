"""Files that need no network: in the cache, or in a mirror that is a directory."""

from __future__ import annotations

from pathlib import Path

from hornet_convert.download.cache import Entry
from hornet_convert.download.digests import open_regular, sha256_of
from hornet_convert.download.disk import disk_errors
from hornet_convert.download.expectations import CACHE, Expectation, Wanted, mismatch, wanted
from hornet_convert.download.index import MAX_INDEX_BYTES, listed_file
from hornet_convert.download.result import Fetched, Request, UnusableError
from hornet_convert.download.sources import INDEX_NAME, Source, without_credentials
from hornet_convert.errors import MalformedError


def wanted_from(request: Request, source: Source, index: bytes | None) -> Wanted:
    """What to ask a source for, given the text of its index if it is a mirror that has one."""
    listed = None
    if index is not None:
        where = without_credentials(source.url_of(INDEX_NAME))
        if len(index) > MAX_INDEX_BYTES:
            expected = f"at most {MAX_INDEX_BYTES} bytes"
            raise MalformedError("the mirror's index is too long", where=where, expected=expected)
        listed = listed_file(index, request.model, where)
        if listed is None:
            raise UnusableError(f"the index lists no {request.model.name}", where)
    pin = request.trust.expected_for(request.model.name, source)
    return wanted(request.model, source, listed, pin)


def from_cache(request: Request, source: Source, want: Wanted | None) -> Fetched | None:
    """The cached file of a source if it is whole and as wanted, after hashing it again.

    Without `want` what was expected when it was stored counts. Offline, a damaged file is a
    ChecksumMismatchError, since nothing can replace it.
    """
    slot = request.cache.slot(request.model.name, source)
    with disk_errors(slot.folder, "reading the cache"):
        entry = slot.entry()
        path = slot.path_of(entry) if entry is not None else slot.folder
        if entry is None or not path.is_file():
            return None
        if (entry.source, entry.location) != (source.name, source.location):
            return None
        digest, size = _hashed(request, source, path, entry.size)
    want = want or _as_stored(request, source, entry)
    stored = Expectation(entry.sha256, CACHE)
    violated = want.violated_by(digest) if stored.accepts(digest) else stored
    if violated is None:
        return request.fetched(source, want, path, digest, size, from_cache=True)
    if request.offline:
        raise mismatch(str(path), size, violated, digest)
    detail = "the cached file is not the expected one: fetching it again"
    request.report(source, "retrying", detail=detail)
    return None


def from_directory(request: Request, source: Source) -> Fetched:
    """The file of a mirror on this machine, used where it lies.

    Raises UnusableError if it cannot be read, ChecksumMismatchError if it is another one.
    """
    folder = Path(source.address)
    try:
        want = wanted_from(request, source, _local_index(folder))
        path = folder / want.file
        if want.size is None and not path.exists():
            want, path = _other_generation(request, folder, want)
        size = path.stat().st_size
        if want.size not in (None, size):
            raise mismatch(str(path), size, want.expectations[0], None)
        digest, size = _hashed(request, source, path, size)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnusableError(reason, str(error.filename or folder)) from error
    violated = want.violated_by(digest)
    if violated is not None:
        raise mismatch(str(path), size, violated, digest)
    return request.fetched(source, want, path, digest, size, from_cache=False)


def _other_generation(request: Request, folder: Path, want: Wanted) -> tuple[Wanted, Path]:
    """Another file of the model under a name of the published convention, if there is just one.

    It is held to the digits in its own name, and what it is not is said.
    """
    model = request.model
    others = sorted(folder.glob(f"{model.stem}-{'[0-9a-f]' * 8}.pth"))
    if len(others) != 1:
        return want, folder / want.file
    path = others[0]
    digits = path.stem.rpartition("-")[2]
    note = f"not the published file {model.sha8}: the mirror has {path.name}"
    return Wanted(str(path), path.name, None, (Expectation(digits, "the file's name"),), note), path


def _as_stored(request: Request, source: Source, entry: Entry) -> Wanted:
    expected = [Expectation(entry.expected, entry.origin)] if entry.expected else []
    pin = request.trust.expected_for(request.model.name, source)
    if pin is not None:
        expected.append(Expectation.pinned(pin))
    return Wanted(entry.url, entry.file, entry.size, tuple(expected), entry.note or None)


def _hashed(request: Request, source: Source, path: Path, size: int) -> tuple[str, int]:
    def seen(done: int) -> None:
        request.edges.check()
        request.report(source, "hashing", done, size)

    return sha256_of(path, seen=seen)


def _local_index(folder: Path) -> bytes | None:
    try:
        with open_regular(folder / INDEX_NAME) as file:
            text = bytearray()
            while len(text) <= MAX_INDEX_BYTES and (data := file.read(1 << 16)):
                text += data
            return bytes(text)
    except FileNotFoundError:
        return None
