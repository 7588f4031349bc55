"""What this user has found to be right: full SHA-256, size and fingerprint of each model's sources.

A readable JSON file, `{"pins": [{"model", "source", "location", "sha256", "size", "fingerprint",
"first_seen"}, ...]}`. The first good conversion of a source writes its pin; from then on another
file from there is an error. The same form can be exported, imported, and shipped.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from hornet_convert.download.digests import open_regular
from hornet_convert.download.disk import disk_errors, write_json
from hornet_convert.download.sources import Source
from hornet_convert.errors import CheckFailedError, MalformedError, printable

MAX_RECORD_BYTES = 16 << 20

_HEX = re.compile(r"[0-9a-f]{64}")
_HINT = "Mend it, or remove it: sources are then trusted anew on their next good conversion."


@dataclass(frozen=True)
class Pin:
    """One file of one source; `sha256` and `fingerprint` 64 hex digits, `size` in bytes."""

    model: str
    source: str
    location: str
    sha256: str
    size: int
    fingerprint: str | None
    first_seen: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a pin is about."""
        return self.model, self.source, self.location

    def agrees_with(self, other: Pin) -> bool:
        """Whether both describe the same file; an unknown fingerprint contradicts nothing."""
        prints = {self.fingerprint, other.fingerprint} - {None}
        return (self.sha256, self.size) == (other.sha256, other.size) and len(prints) < 2


@dataclass(frozen=True)
class Agreement:
    """Pins of other sources of a model with the same fingerprint, and with another one."""

    same: tuple[Pin, ...]
    different: tuple[Pin, ...]


class TrustRecord:
    """The record at a path; `shipped` pins (by default the package's) count, and never change.

    A missing file is an empty record; a damaged one is an error, because taking it for empty would
    trust anything.
    """

    def __init__(self, path: Path, shipped: Iterable[Pin] | None = None) -> None:
        self.path = path
        self._shipped = packaged_pins() if shipped is None else tuple(shipped)

    def pins(self) -> tuple[Pin, ...]:
        """Every pin in order; the user's own before a shipped one about the same."""
        own = self._read()
        keys = {pin.key for pin in own}
        return tuple(_ordered([*own, *(pin for pin in self._shipped if pin.key not in keys)]))

    def expected_for(self, model: str, source: Source) -> Pin | None:
        """What a source has to give, if that is known."""
        key = (model, source.name, source.location)
        return next((pin for pin in self.pins() if pin.key == key), None)

    def agreement(self, model: str, source: Source, fingerprint: str) -> Agreement:
        """What is known from other sources about the tensors of a model."""
        others = [
            pin
            for pin in self.pins()
            if pin.model == model
            and (pin.source, pin.location) != (source.name, source.location)
            and pin.fingerprint is not None
        ]
        return Agreement(
            tuple(pin for pin in others if pin.fingerprint == fingerprint),
            tuple(pin for pin in others if pin.fingerprint != fingerprint),
        )

    def record(
        self, model: str, source: Source, *, sha256: str, size: int, fingerprint: str | None
    ) -> Pin:
        """Remember a good file; returns the pin that stands, with the date it was first seen.

        Raises CheckFailedError if the source is known to give another file.
        """
        today = datetime.now(UTC).date().isoformat()
        pin = Pin(model, source.name, source.location, sha256, size, fingerprint, today)
        self.merge([pin])
        return self.expected_for(model, source) or pin

    def merge(self, pins: Iterable[Pin]) -> tuple[Pin, ...]:
        """Add pins; returns those that are new. All or none.

        Raises CheckFailedError if one contradicts what is recorded.
        """
        with self._locked():
            own = {pin.key: pin for pin in self._read()}
            known = {pin.key: pin for pin in self._shipped} | own
            added = []
            for pin in pins:
                before = known.get(pin.key)
                if before is not None and not before.agrees_with(pin):
                    raise _contradiction(before, pin)
                if before is None:
                    added.append(pin)
                elif before.fingerprint is None and pin.fingerprint is not None:
                    pin = Pin(**{**asdict(before), "fingerprint": pin.fingerprint})
                else:
                    continue
                known[pin.key] = own[pin.key] = pin
            self._write(own.values())
        return tuple(added)

    def forget(self, model: str, source: str | None = None) -> tuple[Pin, ...]:
        """Remove the pins of a model, or of one of its sources by name; returns them."""
        with self._locked():
            own = self._read()
            gone = tuple(p for p in own if p.model == model and source in (None, p.source))
            if gone:
                self._write(pin for pin in own if pin not in gone)
        return gone

    def _read(self) -> tuple[Pin, ...]:
        with disk_errors(self.path, "reading the trust record"):
            try:
                with io.BufferedReader(open_regular(self.path)) as file:
                    text = file.read(MAX_RECORD_BYTES + 1)
            except FileNotFoundError:
                return ()
        return pins_from(text, str(self.path))

    def _write(self, pins: Iterable[Pin]) -> None:
        with disk_errors(self.path, "writing the trust record"):
            write_json(self.path, {"pins": [asdict(pin) for pin in _ordered(pins)]})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock

        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        with disk_errors(self.path, "locking the trust record"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _ordered(pins: Iterable[Pin]) -> list[Pin]:
    return sorted(pins, key=lambda pin: pin.key)


def packaged_pins(folder: Traversable | None = None) -> tuple[Pin, ...]:
    """Pins that come with the package, as `data/pins.json`; none if there is no such file."""
    file = (folder or resources.files("hornet_convert") / "data") / "pins.json"
    return pins_from(file.read_bytes(), str(file)) if file.is_file() else ()


def exported(pins: Iterable[Pin]) -> str:
    """Pins as the JSON text that `pins_from` reads."""
    return json.dumps({"pins": [asdict(pin) for pin in _ordered(pins)]}, indent=2) + "\n"


def pins_from(text: bytes, where: str) -> tuple[Pin, ...]:
    """Pins out of a JSON text.

    Raises MalformedError, naming the entry.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            "the trust record is not JSON", where=where, found=printable(str(error)), hint=_HINT
        ) from error
    entries = document.get("pins") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise MalformedError('the trust record has no list "pins"', where=where, hint=_HINT)
    return tuple(_pin(entry, f"{where}, entry {n + 1}") for n, entry in enumerate(entries))


def _pin(entry: object, where: str) -> Pin:
    fields = entry if isinstance(entry, dict) else {}
    texts = [fields.get(name) for name in ("model", "source", "location", "first_seen")]
    size, sha256, fingerprint = (fields.get(k) for k in ("size", "sha256", "fingerprint"))
    if (
        all(isinstance(text, str) for text in texts)
        and isinstance(size, int)
        and not isinstance(size, bool)
        and isinstance(sha256, str)
        and _HEX.fullmatch(sha256)
        and (fingerprint is None or (isinstance(fingerprint, str) and _HEX.fullmatch(fingerprint)))
    ):
        model, source, location, first_seen = map(str, texts)
        return Pin(model, source, location, sha256, size, fingerprint, first_seen)
    raise MalformedError(
        "the trust record has a malformed entry",
        where=where,
        expected="model, source, location, sha256, size, fingerprint and first_seen",
        found=printable(json.dumps(entry), 160),
        hint=_HINT,
    )


def _contradiction(before: Pin, now: Pin) -> CheckFailedError:
    what = "gives another file than before"
    if before.sha256 == now.sha256:
        what = "gives other tensors than before"
    return CheckFailedError(
        f"{before.source} {what} for {before.model}",
        where=before.location,
        expected=f"SHA-256 {before.sha256}, fingerprint {before.fingerprint or 'unknown'}, "
        f"first seen {before.first_seen}",
        found=f"SHA-256 {now.sha256}, fingerprint {now.fingerprint or 'unknown'}",
        hint="If the change is meant, forget the old pin: "
        f"`hornet-convert pins --forget {before.model}`.",
    )
