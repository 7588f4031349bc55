"""Authentic, identified, consistent, failed: which word a file gets, and what decides it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fixtures import small
from hornet_convert.cli import run
from hornet_convert.conversion.convert import Request, convert
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import Pin, TrustRecord
from hornet_convert.errors import UsageError
from hornet_convert.family import zoo
from hornet_convert.verification.references import against, given, pinned
from hornet_convert.verification.report import Report
from hornet_convert.verification.verdict import REQUIREMENTS, Reference, Requirement, judge
from hornet_convert.verification.verify import verify

Capture = pytest.CaptureFixture[str]

SHA = hashlib.sha256(b"file").hexdigest()
PRINT = hashlib.sha256(b"weights").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize(
    ("word", "reference"),
    [
        ("authentic", Reference(SHA, "a pin")),
        ("authentic", Reference(PRINT, "a sibling", "fingerprint", binding=False)),
        ("authentic", Reference(PRINT, "--against", "either")),
        ("authentic", Reference(SHA, "--against", "either")),
        ("identified", Reference(SHA[:8], "the published name")),
        ("identified", Reference(SHA[:63], "--sha256")),
        ("consistent", Reference(SHA, "the mirror's index", vouches=False)),
        ("consistent", Reference(OTHER, "a pin of another file", binding=False)),
        ("consistent", Reference(PRINT, "a file's SHA-256", binding=False)),
        ("failed", Reference(OTHER, "--sha256")),
        ("failed", Reference(OTHER[:8], "the file's name", vouches=False)),
        ("failed", Reference(SHA, "--against", "fingerprint")),
    ],
)
def test_one_reference_decides(word: str, reference: Reference) -> None:
    """Full digests from outside authenticate, digits identify, contradictions fail."""
    verdict = judge(False, SHA, PRINT, "w8", [reference])
    assert word == verdict.word
    decided = None if word == "consistent" else reference
    assert decided == verdict.reference
    assert "failed" == judge(True, SHA, PRINT, "w8", [reference]).word


def test_the_strongest_reference_counts_and_any_contradiction_fails() -> None:
    """Eight matching digits do not hide a full match, nor a full match a contradiction."""
    digits, full, wrong = Reference(SHA[:8], "name"), Reference(SHA, "pin"), Reference(OTHER, "x")
    assert full == judge(False, SHA, None, None, [digits, full]).reference
    assert ("failed", wrong) == (
        judge(False, SHA, None, None, [full, wrong]).word,
        judge(False, SHA, None, None, [full, wrong]).reference,
    )


@pytest.mark.parametrize("row", zoo.MODELS, ids=lambda row: row.name)
def test_published_digits_identify_the_model_they_belong_to(row: zoo.Published) -> None:
    """A hash that begins as published is identified, unless the file holds another model."""
    for digits in (row.sha8, *row.superseded):
        sha256 = digits + SHA[8:]
        assert "identified" == judge(False, sha256, PRINT, row.name, []).word
        assert "consistent" == judge(False, sha256, PRINT, "w8", []).word


@pytest.mark.parametrize("require", REQUIREMENTS)
def test_a_requirement_is_reached_from_above(require: Requirement) -> None:
    """Authentic is enough where identified is asked for, and not the other way round."""
    reached = {
        reference.origin
        for reference in (Reference(SHA, "full"), Reference(SHA[:8], "digits"))
        if judge(False, SHA, None, None, [reference]).reaches(require)
    }
    assert {"identified": {"full", "digits"}, "authentic": {"full"}}[require] == reached
    assert not judge(False, SHA, None, None, []).reaches(require)


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small checkpoint in the authors' form."""
    return small.write(tmp_path / "in.pth", "official-zip", "w8-gf")


def word(report: Report) -> str | None:
    """The verdict's word."""
    return None if report.verdict is None else report.verdict.word


def detail(report: Report, code: str) -> tuple[str, str]:
    """Status and detail of a check."""
    return next((c.status, c.detail) for c in report.checks if c.code == code)


def test_without_a_reference_a_right_file_is_consistent(ckpt: Path) -> None:
    """Nothing that comes with the file makes it more: not its name, not what it records."""
    report = verify(ckpt, forward=False)
    assert ("consistent", None) == (word(report), report.to_json()["reference"])
    named = ckpt.with_name(f"hornet-{report.sha256}.pth".replace("hornet-", "hornet-w8-"))
    ckpt.rename(named)
    result = convert(named, Request(named.parent / "out", forward=False)).output
    for path in (named, Path(result or "")):
        again = verify(path, forward=False)
        assert ("pass", "consistent") == (detail(again, "checksum")[0], word(again))


@pytest.mark.parametrize("form", small.FORMS)
def test_the_same_weights_in_any_form_authenticate(
    tmp_path: Path, ckpt: Path, form: small.Form
) -> None:
    """`--against` compares weights, not files."""
    other = small.write(tmp_path / "other", form, "w8-gf")
    report = verify(ckpt, references=[against(str(other), ckpt)], forward=False)
    assert "authentic" == word(report)
    assert {"kind": "fingerprint", "digits": report.fingerprint, "origin": str(other)} == (
        report.to_json()["reference"]
    )


def test_differing_from_a_file_names_the_tensors(tmp_path: Path, ckpt: Path) -> None:
    """The culprits are named by block, in the reference layout."""
    weights = small.tensors("w8-gf")
    weights["stages.2.7.pwconv1.weight"][0, 0] += 1
    torch.save(weights, tmp_path / "other.pth")
    report = verify(ckpt, references=[against(str(tmp_path / "other.pth"), ckpt)], forward=False)
    status, said = detail(report, "reference")
    assert ("fail", "failed") == (status, word(report))
    assert "1 tensor differs: stages.2.blocks.7.mlp.fc1.weight" in said


def test_a_digest_may_be_of_file_or_weights(ckpt: Path) -> None:
    """`--against` takes either; anything else fails."""
    plain = verify(ckpt, forward=False)
    for digest, expected in (
        (plain.sha256, "authentic"),
        (plain.fingerprint, "authentic"),
        (OTHER, "failed"),
    ):
        report = verify(ckpt, references=[against(digest or "", ckpt)], forward=False)
        assert expected == word(report)


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
    assert expected == word(verify(ckpt, references=[given(sha256[:digits])], forward=False))
    wrong = sha256[: digits - 1] + ("0" if sha256[digits - 1] != "0" else "1")
    report = verify(ckpt, references=[given(wrong)], forward=False)
    assert ("failed", "fail") == (word(report), detail(report, "checksum")[0])


def test_the_trust_record_vouches_for_files_and_weights(tmp_path: Path, ckpt: Path) -> None:
    """What was right once is authentic ever after, and so are the same weights in another file."""
    plain = verify(ckpt, forward=False)
    source = Source("mirror", str(tmp_path))
    record = TrustRecord(tmp_path / "trust.json")
    record.record("w8-gf", source, sha256=plain.sha256 or "", size=1, fingerprint=plain.fingerprint)
    other = small.write(tmp_path / "other.pth", "openmmlab-legacy", "w8-gf")
    for path in (ckpt, other):
        report = verify(path, references=pinned(record.pins()), forward=False)
        assert "authentic" == word(report)
        assert "the trust record (mirror, first seen" in detail(report, "reference")[1]


def test_a_pin_of_another_file_is_no_contradiction_unless_it_is_of_this_source(
    tmp_path: Path, ckpt: Path
) -> None:
    """Other weights of the model are noted; from the very same source they are a failure."""
    source = Source("mirror", str(tmp_path))
    pin = Pin("w8-gf", "mirror", source.location, OTHER, 1, OTHER, "2024-01-01")
    report = verify(ckpt, references=pinned([pin]), forward=False)
    assert "consistent" == word(report)
    assert any("other weights of w8-gf" in note for note in report.notes)
    unrelated = verify(ckpt, references=pinned([replace(pin, model="w8")]), forward=False)
    assert not any("other weights" in note for note in unrelated.notes)
    report = verify(ckpt, references=pinned([pin], "w8-gf", source), forward=False)
    assert "failed" == word(report)


def test_convert_writes_nothing_below_what_is_required(tmp_path: Path, ckpt: Path) -> None:
    """`--require` fails the conversion; the verdict stays what it is."""
    report = convert(ckpt, Request(tmp_path / "out", require="identified", forward=False))
    assert ("consistent", "fail", 1, None) == (
        word(report), report.status, report.exit_code, report.output,
    )  # fmt: skip
    assert [] == list((tmp_path / "out").iterdir())
    known = [Reference(hashlib.sha256(ckpt.read_bytes()).hexdigest(), "a friend")]
    report = convert(
        ckpt, Request(tmp_path / "out", references=known, require="authentic", forward=False)
    )
    assert report
    record = json.loads(Path(report.output or "").with_suffix(".json").read_text())
    assert ("authentic", "a friend") == (record["verdict"], record["reference"]["origin"])


def test_the_verdict_on_the_command_line(tmp_path: Path, ckpt: Path, capsys: Capture) -> None:
    """In the JSON, in the text with its meaning, and in the exit code."""
    other = small.write(tmp_path / "other.pth", "bare-legacy", "w8-gf")
    common = ["verify", "--ckpt", str(ckpt), "--no-forward", "--cache", str(tmp_path / "cache")]
    cases: list[tuple[list[str], int, str]] = [
        ([], 0, "consistent"),
        (["--require", "identified"], 1, "consistent"),
        (["--against", str(other)], 0, "authentic"),
        (["--against", str(other), "--require", "authentic"], 0, "authentic"),
        (["--against", OTHER], 1, "failed"),
        (["--sha256", hashlib.sha256(ckpt.read_bytes()).hexdigest()[:8]], 0, "identified"),
    ]
    for arguments, code, expected in cases:
        assert code == run([*common, *arguments, "--json"])
        document = json.loads(capsys.readouterr().out)
        assert expected == document["verdict"]
        assert ("pass" if code == 0 else "fail") == document["status"]
        assert code == run([*common, *arguments])
        assert f"verdict {expected}." in capsys.readouterr().out


def test_what_could_not_be_done_has_no_verdict(tmp_path: Path, capsys: Capture) -> None:
    """A file that is no checkpoint was not found wrong: there is nothing to judge."""
    (tmp_path / "page.pth").write_text("<html><title>gone</title></html>")
    assert 4 == run(["verify", "--ckpt", str(tmp_path / "page.pth"), "--json"])
    assert json.loads(capsys.readouterr().out)["verdict"] is None
