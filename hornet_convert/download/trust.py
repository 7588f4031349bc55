"""The trust record: the pins that this user has, in a JSON file.

The first good conversion of a source writes its pin; from then on another file from there is an
error. That says that nothing changed, not that it was right: only what others saw does, when it is
merged or comes with the package. Keys that this version does not know stay in the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from hornet_convert.download.edges import Edges, Event
from hornet_convert.download.errors import OPTION
from hornet_convert.download.locks import exclusive
from hornet_convert.download.pins import (
    Compared,
    Pin,
    compared,
    contradiction,
    ordered,
    packaged_pins,
    pins_from,
    seen_here,
)
from hornet_convert.download.sources import Source
from hornet_convert.files import records
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.writing import temporary, write_all

MAX_RECORD_BYTES: Final = 16 << 20
TRUST: Final = "the trust record"

_LONGEST_WAIT: Final = 30.0  # seconds; it is held for a moment
_HINT: Final = "Mend it, or remove it: sources are then trusted anew on their next good conversion."


class TrustRecord:
    """The record at a path; `shipped` pins (by default the package's) count, and never change.

    A missing file is an empty record; a damaged one is an error, because taking it for empty would
    trust anything.
    """

    def __init__(
        self, path: Path, shipped: Iterable[Pin] | None = None, edges: Edges | None = None
    ) -> None:
        self.path = path
        self._shipped = packaged_pins() if shipped is None else tuple(shipped)
        self._edges = edges or Edges()

    def pins(self) -> tuple[Pin, ...]:
        """Every pin, the shipped ones too, in order."""
        return tuple(ordered([*self._read(), *self._shipped]))

    def seen_here(self) -> tuple[Pin, ...]:
        """The pins of what this user has seen."""
        return tuple(pin for pin in self._read() if not pin.by)

    def expected_for(self, model: str, source: Source) -> Pin | None:
        """What a source has to give, if that is known."""
        place = (model, source.name, source.location)
        return next((pin for pin in self.pins() if pin.place == place), None)

    def record(
        self, model: str, source: Source, *, sha256: str, size: int, fingerprint: str | None
    ) -> None:
        """Remember a good file. Nothing is locked or written unless that is news.

        Raises CheckFailedError if the source is known to give another file, DiskError if it cannot
        be written.
        """
        pin = seen_here(model, source, sha256=sha256, size=size, fingerprint=fingerprint)
        agreeing = [p for p in self.pins() if p.place == pin.place and p.agrees_with(pin)]
        if any(p.fingerprint is not None or fingerprint is None for p in agreeing):
            return
        ours = next((p for p in agreeing if not p.by), pin)
        self.merge([replace(ours, fingerprint=fingerprint)])

    def compare(self, pins: Iterable[Pin]) -> list[Compared]:
        """What each of these pins is to the record."""
        return compared(pins, self.pins())

    def merge(self, pins: Iterable[Pin]) -> tuple[Pin, ...]:
        """Add pins; returns those that are new. All or none.

        Raises CheckFailedError if one contradicts what is recorded, or another of them.
        """
        pins = tuple(pins)
        changed, _ = self._changed_by(pins)
        if not changed:
            return ()
        with self._locked():
            changed, added = self._changed_by(pins)
            kept = [pin for pin in self._read() if not any(map(pin.is_same, changed))]
            self._write([*kept, *changed])
        return added

    def forget(self, model: str, source: str | None = None) -> tuple[Pin, ...]:
        """Remove the pins of a model, or of one of its sources by name; returns them."""

        def chosen() -> tuple[Pin, ...]:
            return tuple(p for p in self._read() if p.model == model and source in (None, p.source))

        if not chosen():
            return ()
        with self._locked():
            gone = chosen()
            self._write(pin for pin in self._read() if pin not in gone)
        return gone

    def _changed_by(self, pins: Iterable[Pin]) -> tuple[list[Pin], tuple[Pin, ...]]:
        """The pins to write for these, and which of these are new."""
        changed, added = [], []
        for row in self.compare(pins):
            if row.state == "contradicts" and row.other is not None:
                raise contradiction(row.pin, row.other)
            if row.other is None or row.state == "agrees":
                added.append(row.pin)
                changed.append(row.pin)
            elif row.other.fingerprint is None and row.pin.fingerprint is not None:
                changed.append(replace(row.other, fingerprint=row.pin.fingerprint))
        return changed, tuple(added)

    def _read(self) -> tuple[Pin, ...]:
        text = self._text()
        return () if text is None else pins_from(text, str(self.path), TRUST, _HINT)

    def _text(self) -> bytes | None:
        with disk_errors(self.path, "reading the trust record", OPTION):
            return records.read_text(self.path, MAX_RECORD_BYTES)

    def _write(self, pins: Iterable[Pin]) -> None:
        """Replace the pins, and leave what else there is: other keys, the mode, a link."""
        text = self._text()
        document = {} if text is None else records.parse(text, dict[str, Any], TRUST, "", _HINT)
        before = list(zip(self._read(), document.get("pins", ()), strict=True))
        entries = [
            next((entry for old, entry in before if old.is_same(pin)), {}) | asdict(pin)
            for pin in ordered(pins)
        ]
        final = self.path.resolve()
        with (
            temporary(final.parent, OPTION) as file,
            disk_errors(final, "writing the trust record", OPTION),
        ):
            if text is not None:
                os.fchmod(file.fd, final.stat().st_mode & 0o7777)
            write_all(file.fd, memoryview(records.as_text(document | {"pins": entries})), 0)
            os.fsync(file.fd)
            file.publish(final)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_name(f".{self.path.name}.lock")

        def waiting(holder: str) -> None:
            text = f"{holder} holds its lock"
            self._edges.progress(Event(TRUST, "waiting", "waiting", detail=text))

        with contextlib.ExitStack() as stack:
            with disk_errors(self.path, "locking the trust record", OPTION):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(lock, self._edges, waiting, _LONGEST_WAIT))
            yield
