"""Records that people exchange: what others saw can vouch, what one saw oneself cannot."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import small
from hornet_convert.cli import run
from hornet_convert.download.cache import Cache
from hornet_convert.download.pins import Pin, compared, packaged_pins
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import TrustRecord
from hornet_convert.family import zoo
from tests.documents import conforms, only

Capture = pytest.CaptureFixture[str]

MIRROR = Source("mirror", "https://user:secret@h/x?token=secret")
PIN = Pin("tiny", "official", "https://h/f", "a" * 64, 5, "f" * 64, "2026-01-01", "Ada", "1")


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small model's file."""
    return small.write(tmp_path / "model.pth", "official-zip", "w8-gf")


@pytest.fixture
def mine(tmp_path: Path, ckpt: Path) -> list[str]:
    """The option for a cache in which the file has been seen once, from a mirror."""
    data = ckpt.read_bytes()
    record = TrustRecord(Cache(tmp_path / "mine").trust_path)
    sha256 = hashlib.sha256(data).hexdigest()
    record.record("w8-gf", MIRROR, sha256=sha256, size=len(data), fingerprint=None)
    return ["--cache", str(tmp_path / "mine")]


def verdict(ckpt: Path, cache: list[str], capsys: Capture, *more: str) -> tuple[int, str, str]:
    """Exit code, verdict, and what the verdict rests on."""
    code = run(["verify", "--ckpt", str(ckpt), "--no-forward", "--json", *cache, *more])
    document = only(capsys.readouterr().out)
    return code, document["verdict"], (document["reference"] or {}).get("origin", "")


def exported(cache: list[str], by: str, out: Path) -> Path:
    """What the command exports."""
    assert run(["pins", *cache, "export", "--by", by, "--out", str(out)]) == 0
    return out


def test_what_was_seen_here_once_is_no_authority(
    mine: list[str], ckpt: Path, capsys: Capture
) -> None:
    """The first sight says that nothing has changed, on which day, and from where."""
    required = ("--require", "authentic")
    code, word, origin = verdict(ckpt, mine, capsys, *required)
    assert (code, word) == (1, "seen before")
    assert "first seen here on 2" in origin
    assert "from mirror https://h/x" in origin


def test_what_another_saw_makes_it_authentic(
    mine: list[str], ckpt: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Exported by one, merged by another, and named in the verdict; no secret travels."""
    document = exported(mine, "Ada", tmp_path / "pins.json")
    assert "secret" not in document.read_text()
    text = json.loads(document.read_text())
    conforms("pins file", text)
    (entry,) = text["pins"]
    assert (entry["by"], entry["model"], entry["size"]) == ("Ada", "w8-gf", ckpt.stat().st_size)
    other = ["--cache", str(tmp_path / "other")]
    assert verdict(ckpt, other, capsys)[1] == "consistent"
    assert run(["pins", *other, "merge", str(document), "--dry-run"]) == 0
    assert "new          w8-gf" in capsys.readouterr().out
    assert verdict(ckpt, other, capsys)[1] == "consistent"
    assert run(["pins", *other, "merge", str(document), "--yes"]) == 0
    capsys.readouterr()
    code, word, origin = verdict(ckpt, other, capsys, "--require", "authentic")
    assert (code, word) == (0, "authentic")
    assert origin.startswith("the record of Ada (seen on 2")
    # What was merged is not exported as one's own.
    assert json.loads(exported(other, "Bob", tmp_path / "b.json").read_text()) == {
        "pins": [],
        "schema_version": 1,
    }


def test_ones_own_record_is_not_anothers(
    mine: list[str], ckpt: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Merging what one exported oneself changes nothing, under whatever name."""
    document = exported(mine, "Somebody Else", tmp_path / "pins.json")
    assert run(["pins", *mine, "merge", str(document)]) == 0
    assert "1 already recorded" in capsys.readouterr().out
    assert verdict(ckpt, mine, capsys)[1] == "seen before"


def test_agreeing_records_are_both_kept(mine: list[str], tmp_path: Path, capsys: Capture) -> None:
    """Two people, one file: the second record says whom it agrees with."""
    document = exported(mine, "Ada", tmp_path / "pins.json")
    text = json.loads(document.read_text())
    text["pins"][0] |= {"id": "another", "by": "Bob", "location": "https://elsewhere/x"}
    document.write_text(json.dumps(text))
    assert run(["pins", "merge", str(document), "--yes", *mine]) == 0
    out = capsys.readouterr().out
    assert "agrees" in out
    assert "as the trust record (first seen here" in out
    assert len(TrustRecord(Cache(tmp_path / "mine").trust_path).pins()) == 2


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize(("answer", "stored"), [("y", 1), ("n", 0)])
def test_at_a_terminal_the_pins_are_shown_before_the_question(
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    stored: int,
    more: list[str],
) -> None:
    """No is an answer, not an interruption."""
    (tmp_path / "pins.json").write_text(json.dumps({"pins": [PIN.__dict__]}))
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    cache = ["--cache", str(tmp_path / "c")]
    assert run(["pins", "merge", str(tmp_path / "pins.json"), *cache, *more]) == 0
    shown = capsys.readouterr()
    assert f"new          tiny  {PIN.sha256}" in (
        shown.err.partition("?")[0] if more else shown.out
    )
    assert "Store 1? [y/N]" in shown.err
    assert ("Nothing was stored" in shown.err) is not bool(stored)
    assert not more or stored == json.loads(shown.out)["about"]["stored"]
    assert stored == len(TrustRecord(Cache(tmp_path / "c").trust_path).pins())


def test_where_nobody_can_be_asked_nothing_is_stored_without_yes(
    tmp_path: Path, capsys: Capture
) -> None:
    """The message names the option; the same with it is stored."""
    (tmp_path / "pins.json").write_text(json.dumps({"pins": [PIN.__dict__]}))
    command = ["pins", "merge", str(tmp_path / "pins.json"), "--cache", str(tmp_path / "c")]
    for more in ([], ["--json"]):
        assert run([*command, *more]) == 2
        assert "--yes" in "".join(capsys.readouterr())
        assert not (tmp_path / "c").exists()
    assert run([*command, "--yes"]) == 0


@pytest.mark.parametrize(
    "change",
    [{"sha256": "b" * 64}, {"size": 6}, {"fingerprint": "e" * 64}],
    ids=["file", "size", "fingerprint"],
)
def test_a_contradiction_is_shown_and_nothing_is_stored(
    change: dict[str, object], tmp_path: Path, capsys: Capture
) -> None:
    """Both digests are shown; what else is in the document stays out as well."""
    record = TrustRecord(Cache(tmp_path / "c").trust_path)
    record.merge([PIN])
    wrong = replace(PIN, id="2", by="Eve", **change)  # type: ignore[arg-type]
    document = {"pins": [replace(PIN, id="3", model="small", sha256="c" * 64), wrong]}
    text = json.dumps({"pins": [pin.__dict__ for pin in document["pins"]]})
    (tmp_path / "pins.json").write_text(text)
    assert run(["pins", "--cache", str(tmp_path / "c"), "merge", str(tmp_path / "pins.json")]) == 1
    shown = capsys.readouterr()
    assert "1 new, 1 contradicting the record" in shown.out
    assert "seen by Eve" in shown.out
    assert "but the record of Ada" in shown.out
    assert "Nothing was stored" in shown.err
    assert record.pins() == (PIN,)


def test_two_files_with_the_same_eight_digits_contradict(tmp_path: Path) -> None:
    """Sources may have different files of a model; not two files of one published name."""
    elsewhere = replace(PIN, id="2", location="https://other/f")
    (row,) = compared([replace(elsewhere, sha256="b" * 64)], [PIN])
    assert row.state == "new"
    (row,) = compared([replace(elsewhere, sha256="a" * 8 + "b" * 56)], [PIN])
    assert row.state == "contradicts"


@pytest.mark.parametrize("text", ["", "{", '{"pins": [{"model": "tiny"}]}', "<html>"])
def test_a_document_that_cannot_be_read(text: str, tmp_path: Path, capsys: Capture) -> None:
    """The message names the user's file, and does not ask to remove the record."""
    file = tmp_path / "theirs.json"
    file.write_text(text)
    assert run(["pins", "--cache", str(tmp_path / "c"), "merge", str(file)]) == 4
    reason = capsys.readouterr().err
    assert "theirs.json" in reason
    assert "pins export" in reason
    assert "emove" not in reason
    assert not (tmp_path / "c").exists()


def test_an_export_replaces_an_export_and_nothing_else(
    mine: list[str], ckpt: Path, tmp_path: Path, capsys: Capture
) -> None:
    """No checkpoint, no list, not the record: exit 5, and what stands there stays."""
    out, other = tmp_path / "pins.json", tmp_path / "other.json"
    assert exported(mine, "Ada", out).read_text() != exported(mine, "Bob", out).read_text()
    other.write_text('["mine"]')
    for path in (ckpt, other, Cache(tmp_path / "mine").trust_path):
        before = path.read_bytes()
        assert run(["pins", *mine, "export", "--by", "Ada", "--out", str(path)]) == 5
        assert "holds no exported pins" in capsys.readouterr().err
        assert path.read_bytes() == before
    nothing = exported(["--cache", str(tmp_path / "nothing")], "Ada", out)
    assert json.loads(nothing.read_text())["pins"] == []


def test_a_document_without_names_is_of_nobody_known(tmp_path: Path, capsys: Capture) -> None:
    """As earlier versions wrote it: it is merged, and nothing of it was seen here."""
    old = {name: value for name, value in PIN.__dict__.items() if name not in ("by", "id")}
    (tmp_path / "old.json").write_text(json.dumps({"pins": [old]}))
    cache = ["--cache", str(tmp_path / "c")]
    assert run(["pins", *cache, "--merge", str(tmp_path / "old.json")]) == 0
    record = TrustRecord(Cache(tmp_path / "c").trust_path)
    assert [pin.by for pin in record.pins()] == ["somebody who gave no name"]
    assert record.seen_here() == ()


def test_every_shipped_digest_was_seen_by_two() -> None:
    """What comes with the package is trusted by everybody, so nobody's word alone is enough."""
    pins = packaged_pins()
    assert {pin.model for pin in pins} <= set(zoo.BY_NAME)
    seen: dict[str, set[str]] = {}
    for pin in pins:
        seen.setdefault(pin.sha256, set()).add(pin.by)
    assert [sha256 for sha256, by in seen.items() if len(by) < 2] == []
    assert [row for row in compared(pins, ()) if row.state == "contradicts"] == []
