"""From a server into the cache: one writer at a time, checked, published whole."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hornet_convert.download.body import small_body
from hornet_convert.download.cache import PART, Entry, Slot
from hornet_convert.download.disk import disk_errors
from hornet_convert.download.expectations import Wanted, mismatch
from hornet_convert.download.http import AbsentError, FaultError
from hornet_convert.download.index import MAX_INDEX_BYTES
from hornet_convert.download.locks import exclusive
from hornet_convert.download.partfile import PartFile
from hornet_convert.download.result import Fetched, Request, UnusableError
from hornet_convert.download.sources import INDEX_NAME, Source, without_credentials
from hornet_convert.download.stored import from_cache
from hornet_convert.download.transfer import Asked, WrongSizeError, transfer

if TYPE_CHECKING:
    import requests


def remote_index(request: Request, source: Source, session: requests.Session) -> bytes | None:
    """Text of a mirror's index; None if it has none.

    Raises UnusableError if the mirror cannot be asked.
    """
    url = source.url_of(INDEX_NAME)
    try:
        return small_body(session, url, MAX_INDEX_BYTES + 1, request.edges)
    except AbsentError:
        return None
    except FaultError as fault:
        raise UnusableError(fault.reason, without_credentials(url)) from fault


def into_cache(
    request: Request, source: Source, want: Wanted, session: requests.Session, *, force: bool
) -> Fetched:
    """Download a file into the cache, or wait for another process that is doing so.

    Raises UnusableError if the source does not give it, ChecksumMismatchError if it gives another
    file twice, DiskError.
    """
    slot = request.cache.slot(request.model.name, source)
    waited = False

    def waiting() -> None:
        nonlocal waited
        waited = True
        request.report(source, "waiting", detail="another process is fetching this file")

    with contextlib.ExitStack() as stack:
        with disk_errors(slot.folder, "making a place in the cache"):
            slot.folder.mkdir(parents=True, exist_ok=True)
            slot.refuse_link()
            alone = stack.enter_context(exclusive(slot.lock, request.edges, waiting))
            slot.folder.mkdir(parents=True, exist_ok=True)  # it may have been cleared meanwhile
        if waited and not force and (found := from_cache(request, source, want)):
            return found
        request.cache.sweep(slot)
        part = stack.enter_context(_part(slot, alone))
        try:
            sha256 = _checked(request, source, want, session, part)
        except FaultError as fault:
            raise UnusableError(fault.reason, want.shown) from fault
        expected = next(iter(want.expectations), None)
        entry = Entry(
            model=request.model.name,
            source=source.name,
            location=source.location,
            url=want.shown,
            file=want.file,
            size=part.size,
            sha256=sha256,
            fetched=datetime.now(UTC).isoformat(timespec="seconds"),
            expected=expected.digest if expected else "",
            origin=expected.origin if expected else "",
            note=want.note or "",
        )
        path = slot.publish(part, entry)
    return request.fetched(source, want, path, sha256, entry.size, from_cache=False)


def _checked(
    request: Request, source: Source, want: Wanted, session: requests.Session, part: PartFile
) -> str:
    """Download until the file is the expected one, at most twice; its SHA-256."""
    asked = Asked(want.url, want.size, bool(want.expectations))
    for last in (False, True):
        try:
            arrived = transfer(
                session,
                asked,
                part,
                request.edges,
                lambda phase, done, total, detail: request.report(
                    source, phase, done, total, detail
                ),
            )
        except WrongSizeError as wrong:
            raise mismatch(want.url, wrong.size, want.expectations[0], None) from wrong
        violated = want.violated_by(arrived.sha256)
        if violated is None:
            return arrived.sha256
        size = part.size
        part.restart(None)
        if last and arrived.whole:
            raise mismatch(want.url, size, violated, arrived.sha256)
        if last:
            raise FaultError(
                f"the server does not say how long the file is, and the {size} bytes that came "
                f"have another digest than {violated.digest}",
                again=False,
            )
        detail = "the file that came is not the expected one: fetching it once more"
        request.report(source, "retrying", 0, size, detail)
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _part(slot: Slot, alone: bool) -> Iterator[PartFile]:
    """The part file to write to.

    Where no lock keeps others out, each process takes the one there is by renaming it, which only
    one can, or starts its own, and puts it back when it stops.
    """
    if alone:
        with PartFile(slot.part, slot.part_sidecar) as part:
            yield part
        return
    mark = secrets.token_hex(6)
    own, sidecar = slot.folder / f"{PART}-{mark}", slot.folder / f"{PART}-{mark}.json"
    with contextlib.suppress(OSError):
        slot.part.rename(own)
        slot.part_sidecar.rename(sidecar)
    try:
        with PartFile(own, sidecar) as part:
            yield part
    finally:
        with contextlib.suppress(OSError):
            sidecar.rename(slot.part_sidecar)
            own.rename(slot.part)
