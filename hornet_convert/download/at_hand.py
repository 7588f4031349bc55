"""What was asked for and what came of it; and the files that need no network.

Those lie in the cache, or in a mirror that is a directory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hornet_convert.download.cache import Cache, CacheEntry
from hornet_convert.download.edges import Edges, Event, Phase
from hornet_convert.download.errors import OPTION, UnusableError
from hornet_convert.download.sources import INDEX_NAME, Source, without_secrets
from hornet_convert.download.trust import TrustRecord
from hornet_convert.download.wanted import (
    CACHE,
    MAX_INDEX_BYTES,
    ChecksumMismatchError,
    Wanted,
    wanted,
)
from hornet_convert.family.zoo import Published
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.reading import sha256_of
from hornet_convert.files.records import read_text
from hornet_convert.report.claims import Claim


@dataclass(frozen=True)
class Attempt:
    """A source that was tried, and why it was not used; `reason` None for the one that was.

    `url` is what was asked for, without secrets.
    """

    source: Source
    reason: str | None
    url: str


@dataclass(frozen=True)
class Fetched:
    """A file at hand.

    `expected` is the strongest claim the file met, None if nothing was known about it. `kept` says
    whether it lies in the cache, `from_cache` whether it already did. `attempts` are all sources
    tried, this one last. `notes` are sentences for the user. `size` in bytes, `sha256` in hex.
    """

    model: Published
    path: Path
    source: Source
    url: str
    sha256: str
    size: int
    expected: Claim | None
    kept: bool
    from_cache: bool
    attempts: tuple[Attempt, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One model wanted, and everything needed to get it."""

    model: Published
    cache: Cache
    trust: TrustRecord
    edges: Edges
    offline: bool = False
    force: bool = False

    def wanted_of(self, source: Source, index: bytes | None = None) -> Wanted:
        """What to ask a source for, given the text of its index if it is a mirror that has one."""
        return wanted(self.model, source, self.trust, index)

    def report(
        self,
        source: Source,
        phase: Phase,
        done: int = 0,
        total: int | None = None,
        detail: str | None = None,
    ) -> None:
        """Tell the caller how far it is."""
        self.edges.progress(Event(self.model.name, source.name, phase, done, total, detail))

    def fetched(
        self,
        source: Source,
        want: Wanted,
        path: Path,
        sha256: str,
        size: int,
        *,
        kept: bool = False,
        from_cache: bool = False,
    ) -> Fetched:
        """The result for a file that meets every claim."""
        self.report(source, "done", size, size)
        expected = next(iter(want.claims), None)
        return Fetched(
            self.model, path, source, want.shown, sha256, size, expected, kept, from_cache,
            notes=want.notes,
        )  # fmt: skip


def from_cache(job: Job, source: Source, want: Wanted | None) -> Fetched | None:
    """The cached file of a source if it is whole and as wanted, after hashing it again.

    Without `want` what was expected when it was stored counts. Offline, a damaged file is a
    ChecksumMismatchError, since nothing can replace it.
    """
    slot = job.cache.slot(job.model.name, source)
    with disk_errors(slot.folder, "reading the cache", OPTION):
        entry = slot.entry()
        path = slot.folder / entry.file if entry is not None else slot.folder
        if entry is None or not path.is_file():
            return None
        if (entry.source, entry.location) != (source.name, source.location):
            return None
        if entry.refused == 1 and not job.offline:
            text = f"the cached file turned out wrong ({entry.problem}): fetching it again"
            job.report(source, "retrying", detail=text)
            return None
        digest, size = _hashed(job, source, path, entry.size)
    want = want or _as_stored(job, source, entry)
    stored = Claim(entry.sha256, CACHE, authority="none")
    violated = want.violated_by(digest) if stored.accepts(digest) else stored
    if violated is None:
        if entry.refused:
            text = f"this very file came {entry.refused} times and was wrong: {entry.problem}; "
            text += "--refetch fetches it again, --source and --mirror name another source"
            want = replace(want, notes=(*want.notes, text))
        return job.fetched(source, want, path, digest, size, kept=True, from_cache=True)
    if job.offline:
        raise ChecksumMismatchError(str(path), size, violated, digest)
    detail = "the cached file is not the expected one: fetching it again"
    job.report(source, "retrying", detail=detail)
    return None


def from_directory(job: Job, source: Source) -> Fetched:
    """The file of a mirror on this machine, used where it lies.

    Raises UnusableError if it cannot be read, ChecksumMismatchError if it is another one.
    """
    folder = Path(source.address)
    try:
        want = job.wanted_of(source, read_text(folder / INDEX_NAME, MAX_INDEX_BYTES))
        path = folder / want.file
        if want.size is None and not path.exists():
            want, path = _other_generation(job, folder, want)
        return in_place(job, source, want, path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnusableError(reason, without_secrets(str(error.filename or folder))) from error


def in_place(job: Job, source: Source, want: Wanted, path: Path) -> Fetched:
    """A file that lies outside the cache. Raises OSError, ChecksumMismatchError."""
    size = path.stat().st_size
    if want.size not in (None, size):
        raise ChecksumMismatchError(str(path), size, want.claims[0], None)
    digest, size = _hashed(job, source, path, size)
    violated = want.violated_by(digest)
    if violated is not None:
        raise ChecksumMismatchError(str(path), size, violated, digest)
    return job.fetched(source, want, path, digest, size)


def _other_generation(job: Job, folder: Path, want: Wanted) -> tuple[Wanted, Path]:
    """Another file of the model under a name of the published convention, if there is just one.

    It is held to the digits in its own name, and what it is not is said.
    """
    model = job.model
    others = sorted(folder.glob(f"{model.stem}-{'[0-9a-f]' * 8}.pth"))
    if len(others) != 1:
        return want, folder / want.file
    path = others[0]
    digits = path.stem.rpartition("-")[2]
    note = f"not the published file {model.sha8}: the mirror has {path.name}"
    claim = Claim(digits, "the file's name", authority="none", model=model.name)
    return Wanted(str(path), path.name, None, (claim,), (*want.notes, note)), path


def _as_stored(job: Job, source: Source, entry: CacheEntry) -> Wanted:
    claims = []
    if entry.expected:
        name = job.model.name
        claims.append(Claim(entry.expected, entry.origin, authority="none", model=name))
    pin = job.trust.expected_for(job.model.name, source)
    if pin is not None:
        claims.append(pin.claim("sha256", binding=True))
    notes = (entry.note,) if entry.note else ()
    return Wanted(entry.url, entry.file, entry.size, tuple(claims), notes)


def _hashed(job: Job, source: Source, path: Path, size: int) -> tuple[str, int]:
    def seen(done: int) -> None:
        job.edges.check()
        job.report(source, "hashing", done, size)

    return sha256_of(path, seen=seen)
