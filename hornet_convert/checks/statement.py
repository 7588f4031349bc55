"""The record beside a result: what it says of the file, and whose signature stands behind it.

It is an in-toto Statement (`conversion/provenance.py`). Without a signature it can contradict the
file and never vouch for it: who alters the one can alter the other. A signature is a DSSE envelope,
bare or in a Sigstore bundle, as `cosign attest-blob --statement RECORD --key KEY --bundle FILE`
writes it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from hornet_convert.errors import CheckFailedError, MalformedError, UsageError
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.records import Sha256, parse, read_text
from hornet_convert.report.claims import Claim
from hornet_convert.text import printable

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PAYLOAD: Final = "application/vnd.in-toto+json"
SIGNATURES: Final = (".sigstore.json", ".dsse.json")
"""What stands in the place of a file's suffix in the name of its record's signature."""

_RSA: Final = ("rsa-pkcs1v15-sha256", "rsassa-pss-sha256")
_HINT: Final = "Get the file again together with what lies beside it, or remove the damaged one."


@dataclass(frozen=True)
class _Digest:
    sha256: Sha256


@dataclass(frozen=True)
class _Artifact:
    digest: _Digest
    name: str = ""
    uri: str = ""


@dataclass(frozen=True)
class _Definition:
    resolvedDependencies: list[_Artifact] = field(default_factory=list)  # noqa: N815 - its name there


@dataclass(frozen=True)
class _Predicate:
    buildDefinition: _Definition = field(default_factory=_Definition)  # noqa: N815


@dataclass(frozen=True)
class _Statement:
    subject: list[_Artifact]
    predicate: _Predicate = field(default_factory=_Predicate)

    def of(self, name: str) -> _Artifact | None:
        """The subject that is a file of this name, or the only one."""
        named = [subject for subject in self.subject if subject.name == name]
        return next(iter(named or (self.subject if len(self.subject) == 1 else [])), None)


def record_beside(path: Path) -> Path:
    """Where the record of a result lies."""
    return path.with_suffix(".json")


def claims_beside(path: Path, signed_by: Path | None = None) -> list[Claim]:
    """What the record beside a file says of it, and what its signer does.

    `signed_by` is a public key in PEM, whose signature is then demanded.

    Raises UsageError without the key, a signature or the library that checks it; CheckFailedError
    for another signature or another record than the signed one; MalformedError; DiskError.
    """
    record = record_beside(path)
    with disk_errors(record, "reading"):
        text = read_text(record)
    if text is not None and not _is_statement(text):
        text = None  # a file of somebody else's
    claims = [] if text is None else [_claim(text, path, record, None)]
    if signed_by is not None:
        signature, payload = _signed(path, signed_by)
        if text is not None and parse(text, Any, "the record", str(record)) != parse(
            payload, Any, "the signed record", str(signature)
        ):
            raise CheckFailedError(
                "the record beside the file is not the one that was signed",
                where=printable(str(record), 1000),
                hint=_HINT,
            )
        claims.insert(0, _claim(payload, path, signature, signed_by))
    return claims


def _is_statement(text: bytes) -> bool:
    try:
        return parse(text, dict[str, Any], "the record", "").get("_type") == STATEMENT
    except MalformedError:
        return False


def _claim(text: bytes, path: Path, where: Path, key: Path | None) -> Claim:
    statement = parse(text, _Statement, "the record of the file", str(where), _HINT)
    subject = statement.of(path.name)
    if subject is None:
        raise MalformedError(
            "the record beside the file is about another one",
            where=printable(str(where), 1000),
            expected=printable(path.name),
            hint=_HINT,
        )
    origin = "the record beside it"
    sources = statement.predicate.buildDefinition.resolvedDependencies
    told = f"made of {printable(sources[0].name or sources[0].uri, 200)}, " if sources else ""
    by = "unsigned" if key is None else f"signed with {printable(key.name)}"
    authority: Literal["none", "independent"] = "none" if key is None else "independent"
    return Claim(subject.digest.sha256, f"{origin} ({told}{by})", authority=authority)


def _signed(path: Path, key: Path) -> tuple[Path, bytes]:
    """The signature beside a file, and the statement that the key has signed."""
    if importlib.util.find_spec("securesystemslib") is None:
        raise UsageError(
            "checking a signature needs securesystemslib, which is not installed",
            hint="Install it with: pip install 'hornet-convert[sign]'.",
        )
    signature = next((p for s in SIGNATURES if (p := path.with_suffix(s)).is_file()), None)
    if signature is None:
        raise UsageError(
            "there is no signature beside the file",
            where=printable(str(path), 1000),
            expected=" or ".join(path.with_suffix(suffix).name for suffix in SIGNATURES),
            hint="Get it from where the file is from.",
        )
    with disk_errors(signature, "reading"):
        text = read_text(signature) or b""
    document = parse(text, dict[str, Any], "the signature", str(signature), _HINT)
    payload = _verified(document.get("dsseEnvelope", document), key)
    if payload is None:
        raise CheckFailedError(
            "the record is not signed with the key that was given",
            where=printable(str(signature), 1000),
            expected=f"a signature by {printable(str(key), 1000)}",
            hint="Ask whoever signed it for their public key, and get file and signature again.",
        )
    return signature, payload


def _verified(envelope: object, key: Path) -> bytes | None:
    """What the envelope holds, if it is a statement that the key has signed."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import (
        FormatError,
        UnverifiedSignatureError,
        VerificationError,
    )
    from securesystemslib.signer import Signature

    keys = _keys(key)
    try:
        signed = Envelope.from_dict(dict(envelope))  # type: ignore[call-overload]
    except (KeyError, TypeError, ValueError, AttributeError, FormatError):
        return None
    for signature, public in itertools.product(signed.signatures.values(), keys):
        # The name that a signer gives its key says nothing about it.
        ours = Signature(public.keyid, signature.signature)
        with contextlib.suppress(UnverifiedSignatureError, VerificationError):
            public.verify_signature(ours, signed.pae())
            return bytes(signed.payload) if signed.payload_type == PAYLOAD else None
    return None


def _keys(path: Path) -> list[Any]:
    """The key in a file, once for each scheme that it may sign by. Raises UsageError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    try:
        key = load_pem_public_key(path.read_bytes())
        schemes = _RSA if isinstance(key, RSAPublicKey) else (None,)
        return [SSlibKey.from_crypto(key, scheme=scheme) for scheme in schemes]
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            "the key cannot be used",
            where=printable(str(path), 1000),
            expected="a public key in PEM: ECDSA, Ed25519 or RSA",
            found=printable(str(error), 200),
            hint="Give what `cosign public-key` or `openssl pkey -pubout` writes.",
        ) from error
