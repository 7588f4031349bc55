"""From a server or a store into the cache: one writer at a time, checked, published whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from hornet_convert.download import stores
from hornet_convert.download.at_hand import Fetched, Job, from_cache, in_place
from hornet_convert.download.cache import Slot
from hornet_convert.download.errors import OPTION, UnusableError
from hornet_convert.download.http import FaultError, new_session, small_document
from hornet_convert.download.locks import exclusive
from hornet_convert.download.partfile import PartFile
from hornet_convert.download.sources import INDEX_NAME, Source, without_secrets
from hornet_convert.download.transfer import Asked, Transfer, WrongSizeError
from hornet_convert.download.wanted import MAX_INDEX_BYTES, ChecksumMismatchError, Wanted
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.records import read_text


def from_link(job: Job, source: Source) -> Fetched:
    """The file of a source that is known by its own address."""
    return _into_cache(job, source, job.wanted_of(source))


def from_mirror(job: Job, source: Source) -> Fetched:
    """The file of a mirror; if that cannot be had, what is cached of it."""
    try:
        want = job.wanted_of(source, _index(job, source))
        found = None if job.force else from_cache(job, source, want)
        return found or _into_cache(job, source, want)
    except UnusableError as error:
        found = None if job.force else from_cache(job, source, None)
        if found is None:
            raise
        return replace(found, notes=(*found.notes, f"{error}; the cached file is used"))


def _index(job: Job, source: Source) -> bytes | None:
    """Text of a mirror's index; None if it has none."""
    url, limit = source.url_of(INDEX_NAME), MAX_INDEX_BYTES + 1

    def say(reason: str) -> None:
        job.report(source, "retrying", detail=f"the index: {reason}")

    try:
        if source.store is not None:
            return stores.small_file(source, INDEX_NAME, limit)
        with new_session() as session:
            return small_document(session, url, limit, job.edges, source.headers, say)
    except FaultError as fault:
        raise UnusableError(fault.reason, without_secrets(url)) from fault


def from_hub(job: Job, source: Source) -> Fetched:
    """The file of a repository of the Hub, used where the Hub's own cache has it.

    Raises UnusableError if there is none, ChecksumMismatchError if it is another one twice.
    """
    try:
        index = stores.from_hub(source, INDEX_NAME, job.edges, offline=job.offline, force=False)
        text = None if index is None else read_text(index, MAX_INDEX_BYTES)
        want = job.wanted_of(source, text)
        for again in (job.force, True):
            job.report(source, "connecting")
            force = again and not job.offline
            path = stores.from_hub(source, want.file, job.edges, offline=job.offline, force=force)
            if path is None:
                absent = "the repository has no such file"
                if job.offline:
                    absent = "it is not in the Hub's cache, and the network is not to be used"
                raise UnusableError(absent, want.shown)
            try:
                return in_place(job, source, want, path)
            except ChecksumMismatchError:
                if again or job.offline:
                    raise
    except FaultError as fault:
        raise UnusableError(fault.reason) from fault
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from error
    raise AssertionError("unreachable")


def _into_cache(job: Job, source: Source, want: Wanted) -> Fetched:
    """Download a file into the cache, or wait for another process that is doing so.

    Raises UnusableError if the source does not give it, ChecksumMismatchError if it gives another
    file twice, DiskError.
    """
    slot = job.cache.slot(job.model.name, source)
    waited = False

    def waiting(holder: str) -> None:
        nonlocal waited
        waited = True
        job.report(source, "waiting", detail=f"{holder} is fetching this file")

    with contextlib.ExitStack() as stack:
        slot.prepare()
        before = slot.legible_entry()
        with disk_errors(slot.folder, "locking a place in the cache", OPTION):
            alone = stack.enter_context(exclusive(slot.lock, job.edges, waiting))
        slot.prepare()  # it may have been cleared meanwhile
        if (waited or slot.legible_entry() != before) and not job.force:
            found = from_cache(job, source, want)
            if found is not None:
                return found
        slot.sweep()
        part = stack.enter_context(_part(slot, alone))
        try:
            sha256 = _checked(job, source, want, part)
        except FaultError as fault:
            raise UnusableError("; ".join([fault.reason, *want.notes]), want.shown) from fault
        size = part.size
        path = slot.publish(
            part,
            want.file,
            model=job.model.name,
            source=source,
            url=want.shown,
            size=size,
            sha256=sha256,
            expected=next(iter(want.claims), None),
            notes=want.notes,
        )
    if before is not None and before.refused:
        same = "it is the same file again" if before.sha256 == sha256 else "it is another file"
        text = f"fetched again, because what came before was wrong ({before.problem}): {same}"
        want = replace(want, notes=(*want.notes, text))
    return job.fetched(source, want, path, sha256, size, kept=True)


def _checked(job: Job, source: Source, want: Wanted, part: PartFile) -> str:
    """Download until the file is the expected one, at most twice; its SHA-256."""
    asked = Asked(want.url, want.size, bool(want.claims), source.headers)
    report = partial(job.report, source)
    for last in (False, True):
        try:
            if source.store is not None:
                arrived = stores.copy(source, asked, part, job.edges, report)
            else:
                arrived = Transfer(asked, part, job.edges, report).run()
        except WrongSizeError as wrong:
            raise ChecksumMismatchError(want.url, wrong.size, want.claims[0], None) from wrong
        violated = want.violated_by(arrived.sha256)
        if violated is None:
            return arrived.sha256
        size = part.size
        part.restart(None)
        if last and arrived.whole:
            raise ChecksumMismatchError(want.url, size, violated, arrived.sha256)
        if last:
            raise FaultError(
                f"the server does not say how long the file is, and the {size} bytes that came "
                f"have another digest than {violated.digest}",
                again=False,
            )
        detail = "the file that came is not the expected one: fetching it once more"
        report("retrying", 0, size, detail)
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _part(slot: Slot, alone: bool) -> Iterator[PartFile]:
    """The part file to write to.

    Where no lock keeps others out, each process takes the one there is by renaming it, which only
    one can, or starts its own, and puts it back when it stops; what a killed one left is taken too.
    """
    folder = slot.part if alone else slot.own_part()
    if not alone:
        for idle in slot.idle_parts():
            with contextlib.suppress(OSError):
                idle.rename(folder)
                break
    try:
        with PartFile(folder) as part:
            yield part
    finally:
        if not alone:
            with contextlib.suppress(OSError):
                folder.rename(slot.part)
