"""What a file from a source has to be: its digests, who says so, and the comparison. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hornet_convert.download.errors import ChecksumMismatchError
from hornet_convert.download.index import Listed
from hornet_convert.download.sources import Source, without_credentials
from hornet_convert.download.trust import Pin
from hornet_convert.family import zoo

INDEX = "the mirror's index"
TRUST = "the trust record"
FILE_NAME = "the published file name"
CACHE = "the cache's record of the download"


@dataclass(frozen=True)
class Expectation:
    """A SHA-256 in hex, or its first eight digits, and where it is from.

    Eight digits identify a file; they do not secure it.
    """

    digest: str
    origin: str

    @classmethod
    def pinned(cls, pin: Pin) -> Expectation:
        """What the trust record expects."""
        return cls(pin.sha256, f"{TRUST}, first seen {pin.first_seen}")

    @property
    def is_full(self) -> bool:
        """Whether this is a whole SHA-256."""
        return len(self.digest) == 64

    def accepts(self, sha256: str) -> bool:
        """Whether a file with this SHA-256 is the expected one."""
        return sha256.startswith(self.digest)


@dataclass(frozen=True)
class Wanted:
    """One file of one source, and all that is known about it; the strongest expectation first."""

    url: str
    file: str
    size: int | None = None
    expectations: tuple[Expectation, ...] = ()
    note: str | None = None

    @property
    def shown(self) -> str:
        """The URL as it may be shown and recorded."""
        return without_credentials(self.url)

    def violated_by(self, sha256: str) -> Expectation | None:
        """The first expectation that a file with this SHA-256 does not meet."""
        return next((e for e in self.expectations if not e.accepts(sha256)), None)


def wanted(model: zoo.Published, source: Source, listed: Listed | None, pin: Pin | None) -> Wanted:
    """What to ask a source for.

    `listed` is what a mirror's index says, `pin` what the trust record does. A listed file need not
    be the published one: that is noted and no failure.

    Raises
    ------
    ChecksumMismatchError
        The index lists another file than the trust record has for this mirror.
    """
    expectations = []
    if pin is not None:
        expectations.append(Expectation.pinned(pin))
    size = pin.size if pin is not None else None
    if listed is not None:
        if pin is not None and pin.sha256 != listed.sha256:
            raise mismatch(source.url_of(listed.file), listed.size, expectations[0], listed.sha256)
        expectations.insert(0, Expectation(listed.sha256, INDEX))
        note = None
        if not listed.sha256.startswith(model.sha8):
            note = f"not the published file {model.sha8}: the mirror lists {listed.file}"
        url = source.url_of(listed.file)
        return Wanted(url, listed.file, listed.size, tuple(expectations), note)
    if source.name in ("mirror", "openmmlab"):
        expectations.append(Expectation(model.sha8, FILE_NAME))
        file = model.file_name
        url = source.url_of(file) if source.name == "mirror" else source.address
        return Wanted(url, file, size, tuple(expectations))
    return Wanted(source.address, f"{model.authors_name}.pth", size, tuple(expectations))


def mismatch(
    url: str, size: int, expected: Expectation, found: str | None, hints: Iterable[str] = ()
) -> ChecksumMismatchError:
    """The error for a file that is not the expected one."""
    return ChecksumMismatchError(
        "this is not the expected file",
        url=without_credentials(url),
        size=size,
        expected_digest=expected.digest,
        origin=expected.origin,
        found_digest=found,
        hint=" ".join([*hints, _advice(expected, found)]),
    )


def _advice(expected: Expectation, found: str | None) -> str:
    known = zoo.with_hash(found) if found else None
    if known is not None:
        model, current = known
        which = "the published" if current else "a superseded"
        return f"By its first eight digits it is {which} {model.label}."
    if expected.origin.startswith(TRUST):
        return (
            "If the source has changed on purpose, forget the old digest with "
            "`hornet-convert pins --forget NAME`; else try another source with --source."
        )
    return "Nothing of it was kept. Try again later, or another source with --source or --mirror."
