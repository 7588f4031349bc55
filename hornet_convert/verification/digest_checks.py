"""The checks of file and weights against what is known of them: references in, rows out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hornet_convert.errors import printable
from hornet_convert.family import zoo
from hornet_convert.verification.naming import by_block
from hornet_convert.verification.report import Check, failed, not_checked, passed
from hornet_convert.verification.verdict import Reference, Requirement, Verdict, contradicted, judge

NOTHING_KNOWN = "nothing apart from the file says what it should be"

_NAME_HASH = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|pt|safetensors)$")


def reference_by_name(file_name: str, sha256: str) -> Reference | None:
    """What a file name claims by the convention `…-<hex>.pth`; it vouches for nothing.

    Decimal digits alone are as likely a date or a count: they claim something only if they are the
    first of the file's `sha256`, or published.
    """
    match = _NAME_HASH.search(file_name)
    if match is None:
        return None
    digits = match[1]
    meant = sha256.startswith(digits) or zoo.with_hash(digits) is not None
    if digits.isdecimal() and not meant:
        return None
    return Reference(digits, "the file's name", vouches=False)


def checksum(sha256: str, references: Sequence[Reference]) -> Check:
    """Compare a file's SHA-256 with everything it is known by."""
    known = [
        reference
        for reference in references
        if reference.kind == "sha256" and (reference.binding or reference.accepts(sha256, None))
    ]
    if not known:
        return not_checked(
            "checksum", f"nothing says what it should be; the file's SHA-256 is {sha256}"
        )
    wrong = contradicted(sha256, None, known)
    if wrong:
        claims = "; ".join(f"{claim.origin} says {printable(claim.digits)}" for claim in wrong)
        return failed("checksum", f"{claims}; the file's SHA-256 is {sha256}")
    said = " and ".join(
        claim.origin + ("" if claim.is_full else f" ({len(claim.digits)} digits)")
        for claim in known
    )
    return passed("checksum", f"SHA-256 {sha256}, as said by {said}")


def reference(
    sha256: str,
    fingerprint: str | None,
    model: str | None,
    digests: Mapping[str, str],
    references: Sequence[Reference],
    require: Requirement | None = None,
) -> Check:
    """Judge whether file or weights are those that something apart from the file knows.

    Parameters
    ----------
    sha256, fingerprint, model
        Of the file and the weights in it; None where unknown.
    digests
        SHA-256 of each tensor by reference name, to name those that differ.
    references
        Everything to compare with; those of the file alone are the checksum's to refuse.
    require
        The least verdict that is asked for.
    """
    of_weights = [reference for reference in references if reference.kind != "sha256"]
    wrong = contradicted(sha256, fingerprint, of_weights)
    if wrong:
        return failed("reference", "; ".join(_differs(r, fingerprint, digests) for r in wrong))
    agreeing = [r for r in references if r.accepts(sha256, fingerprint)]
    verdict = judge(False, sha256, fingerprint, model, agreeing)
    if not verdict.reaches(require):
        return failed("reference", f"{require} is required, and the file is {_agrees(verdict)}")
    if verdict.reference is None:
        return not_checked("reference", NOTHING_KNOWN)
    return passed("reference", _agrees(verdict))


def _agrees(verdict: Verdict) -> str:
    known = verdict.reference
    if known is None:
        return f"at most {verdict.word}: {NOTHING_KNOWN}"
    what = {
        "sha256": "the file has the SHA-256",
        "fingerprint": "the weights have the fingerprint",
        "either": "file or weights have the digest",
    }[known.kind]
    few = "" if known.is_full else f" ({len(known.digits)} digits identify, and prove nothing)"
    return f"{verdict.word}: {what} {known.digits}, as said by {known.origin}{few}"


def _differs(known: Reference, fingerprint: str | None, digests: Mapping[str, str]) -> str:
    said = f"{known.origin} says {known.digits}, the weights have {fingerprint or 'no fingerprint'}"
    if not known.tensors:
        return said
    names = [name for name in digests if known.tensors.get(name) != digests[name]]
    names += [name for name in known.tensors if name not in digests]
    if len(names) == len(digests.keys() | known.tensors):
        return f"{said}; every tensor differs"
    differ = "1 tensor differs" if len(names) == 1 else f"{len(names)} tensors differ"
    return f"{said}; {differ}: {by_block(names)}"
