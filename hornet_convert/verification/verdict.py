"""What the checks of a file amount to: authentic, identified, consistent or failed. Pure.

Checks alone can say that a file agrees with itself and with the definition. That it is the file, or
holds the weights, that somebody published, only something from outside can say: a reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from hornet_convert.family import zoo

Word = Literal["authentic", "identified", "consistent", "failed"]
Requirement = Literal["identified", "authentic"]
Kind = Literal["sha256", "fingerprint", "either"]

REQUIREMENTS: tuple[Requirement, ...] = get_args(Requirement)
FULL: Final = 64

MEANINGS: Final[Mapping[Word, str]] = {
    "authentic": "The whole SHA-256 of the file, or the fingerprint of its weights, is the one a "
    "reference gives. It is worth as much as that reference.",
    "identified": "The first digits of the file's SHA-256 are the published ones. That tells which "
    "file this is meant to be; it does not secure it: a match can be made on purpose.",
    "consistent": "Nothing contradicts the file or its weights, and there was nothing to compare "
    "them with. Weights changed before the file was written cannot be told from the right ones.",
    "failed": "A check failed, or a reference the file has to agree with says otherwise.",
}


@dataclass(frozen=True)
class Reference:
    """What a file, or the weights in it, are known by, and who says so.

    Parameters
    ----------
    digits
        Hex: a SHA-256, the first 8 or more of one, or a fingerprint.
    origin
        Who says so, as the subject of "says".
    kind
        Whether the digits are of the file or of the weights; "either" where that was not said.
    binding
        Whether another file is a wrong one. Not so for what is known of other files of a model.
    vouches
        Whether it reached the user apart from the file. What comes with a file, such as its name or
        the index of its mirror, can contradict it but not vouch for it: who alters the one can
        alter the other.
    model
        Short name of the model it is about, if it is known.
    tensors
        SHA-256 of each tensor by reference name, where the reference is a whole file.
    """

    digits: str
    origin: str
    kind: Kind = "sha256"
    binding: bool = True
    vouches: bool = True
    model: str | None = None
    tensors: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_full(self) -> bool:
        """Whether it pins the file or the weights down, beyond identifying them."""
        return len(self.digits) == FULL

    def accepts(self, sha256: str | None, fingerprint: str | None) -> bool:
        """Whether a file with this SHA-256 and fingerprint is the one."""
        return any(
            found is not None and found.startswith(self.digits)
            for found, kind in ((sha256, "sha256"), (fingerprint, "fingerprint"))
            if self.kind in (kind, "either")
        )


@dataclass(frozen=True)
class Verdict:
    """A word, and the reference that decided it; None where none did."""

    word: Word
    reference: Reference | None = None

    def reaches(self, requirement: Requirement | None) -> bool:
        """Whether this is at least what is asked for."""
        order: tuple[Word, ...] = ("failed", "consistent", "identified", "authentic")
        return requirement is None or order.index(self.word) >= order.index(requirement)


def judge(
    failed: bool,
    sha256: str | None,
    fingerprint: str | None,
    model: str | None,
    references: Sequence[Reference],
) -> Verdict:
    """The verdict on a file.

    Parameters
    ----------
    failed
        Whether a check of the file failed.
    sha256, fingerprint
        Of the file and of the weights in it; None where unknown.
    model
        Short name of the model the file was found to hold.
    references
        Everything the file and its weights may be compared with.
    """
    against = contradicted(sha256, fingerprint, references)
    if failed or against:
        return Verdict("failed", against[0] if against else None)
    agreeing = [
        reference
        for reference in (*references, *published(sha256, model))
        if reference.vouches and reference.accepts(sha256, fingerprint)
    ]
    full = [reference for reference in agreeing if reference.is_full]
    if full:
        return Verdict("authentic", full[0])
    if agreeing:
        return Verdict("identified", agreeing[0])
    return Verdict("consistent")


def contradicted(
    sha256: str | None, fingerprint: str | None, references: Sequence[Reference]
) -> list[Reference]:
    """The references that a file has to agree with and does not."""
    return [r for r in references if r.binding and not r.accepts(sha256, fingerprint)]


def published(sha256: str | None, model: str | None) -> list[Reference]:
    """The eight digits published for a model, current or superseded, that a SHA-256 begins with."""
    row = None if sha256 is None else zoo.with_hash(sha256)
    if row is None or row[0].name != model:
        return []
    which = "name" if row[1] else "superseded name, of 2022-09-09"
    digits = (sha256 or "")[:8]
    return [Reference(digits, f"the published file {which} of {row[0].label}", model=model)]
