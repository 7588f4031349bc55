"""A digest and who says so: what a file, or the weights in it, are known by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from hornet_convert.errors import UsageError
from hornet_convert.family import zoo
from hornet_convert.text import printable

Kind = Literal["sha256", "fingerprint", "either"]
Authority = Literal["none", "seen", "independent"]
FULL: Final = 64  # hex digits of a whole digest

_DIGITS: Final = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Claim:
    """What a file, or the weights in it, are known by, and who says so.

    `digest` is a SHA-256 in hex, the first 8 or more digits of one, or a fingerprint; `origin` the
    subject of "says"; `kind` whether the digest is of the file or of the weights. Not `binding` is
    what is known of other files of a model: there, another file is not a wrong one. `model` is the
    short name of the one it is about, `tensors` the SHA-256 of each by reference name, where the
    claim comes from a whole file.

    `authority` is what agreeing with it is worth. What comes with a file, such as its name or the
    index of its mirror, can contradict it and has none: who alters the one can alter the other.
    What was `seen` here before says that nothing has changed since.
    """

    digest: str
    origin: str
    kind: Kind = "sha256"
    binding: bool = True
    authority: Authority = "independent"
    model: str | None = None
    tensors: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_full(self) -> bool:
        """Whether it pins the file or the weights down, beyond identifying them."""
        return len(self.digest) == FULL

    def accepts(self, sha256: str | None, fingerprint: str | None = None) -> bool:
        """Whether a file with this SHA-256 and fingerprint is the one."""
        return any(
            found is not None and found.startswith(self.digest)
            for found, kind in ((sha256, "sha256"), (fingerprint, "fingerprint"))
            if self.kind in (kind, "either")
        )


def contradicted(
    sha256: str | None, fingerprint: str | None, claims: Sequence[Claim]
) -> list[Claim]:
    """The claims that a file has to agree with and does not."""
    return [claim for claim in claims if claim.binding and not claim.accepts(sha256, fingerprint)]


def published(sha256: str | None, model: str | None) -> list[Claim]:
    """The eight digits published for a model, current or superseded, that a SHA-256 begins with."""
    row = None if sha256 is None else zoo.with_hash(sha256)
    if row is None or row[0].name != model:
        return []
    which = "name" if row[1] else "superseded name, of 2022-09-09"
    digits = (sha256 or "")[:8]
    return [Claim(digits, f"the published file {which} of {row[0].label}", model=model)]


def given(digits: str) -> Claim:
    """The claim of a user who gives 8 or more digits of a SHA-256; UsageError for anything else."""
    plain = digits.strip().lower()
    if _DIGITS.fullmatch(plain) is None:
        raise UsageError(
            "--sha256 is not a digest",
            expected="8 to 64 hex digits",
            found=printable(digits),
            hint="Give what sha256sum prints, or its first 8 digits or more.",
        )
    return Claim(plain, "--sha256")
