"""What was asked for, what came of it, and what was tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Edges, Event, Phase
from hornet_convert.download.expectations import Expectation, Wanted
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import TrustRecord
from hornet_convert.family.zoo import Published


class UnusableError(Exception):
    """A source does not give the file, for the reason this holds; the next one is tried.

    `url` is what was asked for, where that is more than the source's own address.
    """

    def __init__(self, reason: str, url: str | None = None) -> None:
        super().__init__(reason)
        self.url = url


@dataclass(frozen=True)
class Attempt:
    """A source that was tried, and why it was not used; `reason` None for the one that was.

    `url` is what was asked for, without credentials.
    """

    source: Source
    reason: str | None
    url: str


@dataclass(frozen=True)
class Fetched:
    """A file at hand.

    `expected` is the strongest expectation the file met, None if nothing was known about it.
    `attempts` are all sources tried, this one last. `notes` are sentences for the user. `size` in
    bytes, `sha256` in hex.
    """

    model: Published
    path: Path
    source: Source
    url: str
    sha256: str
    size: int
    expected: Expectation | None
    from_cache: bool
    attempts: tuple[Attempt, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One model wanted, and everything needed to get it."""

    model: Published
    cache: Cache
    trust: TrustRecord
    edges: Edges
    offline: bool = False

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
        self, source: Source, want: Wanted, path: Path, sha256: str, size: int, *, from_cache: bool
    ) -> Fetched:
        """The result for a file that meets every expectation."""
        self.report(source, "done", size, size)
        return Fetched(
            model=self.model,
            path=path,
            source=source,
            url=want.shown,
            sha256=sha256,
            size=size,
            expected=next(iter(want.expectations), None),
            from_cache=from_cache,
            notes=() if want.note is None else (want.note,),
        )
