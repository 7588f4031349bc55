"""What this user has found to be right: full SHA-256, size and fingerprint of each model's sources.

A readable JSON file, `{"pins": [{"model", "source", "location", "sha256", "size", "fingerprint",
"first_seen"}, ...]}`. The first good conversion of a source writes its pin; from then on another
file from there is an error. The same form can be exported, imported, and shipped. Keys that this
version does not know stay in the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from hornet_convert.download.edges import Edges, Event
from hornet_convert.download.errors import OPTION
from hornet_convert.download.locks import exclusive
from hornet_convert.download.sources import Source, without_secrets
from hornet_convert.errors import CheckFailedError
from hornet_convert.files import records
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.records import Count, Sha256
from hornet_convert.files.writing import temporary, write_all
from hornet_convert.report.claims import Claim

MAX_RECORD_BYTES: Final = 16 << 20
TRUST: Final = "the trust record"

_LONGEST_WAIT: Final = 30.0  # seconds; it is held for a moment
_HINT: Final = "Mend it, or remove it: sources are then trusted anew on their next good conversion."


@dataclass(frozen=True)
class Pin:
    """One file of one source; `sha256` and `fingerprint` 64 hex digits, `size` in bytes."""

    model: str
    source: str
    location: str
    sha256: Sha256
    size: Count
    fingerprint: Sha256 | None
    first_seen: str

    def __post_init__(self) -> None:
        # Earlier versions recorded the query too, and a token in it.
        object.__setattr__(self, "location", without_secrets(self.location))

    @property
    def key(self) -> tuple[str, str, str]:
        """What a pin is about."""
        return self.model, self.source, self.location

    @property
    def claim(self) -> Claim:
        """What it says of the file."""
        said = f"{TRUST}, first seen {self.first_seen}"
        return Claim(self.sha256, said, model=self.model)

    def agrees_with(self, other: Pin) -> bool:
        """Whether both describe the same file; an unknown fingerprint contradicts nothing."""
        prints = {self.fingerprint, other.fingerprint} - {None}
        return (self.sha256, self.size) == (other.sha256, other.size) and len(prints) < 2


@dataclass(frozen=True)
class _Document:
    pins: list[Pin]


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
        """Every pin in order; the user's own before a shipped one about the same."""
        own = self._read()
        keys = {pin.key for pin in own}
        return tuple(_ordered([*own, *(pin for pin in self._shipped if pin.key not in keys)]))

    def expected_for(self, model: str, source: Source) -> Pin | None:
        """What a source has to give, if that is known."""
        key = (model, source.name, source.location)
        return next((pin for pin in self.pins() if pin.key == key), None)

    def record(
        self, model: str, source: Source, *, sha256: str, size: int, fingerprint: str | None
    ) -> None:
        """Remember a good file. Nothing is locked or written unless that is news.

        Raises CheckFailedError if the source is known to give another file, DiskError if it cannot
        be written.
        """
        today = datetime.now(UTC).date().isoformat()
        self.merge([Pin(model, source.name, source.location, sha256, size, fingerprint, today)])

    def merge(self, pins: Iterable[Pin]) -> tuple[Pin, ...]:
        """Add pins; returns those that are new. All or none.

        Raises CheckFailedError if one contradicts what is recorded.
        """
        pins = tuple(pins)
        changed, added = self._changed_by(pins)
        if changed:
            with self._locked():
                changed, added = self._changed_by(pins)
                own = {pin.key: pin for pin in self._read()}
                self._write((own | {pin.key: pin for pin in changed}).values())
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
        known = {pin.key: pin for pin in (*self._shipped, *self._read())}
        changed, added = [], []
        for pin in pins:
            before = known.get(pin.key)
            if before is not None and not before.agrees_with(pin):
                raise _contradiction(before, pin)
            if before is None:
                added.append(pin)
            elif before.fingerprint is None and pin.fingerprint is not None:
                pin = replace(before, fingerprint=pin.fingerprint)
            else:
                continue
            changed.append(pin)
            known[pin.key] = pin
        return changed, tuple(added)

    def _read(self) -> tuple[Pin, ...]:
        text = self._text()
        return () if text is None else pins_from(text, str(self.path))

    def _text(self) -> bytes | None:
        with disk_errors(self.path, "reading the trust record", OPTION):
            return records.read_text(self.path, MAX_RECORD_BYTES)

    def _write(self, pins: Iterable[Pin]) -> None:
        """Replace the pins, and leave what else there is: other keys, the mode, a link."""
        text = self._text()
        document = {} if text is None else records.parse(text, dict[str, Any], TRUST, "", _HINT)
        ours = Pin.__dataclass_fields__
        before = {
            Pin(**{name: entry[name] for name in ours}).key: entry
            for entry in document.get("pins", ())
        }
        entries = [before.get(pin.key, {}) | asdict(pin) for pin in _ordered(pins)]
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
            said = f"{holder} holds its lock"
            self._edges.progress(Event(TRUST, "waiting", "waiting", detail=said))

        with contextlib.ExitStack() as stack:
            with disk_errors(self.path, "locking the trust record", OPTION):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(lock, self._edges, waiting, _LONGEST_WAIT))
            yield


def _ordered(pins: Iterable[Pin]) -> list[Pin]:
    return sorted(pins, key=lambda pin: pin.key)


def claims_of(
    pins: Iterable[Pin], model: str | None = None, source: Source | None = None
) -> list[Claim]:
    """What the pins say of files and weights.

    The pin of the `model` and `source` a file was just fetched from is binding; every other one is
    known of another file, which may be the same.
    """
    own = None if source is None else (model, source.name, source.location)
    claims = []
    for pin in pins:
        said = f"{TRUST} ({pin.source}, first seen {pin.first_seen})"
        binding = pin.key == own
        claims.append(Claim(pin.sha256, said, "sha256", binding, model=pin.model))
        if pin.fingerprint is not None:
            claims.append(Claim(pin.fingerprint, said, "fingerprint", binding, model=pin.model))
    return claims


def packaged_pins(folder: Traversable | None = None) -> tuple[Pin, ...]:
    """Pins that come with the package, as `data/pins.json`; none if there is no such file."""
    file = (folder or resources.files("hornet_convert") / "data") / "pins.json"
    return pins_from(file.read_bytes(), str(file)) if file.is_file() else ()


def exported(pins: Iterable[Pin]) -> str:
    """Pins as the JSON text that `pins_from` reads."""
    return records.as_text(_Document(_ordered(pins))).decode()


def pins_from(text: bytes, where: str) -> tuple[Pin, ...]:
    """Pins out of a JSON text.

    Raises MalformedError, naming the entry.
    """
    return tuple(records.parse(text, _Document, TRUST, where, _HINT).pins)


def _contradiction(before: Pin, now: Pin) -> CheckFailedError:
    other = "other tensors" if before.sha256 == now.sha256 else "another file"
    known, found = (
        f"SHA-256 {pin.sha256}, fingerprint {pin.fingerprint or 'unknown'}" for pin in (before, now)
    )
    return CheckFailedError(
        f"{before.source} gives {other} than before for {before.model}",
        where=before.location,
        expected=f"{known}, first seen {before.first_seen}",
        found=found,
        hint="If the change is meant, forget the old pin: "
        f"`hornet-convert pins --forget {before.model}`.",
    )
