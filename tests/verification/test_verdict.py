"""Authentic, identified, consistent, failed: which word a file gets, and what decides it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import convert, verify
from hornet_convert.checks.verify import against
from hornet_convert.cli import run
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Request
from hornet_convert.download.pins import Pin, claims_of
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import TrustRecord
from hornet_convert.errors import UsageError
from hornet_convert.family import zoo
from hornet_convert.report.claims import Claim, given
from hornet_convert.report.verdict import judge
from tests.conversion.run import row
from tests.documents import only, provenance

Capture = pytest.CaptureFixture[str]

SHA = hashlib.sha256(b"file").hexdigest()
PRINT = hashlib.sha256(b"weights").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize(
    ("word", "claim"),
    [
        ("authentic", Claim(SHA, "a pin")),
        ("authentic", Claim(PRINT, "a sibling", "fingerprint", binding=False)),
        ("authentic", Claim(PRINT, "--against", "either")),
        ("authentic", Claim(SHA, "--against", "either")),
        ("seen before", Claim(SHA, "the trust record", authority="seen")),
        ("identified", Claim(SHA[:8], "the published name")),
        ("identified", Claim(SHA[:63], "--sha256")),
        ("consistent", Claim(SHA, "the mirror's index", authority="none")),
        ("consistent", Claim(OTHER, "a pin of another file", binding=False)),
        ("consistent", Claim(PRINT, "a file's SHA-256", binding=False)),
        ("failed", Claim(OTHER, "--sha256")),
        ("failed", Claim(OTHER[:8], "the file's name", authority="none")),
        ("failed", Claim(SHA, "--against", "fingerprint")),
    ],
)
def test_one_reference_decides(word: str, claim: Claim) -> None:
    """Full digests from outside authenticate, digits identify, contradictions fail."""
    verdict = judge(False, SHA, PRINT, "w8", [claim])
    assert verdict.word == word
    assert verdict.claim == (None if word == "consistent" else claim)
    assert judge(True, SHA, PRINT, "w8", [claim]).word == "failed"


def test_the_strongest_claim_counts_and_any_contradiction_fails() -> None:
    """Eight matching digits do not hide a full match, nor a full match a contradiction."""
    digits, full, wrong = Claim(SHA[:8], "name"), Claim(SHA, "pin"), Claim(OTHER, "x")
    assert judge(False, SHA, None, None, [digits, full]).claim == full
    verdict = judge(False, SHA, None, None, [full, wrong])
    assert verdict.word == "failed"
    assert verdict.claim == wrong


@pytest.mark.parametrize("row", zoo.MODELS, ids=lambda row: row.name)
def test_published_digits_identify_the_model_they_belong_to(row: zoo.Published) -> None:
    """A hash that begins as published is identified, unless the file holds another model."""
    for digits in (row.sha8, *row.superseded):
        sha256 = digits + SHA[8:]
        assert "identified" == judge(False, sha256, PRINT, row.name, []).word
        assert "consistent" == judge(False, sha256, PRINT, "w8", []).word


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small checkpoint in the authors' form."""
    return small.write(tmp_path / "in.pth", "official-zip", "w8-gf")


def word(path: Path, *claims: Claim) -> str:
    """The verdict's word on a file that is compared with claims."""
    return str(verify(path, claims=claims, forward=False).to_json()["verdict"])


def test_without_a_reference_a_right_file_is_consistent(ckpt: Path) -> None:
    """Nothing that comes with the file makes it more: not its name, not what it records."""
    report = verify(ckpt, forward=False)
    assert report.to_json()["verdict"] == "consistent"
    assert report.to_json()["reference"] is None
    named = ckpt.with_name(f"hornet-w8-{report.sha256}.pth")
    ckpt.rename(named)
    result = convert(named, Request(named.parent / "out"), forward=False).output
    for path in (named, Path(result or "")):
        assert row(verify(path, forward=False), "checksum").status == "pass"
        assert word(path) == "consistent"


@pytest.mark.parametrize("form", small.FORMS)
def test_the_same_weights_in_any_form_authenticate(
    tmp_path: Path, ckpt: Path, form: small.Form
) -> None:
    """`--against` compares weights, not files."""
    other = small.write(tmp_path / "other", form, "w8-gf")
    told = verify(ckpt, claims=[against(str(other), ckpt)], forward=False).to_json()
    assert "authentic" == told["verdict"]
    expected = {"kind": "fingerprint", "digits": told["fingerprint"], "origin": str(other)}
    assert expected == told["reference"]


def test_differing_from_a_file_names_the_tensors(tmp_path: Path, ckpt: Path) -> None:
    """The culprits are named by block, in the reference layout."""
    weights = small.tensors("w8-gf")
    weights["stages.2.7.pwconv1.weight"][0, 0] += 1
    torch.save(weights, tmp_path / "other.pth")
    report = verify(ckpt, claims=[against(str(tmp_path / "other.pth"), ckpt)], forward=False)
    assert report.to_json()["verdict"] == "failed"
    reference = row(report, "reference")
    assert reference.status == "fail"
    assert "1 tensor differs: stages.2.blocks.7.mlp.fc1.weight" in reference.detail


def test_a_digest_may_be_of_file_or_weights(ckpt: Path) -> None:
    """`--against` takes either; anything else fails."""
    plain = verify(ckpt, forward=False)
    assert word(ckpt, against(plain.sha256 or "", ckpt)) == "authentic"
    assert word(ckpt, against(plain.fingerprint or "", ckpt)) == "authentic"
    assert word(ckpt, against(OTHER, ckpt)) == "failed"


def test_a_file_is_no_reference_for_itself(tmp_path: Path, ckpt: Path) -> None:
    """Neither directly nor through a link; nor is a thing that has no fingerprint."""
    link = tmp_path / "link.pth"
    link.symlink_to(ckpt)
    torch.save({"a": torch.ones(2)}, tmp_path / "strange.pth")
    for text in (str(ckpt), str(link), str(tmp_path / "strange.pth"), "beef", str(tmp_path / "no")):
        with pytest.raises(UsageError) as caught:
            against(text, ckpt)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("digits", "expected"), [(64, "authentic"), (63, "identified"), (8, "identified")]
)
def test_sha256_given_by_the_user(ckpt: Path, digits: int, expected: str) -> None:
    """All 64 digits authenticate, fewer identify, and one wrong digit fails."""
    sha256 = hashlib.sha256(ckpt.read_bytes()).hexdigest()
    assert expected == word(ckpt, given(sha256[:digits]))
    wrong = given(sha256[: digits - 1] + ("0" if sha256[digits - 1] != "0" else "1"))
    assert "failed" == word(ckpt, wrong)
    assert row(verify(ckpt, claims=[wrong], forward=False), "checksum").status == "fail"


@pytest.mark.parametrize("by", ["", "Ada"])
def test_the_trust_record_knows_files_and_weights(by: str, tmp_path: Path, ckpt: Path) -> None:
    """What was seen here is seen before, what others saw is authentic; also in another file."""
    plain = verify(ckpt, forward=False)
    source = Source("mirror", str(tmp_path))
    record = TrustRecord(tmp_path / "trust.json")
    record.record("w8-gf", source, sha256=plain.sha256 or "", size=1, fingerprint=plain.fingerprint)
    other = small.write(tmp_path / "other.pth", "openmmlab-legacy", "w8-gf")
    claims = claims_of([*record.pins(), *(replace(pin, by=by, id="1") for pin in record.pins())])
    for path in (ckpt, other):
        report = verify(path, claims=claims, require=["authentic"], forward=False)
        assert report.to_json()["verdict"] == ("authentic" if by else "seen before")
        assert report.status == ("pass" if by else "fail")
        text = "the record of Ada (seen on" if by else "authentic is required, and the file is seen"
        assert text in row(report, "reference").detail
        assert verify(path, claims=claims, require=["seen before"], forward=False)


def test_a_pin_of_another_file_is_no_contradiction_unless_it_is_of_this_source(
    tmp_path: Path, ckpt: Path
) -> None:
    """Other weights of the model are noted; from the very same source they are a failure."""
    source = Source("mirror", str(tmp_path))
    pin = Pin("w8-gf", "mirror", source.location, OTHER, 1, OTHER, "2024-01-01")
    report = verify(ckpt, claims=claims_of([pin]), forward=False)
    assert "consistent" == report.to_json()["verdict"]
    assert any("other weights of w8-gf" in note for note in report.notes)
    unrelated = verify(ckpt, claims=claims_of([replace(pin, model="w8")]), forward=False)
    assert not any("other weights" in note for note in unrelated.notes)
    assert "failed" == word(ckpt, *claims_of([pin], "w8-gf", source))


def test_convert_writes_nothing_below_what_is_required(tmp_path: Path, ckpt: Path) -> None:
    """`--require` fails the conversion; the verdict stays what it is."""
    out = tmp_path / "out"
    report = convert(ckpt, Request(out, require=["identified"]), forward=False)
    assert report.to_json()["verdict"] == "consistent"
    assert (report.status, report.exit_code, report.output) == ("fail", 1, None)
    assert list(out.iterdir()) == []
    known = [Claim(hashlib.sha256(ckpt.read_bytes()).hexdigest(), "a friend")]
    report = convert(ckpt, Request(out, claims=known, require=["authentic"]), forward=False)
    assert report
    record = checks_in(provenance(Path(report.output or "").with_suffix(".json").read_text()))
    assert record["verdict"] == "authentic"
    assert record["reference"]["origin"] == "a friend"


def test_the_verdict_on_the_command_line(tmp_path: Path, ckpt: Path, capsys: Capture) -> None:
    """In the JSON, in the text with its meaning, and in the exit code."""
    other = small.write(tmp_path / "other.pth", "bare-legacy", "w8-gf")
    common = ["verify", "--ckpt", str(ckpt), "--no-forward", "--cache", str(tmp_path / "cache")]
    digits = hashlib.sha256(ckpt.read_bytes()).hexdigest()[:8]
    cases: list[tuple[list[str], int, str]] = [
        ([], 0, "consistent"),
        (["--require", "identified"], 1, "consistent"),
        (["--against", str(other)], 0, "authentic"),
        (["--against", str(other), "--require", "authentic"], 0, "authentic"),
        (["--against", str(other), "--require", "identified"], 0, "authentic"),
        (["--against", OTHER], 1, "failed"),
        (["--require", "seen-before"], 1, "consistent"),
        (["--sha256", digits], 0, "identified"),
        (["--sha256", digits, "--require", "identified"], 0, "identified"),
        (["--sha256", digits, "--require", "authentic"], 1, "identified"),
    ]
    for arguments, code, expected in cases:
        assert code == run([*common, *arguments, "--json"])
        document = only(capsys.readouterr().out)
        assert expected == document["verdict"]
        assert ("pass" if code == 0 else "fail") == document["status"]
        assert code == run([*common, *arguments])
        assert f"verdict   {expected}" in capsys.readouterr().out


def test_what_could_not_be_done_has_no_verdict(tmp_path: Path, capsys: Capture) -> None:
    """A file that is no checkpoint was not found wrong: there is nothing to judge."""
    (tmp_path / "page.pth").write_text("<html><title>gone</title></html>")
    assert 4 == run(["verify", "--ckpt", str(tmp_path / "page.pth"), "--json"])
    assert only(capsys.readouterr().out)["verdict"] is None
