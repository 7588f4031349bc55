"""A pin: one file of one source by its whole digests, with who saw it and when. Pure.

Pins travel as a JSON document, `{"pins": [{"model", "source", "location", "size", "sha256",
"fingerprint", "first_seen", "by", "id"}, ...], "schema_version": 1}`, that one user exports and
another merges. `by` is who saw the file, and empty for what this user saw; a pin is the same one
wherever its `id` is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, Literal

from hornet_convert.download.sources import Source, without_secrets
from hornet_convert.errors import CheckFailedError
from hornet_convert.files import records
from hornet_convert.files.records import Count, Sha256
from hornet_convert.report.claims import Claim
from hornet_convert.text import printable

SHIPPED: Final = "pins.json"
UNNAMED: Final = "somebody who gave no name"

State = Literal["new", "agrees", "known", "contradicts"]


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
    by: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        # Earlier versions recorded the query too, and a token in it.
        object.__setattr__(self, "location", without_secrets(self.location))

    @property
    def place(self) -> tuple[str, str, str]:
        """The model and the source that it is about."""
        return self.model, self.source, self.location

    def is_same(self, other: Pin) -> bool:
        """Whether this is the other pin, kept elsewhere, and not one that agrees with it."""
        if self.id or other.id:
            return self.id == other.id
        return replace(self, by="", fingerprint=None) == replace(other, by="", fingerprint=None)

    def agrees_with(self, other: Pin) -> bool:
        """Whether both are of one file; an unknown fingerprint contradicts nothing."""
        prints = {self.fingerprint, other.fingerprint} - {None}
        return (self.sha256, self.size) == (other.sha256, other.size) and len(prints) < 2

    def contradicts(self, other: Pin) -> bool:
        """Whether not both can be right.

        One source has one file of a model, and the eight digits in a published name are meant to
        stand for one file; other sources may well have other files.
        """
        related = self.place == other.place or self.sha256[:8] == other.sha256[:8]
        return related and not self.agrees_with(other)

    def claim(self, kind: Literal["sha256", "fingerprint"], binding: bool) -> Claim:
        """What it says of the file, or of the weights in it."""
        where = f"{self.source} {self.location}"
        by = printable(self.by, 100)
        text = (
            f"the record of {by} (seen on {self.first_seen}, from {where})"
            if by
            else f"the trust record (first seen here on {self.first_seen}, from {where})"
        )
        digest = self.sha256 if kind == "sha256" else self.fingerprint or ""
        authority: Literal["seen", "independent"] = "independent" if by else "seen"
        return Claim(digest, text, kind, binding, authority, self.model)


def seen_here(
    model: str, source: Source, *, sha256: str, size: int, fingerprint: str | None
) -> Pin:
    """The pin of a file that this user has just found to be good."""
    today = datetime.now(UTC).date().isoformat()
    return Pin(
        model, source.name, source.location, sha256, size, fingerprint, today,
        id=secrets.token_hex(8),
    )  # fmt: skip


def ordered(pins: Iterable[Pin]) -> list[Pin]:
    """Pins in the order in which they are written: by place, what was seen here first."""
    return sorted(pins, key=lambda pin: (pin.place, pin.by, pin.first_seen))


def claims_of(
    pins: Iterable[Pin], model: str | None = None, source: Source | None = None
) -> list[Claim]:
    """What the pins say of files and weights; what others saw before what was seen here.

    The pins of the `model` and `source` that a file was just fetched from are binding; every other
    one is known of another file, which may be the same.
    """
    ours = None if source is None else (model, source.name, source.location)
    claims = []
    for pin in sorted(pins, key=lambda pin: not pin.by):
        claims.append(pin.claim("sha256", pin.place == ours))
        if pin.fingerprint is not None:
            claims.append(pin.claim("fingerprint", pin.place == ours))
    return claims


@dataclass(frozen=True)
class Compared:
    """A pin that is to be merged, and what it is to those that are known: `other` is one of them.

    `new`: nothing is known of that file. `agrees`: another pin, `other`, is of the same file.
    `known`: it is there already. `contradicts`: not both it and `other` can be right.
    """

    pin: Pin
    state: State
    other: Pin | None = None


def compared(pins: Iterable[Pin], known: Sequence[Pin]) -> list[Compared]:
    """What each pin is to the `known` ones, and to those before it."""
    rows: list[Compared] = []
    for pin in pins:
        others = [*known, *(row.pin for row in rows)]
        against = next((other for other in others if pin.contradicts(other)), None)
        same = next((other for other in others if pin.is_same(other)), None)
        agreeing = next((other for other in others if pin.agrees_with(other)), None)
        if against is not None:
            rows.append(Compared(pin, "contradicts", against))
        elif same is not None:
            rows.append(Compared(pin, "known", same))
        else:
            rows.append(Compared(pin, "new" if agreeing is None else "agrees", agreeing))
    return rows


def contradiction(pin: Pin, other: Pin) -> CheckFailedError:
    """The error that two pins cannot both be right."""
    file = "other tensors" if other.sha256 == pin.sha256 else "another file"
    known, found = (
        f"SHA-256 {p.sha256}, {p.size:,} bytes, fingerprint {p.fingerprint or 'unknown'}"
        for p in (other, pin)
    )
    by = f"the record of {printable(pin.by, 100)} has" if pin.by else f"{pin.source} gives"
    return CheckFailedError(
        f"{by} {file} for {pin.model} than the one that is known",
        where=pin.location,
        expected=f"{known}, as {other.claim('sha256', binding=True).origin} says",
        found=found,
        hint="If the change is meant, forget the old pin: "
        f"`hornet-convert pins forget {pin.model}`.",
    )


@dataclass(frozen=True)
class PinDocument:
    """Pins as they travel; the trust record has no version."""

    pins: list[Pin]
    schema_version: Literal[1] = 1


def exported(pins: Iterable[Pin]) -> str:
    """Pins as the JSON text that `pins_from` reads."""
    return records.as_text(PinDocument(ordered(pins))).decode()


def pins_from(
    text: bytes, where: str, what: str = "the document", hint: str | None = None
) -> tuple[Pin, ...]:
    """Pins out of a JSON text; raises MalformedError that names the entry and field."""
    return tuple(records.parse(text, PinDocument, what, where, hint).pins)


def of_others(pins: Iterable[Pin]) -> list[Pin]:
    """Pins that somebody exported, as the pins of somebody else: nothing of them was seen here."""
    return [pin if pin.by.strip() else replace(pin, by=UNNAMED) for pin in pins]


def packaged_pins(folder: Traversable | None = None) -> tuple[Pin, ...]:
    """Pins that come with the package, as `data/pins.json`; none if there is no such file."""
    file = (folder or resources.files("hornet_convert") / "data") / SHIPPED
    if not file.is_file():
        return ()
    return tuple(of_others(pins_from(file.read_bytes(), str(file), "the shipped record")))
