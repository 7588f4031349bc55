"""What the checks of a file amount to: a word, from failed to authentic. Pure.

Checks alone can say that a file agrees with itself and with the definition. That it is the file, or
holds the weights, that somebody published, only something from outside can say: a reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from hornet_convert.report.claims import Authority, Claim, contradicted, published

Word = Literal["authentic", "seen before", "identified", "consistent", "failed"]
Level = Literal["identified", "seen before", "authentic"]
Requirement = Literal["safe", "identified", "seen before", "authentic"]

LEVELS: tuple[Level, ...] = get_args(Level)
REQUIREMENTS: tuple[Requirement, ...] = get_args(Requirement)

MEANINGS: Final[Mapping[Word, str]] = {
    "authentic": "The whole SHA-256 of the file, or the fingerprint of its weights, is the one "
    "that an independent reference gives. It is worth as much as that reference.",
    "seen before": "The file, or the weights in it, are the same as when first seen here. That "
    "tells that nothing has changed since, not that they were right then.",
    "identified": "The first digits of the file's SHA-256 are the published ones. That tells which "
    "file this is meant to be; it does not secure it: a match can be made on purpose.",
    "consistent": "Nothing contradicts the file or its weights, and there was nothing to compare "
    "them with. Weights changed before the file was written cannot be told from the right ones.",
    "failed": "A check failed, or a reference the file has to agree with says otherwise.",
}


@dataclass(frozen=True)
class Verdict:
    """A word, and the claim that decided it; None where none did."""

    word: Word
    claim: Claim | None = None

    def reaches(self, level: Level | None) -> bool:
        """Whether this is at least what is asked for."""
        order: tuple[Word, ...] = ("failed", "consistent", *LEVELS)
        return level is None or order.index(self.word) >= order.index(level)


def judge(
    failed: bool,
    sha256: str | None,
    fingerprint: str | None,
    model: str | None,
    claims: Sequence[Claim],
) -> Verdict:
    """The verdict on a file that holds `model`, given whether a check of it `failed`.

    `sha256` of the file and `fingerprint` of the weights are compared with `claims` and with what
    is published.
    """
    against = contradicted(sha256, fingerprint, claims)
    if failed or against:
        return Verdict("failed", against[0] if against else None)
    agreeing = [
        claim
        for claim in (*claims, *published(sha256, model))
        if claim.authority != "none" and claim.accepts(sha256, fingerprint)
    ]
    words: dict[Authority, Word] = {"independent": "authentic", "seen": "seen before"}
    for authority, word in words.items():
        for claim in agreeing:
            if claim.is_full and claim.authority == authority:
                return Verdict(word, claim)
    return Verdict("identified", agreeing[0]) if agreeing else Verdict("consistent")
