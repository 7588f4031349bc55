"""The record beside a result: what it says, what a signature adds, what tampering does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from fixtures import small
from hornet_convert.api.checkpoints import convert, verify
from hornet_convert.checks.statement import PAYLOAD, claims_beside
from hornet_convert.cli import run
from hornet_convert.conversion.request import Request
from hornet_convert.errors import CheckFailedError, HornetConvertError, MalformedError, UsageError
from tests.documents import provenance

Make = Callable[[], Any]
KEYS: dict[str, Make] = {
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A converted checkpoint with its record."""
    source = small.write(tmp_path / "hornet.pth", "official-zip", "w8")
    report = convert(source, Request(tmp_path / "out"), forward=False)
    return Path(report.output or "")


def sign(
    result: Path, key: Any, suffix: str = ".sigstore.json", payload_type: str = PAYLOAD
) -> Path:
    """Sign the record beside a result as cosign does; the file with the public key."""
    envelope = Envelope(result.with_suffix(".json").read_bytes(), payload_type, {})
    envelope.sign(CryptoSigner(key))
    document: dict[str, Any] = envelope.to_dict()
    document["signatures"][0]["keyid"] = ""
    if suffix == ".sigstore.json":
        kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
        document = {"mediaType": kind, "dsseEnvelope": document}
    result.with_suffix(suffix).write_text(json.dumps(document))
    public = result.parent / "key.pub"
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return public


def verdict(result: Path, key: Path | None = None) -> str:
    """The verdict on a file by what lies beside it."""
    report = verify(result, claims=claims_beside(result, key), forward=False)
    return str(report.to_json()["verdict"])


def test_the_record_is_a_statement_of_the_result(result: Path) -> None:
    """By the field names of in-toto and SLSA; the file it names is the one beside it."""
    record = provenance(result.with_suffix(".json").read_text())
    assert record["_type"] == "https://in-toto.io/Statement/v1"
    assert record["predicateType"] == "https://slsa.dev/provenance/v1"
    (subject,) = record["subject"]
    assert subject["name"] == result.name
    report = verify(result, forward=False)
    assert subject["digest"] == {"sha256": report.sha256}
    definition = record["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["layout"] == "reference"
    assert [d["name"] for d in definition["resolvedDependencies"]] == ["hornet.pth"]


def test_an_unsigned_record_vouches_for_nothing_and_may_contradict(result: Path) -> None:
    """Whoever alters the file can alter the record."""
    assert verdict(result) == "consistent"
    (claim,) = claims_beside(result)
    assert "made of hornet.pth, unsigned" in claim.origin
    record = result.with_suffix(".json")
    text = record.read_text()
    digest = json.loads(text)["subject"][0]["digest"]["sha256"]
    record.write_text(text.replace(digest, digest[::-1]))
    assert verdict(result) == "failed"


@pytest.mark.parametrize("suffix", [".sigstore.json", ".dsse.json"])
@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_vouches(result: Path, kind: str, suffix: str) -> None:
    """With each kind of key, bare and in a bundle, whatever the signer calls the key."""
    key = sign(result, KEYS[kind](), suffix)
    assert verdict(result, key) == "authentic"
    (first, *_) = claims_beside(result, key)
    assert first.origin == "the record beside it (made of hornet.pth, signed with key.pub)"


def test_another_file_under_the_signed_name_fails(result: Path) -> None:
    """The signature is of another SHA-256."""
    key = sign(result, KEYS["ed25519"]())
    other = small.write(result.parent.parent / "other.pth", "bare-legacy", "w8-gf")
    result.write_bytes(other.read_bytes())
    assert verdict(result, key) == "failed"


def test_a_tampered_record_is_refused(result: Path) -> None:
    """Though the signature, which has its own copy, is right."""
    key = sign(result, KEYS["ecdsa"]())
    record = result.with_suffix(".json")
    record.write_text(record.read_text().replace('"layout": "reference"', '"layout": "official"'))
    with pytest.raises(CheckFailedError, match="not the one that was signed"):
        claims_beside(result, key)


def _other_payload(document: dict[str, Any]) -> None:
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    document["dsseEnvelope"]["payload"] = payload


def _other_type(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["payloadType"] = "application/json"


def _no_signature(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["signatures"] = []


def _no_envelope(document: dict[str, Any]) -> None:
    document["dsseEnvelope"] = "signed"


@pytest.mark.parametrize("change", [_other_payload, _other_type, _no_signature, _no_envelope])
def test_a_tampered_signature_is_refused(
    result: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    """Whatever part of it was changed."""
    key = sign(result, KEYS["ecdsa"]())
    signature = result.with_suffix(".sigstore.json")
    document = json.loads(signature.read_text())
    change(document)
    signature.write_text(json.dumps(document))
    with pytest.raises(CheckFailedError, match="not signed with the key"):
        claims_beside(result, key)


def test_a_signature_of_something_else_is_refused(result: Path) -> None:
    """The key has signed these bytes, but not as a statement."""
    key = sign(result, KEYS["ecdsa"](), payload_type="text/plain")
    with pytest.raises(CheckFailedError, match="not signed with the key"):
        claims_beside(result, key)


def test_another_key_is_refused(result: Path) -> None:
    """Only the key that was given counts."""
    sign(result, KEYS["ecdsa"]())
    signature = result.with_suffix(".sigstore.json").read_bytes()
    key = sign(result, KEYS["ecdsa"]())
    result.with_suffix(".sigstore.json").write_bytes(signature)
    with pytest.raises(CheckFailedError, match="not signed with the key"):
        claims_beside(result, key)


@pytest.mark.parametrize(
    ("break_it", "kind", "words"),
    [
        (lambda r, k: r.with_suffix(".sigstore.json").unlink(), UsageError, "no signature"),
        (lambda r, k: k.write_text("no key"), UsageError, "the key cannot be used"),
        (lambda r, k: k.unlink(), UsageError, "the key cannot be used"),
        (lambda r, k: r.with_suffix(".sigstore.json").write_text("{"), MalformedError, "signature"),
    ],
)
def test_what_is_not_there_is_named(
    result: Path,
    break_it: Callable[[Path, Path], object],
    kind: type[HornetConvertError],
    words: str,
) -> None:
    """Each with what to do next."""
    key = sign(result, KEYS["ecdsa"]())
    break_it(result, key)
    with pytest.raises(kind, match=words) as raised:
        claims_beside(result, key)
    assert raised.value.hint


def test_a_file_of_somebody_elses_beside_it_is_none_of_ours(result: Path) -> None:
    """A JSON file that is no statement says nothing."""
    for text in ("{}", "[1]", "no json", '{"_type": "x"}'):
        result.with_suffix(".json").write_text(text)
        assert claims_beside(result) == []


def test_on_the_command_line(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--signed-by` makes it authentic, and without the signature there is no verdict."""
    key = sign(result, KEYS["ecdsa"]())
    command = ["verify", "--ckpt", str(result), "--no-forward", "--require", "authentic"]
    assert run(command) == 1
    assert run([*command, "--signed-by", str(key)]) == 0
    assert "signed with key.pub" in capsys.readouterr().out
    result.with_suffix(".sigstore.json").unlink()
    assert run([*command, "--signed-by", str(key)]) == 2
