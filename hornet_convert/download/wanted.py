"""What a file from a source has to be, by all that is claimed of it. Pure.

A mirror's `index.json` says which file it offers for which model, with size and full SHA-256:
`{"files": [{"model", "file", "size", "sha256"}, ...]}`, or the bare list, or an object of entries
by model. Only the entries of the model asked for have to be right: a mirror may carry others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

from hornet_convert.download.errors import UnusableError
from hornet_convert.download.sources import INDEX_NAME, Source, without_secrets
from hornet_convert.download.trust import TrustRecord
from hornet_convert.errors import CheckFailedError, ErrorCode, MalformedError
from hornet_convert.family import zoo
from hornet_convert.files.records import AnySha256, Positive, parse, shaped
from hornet_convert.report.claims import Claim

INDEX: Final = "the mirror's index"
FILE_NAME: Final = "the published file name"
CACHE: Final = "the cache's record of the download"
MAX_INDEX_BYTES: Final = 4 << 20
MAX_FILE_NAME: Final = 200  # bytes: file systems take 255, and some fewer

_HINT: Final = "Mend the index, or leave it out: the published file names are then asked for."


class ChecksumMismatchError(CheckFailedError):
    """A whole file arrived, or lies in the cache, and is not the one that was expected.

    `url` is where it came from, `size` its length in bytes, `expected_digest` a full SHA-256 or the
    first eight digits of one, `origin` what says so, `found_digest` the file's full SHA-256; None
    if its length alone showed that it is another file.
    """

    code: ClassVar[ErrorCode] = "checksum"

    def __init__(self, url: str, size: int, expected: Claim, found: str | None) -> None:
        self.url = without_secrets(url)
        self.size = size
        self.expected_digest = expected.digest
        self.origin = expected.origin
        self.found_digest = found
        more = "…" if len(expected.digest) < 64 else ""
        super().__init__(
            "this is not the expected file",
            where=self.url,
            expected=f"SHA-256 {expected.digest}{more}, from {expected.origin}",
            found=f"{size} bytes" + (f", SHA-256 {found}" if found else ""),
            hint=_advice(expected, found),
        )


def _advice(expected: Claim, found: str | None) -> str:
    known = zoo.with_hash(found) if found else None
    if known is not None:
        model, current = known
        which = "the published" if current else "a superseded"
        return f"By its first eight digits it is {which} {model.label}."
    if expected.authority != "none" and expected.model is not None:
        return (
            "If the source has changed on purpose, forget the old digest with `hornet-convert pins "
            f"forget {expected.model}`; else try another source with --source."
        )
    return "Nothing of it was kept. Try again later, or another source with --source or --mirror."


@dataclass(frozen=True)
class Wanted:
    """One file of one source, and all that is known about it; the strongest claim first."""

    url: str
    file: str
    size: int | None = None
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The URL as it may be shown and recorded."""
        return without_secrets(self.url)

    def violated_by(self, sha256: str) -> Claim | None:
        """The first claim that a file with this SHA-256 does not meet."""
        return next((claim for claim in self.claims if not claim.accepts(sha256)), None)


def wanted(model: zoo.Published, source: Source, trust: TrustRecord, text: bytes | None) -> Wanted:
    """What to ask a source for; `text` is the index of a mirror that has one.

    An index that cannot be used is as good as none: the published file is asked for, and its digits
    are checked. A listed file need not be the published one: that is noted and no failure.

    Raises UnusableError if the index does not list the model, ChecksumMismatchError if it lists
    another file than the trust record has for this mirror.
    """
    pin = trust.expected_for(model.name, source)
    claims: tuple[Claim, ...] = ()
    size: int | None = None
    notes: tuple[str, ...] = ()
    if pin is not None:
        claims, size = (pin.claim("sha256", binding=True),), pin.size
    if text is not None:
        where = without_secrets(source.url_of(INDEX_NAME))
        try:
            listed = listed_file(text, model, where)
        except MalformedError as error:
            notes = (f"{error.message}; so the published file was asked for",)
        else:
            if listed is None:
                raise UnusableError(f"the index lists no {model.name}", where)
            url = source.url_of(listed.file)
            if pin is not None and pin.sha256 != listed.sha256:
                known = pin.claim("sha256", binding=True)
                raise ChecksumMismatchError(url, listed.size, known, listed.sha256)
            if not listed.sha256.startswith(model.sha8):
                notes = (f"not the published file {model.sha8}: the mirror lists {listed.file}",)
            claim = Claim(listed.sha256, INDEX, authority="none", model=model.name)
            return Wanted(url, listed.file, listed.size, (claim, *claims), notes)
    if source.name in ("mirror", "openmmlab"):
        file = model.file_name
        url = source.url_of(file) if source.name == "mirror" else source.address
        claim = Claim(model.sha8, FILE_NAME, authority="none", model=model.name)
        return Wanted(url, file, size, (*claims, claim), notes)
    return Wanted(source.address, f"{model.authors_name}.pth", size, claims, notes)


@dataclass(frozen=True)
class IndexEntry:
    """One file as the index describes it; `sha256` in lower case."""

    file: str
    size: Positive
    sha256: AnySha256


def listed_file(text: bytes, model: zoo.Published, where: str) -> IndexEntry | None:
    """What the index lists for a model; None if it does not list the model.

    Of several entries for one model the one with the published file name counts, else the first.

    Raises
    ------
    MalformedError
        Not JSON of the known form, or every entry of this model is wrong; says how.
    """
    if len(text) > MAX_INDEX_BYTES:
        found = f"more than {MAX_INDEX_BYTES} bytes"
        raise MalformedError(f"{INDEX} is too long", where=where, found=found, hint=_HINT)
    right: list[IndexEntry] = []
    wrong: list[MalformedError] = []
    for n, (name, entry) in enumerate(_entries(text, where)):
        row = zoo.known(name[:MAX_FILE_NAME]) if isinstance(name, str) else None
        if row is not None and row.name == model.name:
            try:
                right.append(_checked(entry, f"{where}, entry {n + 1}"))
            except MalformedError as error:
                wrong.append(error)
    if wrong and not right:
        raise wrong[0]
    published = [entry for entry in right if entry.file == model.file_name]
    return next(iter(published + right), None)


def _entries(text: bytes, where: str) -> list[tuple[object, object]]:
    """Every entry, and the name of the model it is for."""
    document = parse(text, object, INDEX, where, _HINT)
    entries = document.get("files", document) if isinstance(document, dict) else document
    if isinstance(entries, dict) and all(isinstance(item, dict) for item in entries.values()):
        return list(entries.items())
    found = shaped(entries, list[object], INDEX, where, _HINT)
    return [(item.get("model") if isinstance(item, dict) else None, item) for item in found]


def _checked(entry: object, where: str) -> IndexEntry:
    found = shaped(entry, IndexEntry, INDEX, where, _HINT)
    if not is_plain_name(found.file):
        text = "a file name with folders, or with characters that file names should not have"
        raise MalformedError(f"{INDEX} names no plain file", where=where, found=text, hint=_HINT)
    return replace(found, sha256=found.sha256.lower())


def is_plain_name(name: str) -> bool:
    """Whether a name can only mean a file in the folder itself."""
    return (
        0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_FILE_NAME
        and not name.startswith((".", " "))
        and name.isprintable()
        and not any(c in '/\\:*?"<>|' for c in name)
    )
