"""A file that other programs must not load raises the same alarm in every command."""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path

import pytest

from fixtures import small
from hornet_convert.api.checkpoints import verify
from hornet_convert.cli import run
from hornet_convert.cli.output import junit
from hornet_convert.cli.pages import write_pages
from hornet_convert.cli.render import print_line, print_validation
from hornet_convert.report.report import ALARM
from tests.documents import only
from tests.reader.assemble import Entry, Zip, call, named, text

Capture = pytest.CaptureFixture[str]

COMMAND = text("touch canary")
ATTACKS = {
    "GLOBAL, REDUCE": call(named("posix", "system"), COMMAND),
    "STACK_GLOBAL, REDUCE": text("builtins") + text("exec") + b"\x93(" + COMMAND + b"tR",
    "INST": b"(" + COMMAND + b"iposix\nsystem\n",
    "OBJ": b"(" + named("builtins", "exec") + COMMAND + b"o",
}
POPPED = "GLOBAL, REDUCE", "zip", True


def attacked(folder: Path, attack: str, container: str, popped: bool) -> Path:
    """A sound checkpoint with an attack in its pickle, its outcome thrown away or kept."""
    path = small.write(folder / "x.pth", "official-zip", "w8")
    if container == "legacy":
        small.write(path, "official-legacy", "w8")
        data = path.read_bytes()
        file = io.BytesIO(data)
        *_, start, end = (file.tell() for _ in range(4) if list(pickletools.genops(file)))
        path.write_bytes(data[:start] + _with(data[start:end], attack, popped) + data[end:])
        return path
    entries = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            data = archive.read(info)
            is_pickle = info.filename.endswith("/data.pkl")
            entries.append(Entry(info.filename, _with(data, attack, popped) if is_pickle else data))
    path.write_bytes(Zip(entries).build())
    return path


def _with(pickle: bytes, attack: str, popped: bool) -> bytes:
    if popped:
        return pickle[:2] + ATTACKS[attack] + b"0" + pickle[2:]
    return pickle[:-1] + text("beside") + ATTACKS[attack] + b"s."


@pytest.mark.parametrize("popped", [True, False], ids=["popped", "kept"])
@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_way_to_call_raises_the_alarm(
    attack: str, container: str, popped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the opcodes, and also where nothing of the call is left in the result."""
    monkeypatch.chdir(tmp_path)
    report = verify(attacked(tmp_path, attack, container, popped), forward=False)
    assert report, report.first_failure
    assert ALARM == report.alarm
    ((name, why),) = report.dangers
    assert name in ("posix.system", "builtins.exec")
    assert "run" in why
    assert not Path("canary").exists()


def test_verify_and_convert_raise_the_alarm(tmp_path: Path, capsys: Capture) -> None:
    """On the terminal, as fields of the JSON, in the box of the page; the exit code stays."""
    path = attacked(tmp_path, *POPPED)
    page = tmp_path / "page.html"
    for command in (
        ["verify", "--ckpt", str(path), "--report", str(page)],
        ["convert", "--ckpt", str(path), "--report", str(page), "--out", str(tmp_path / "out")],
    ):
        command += ["--no-forward", "--cache", str(tmp_path / "cache")]
        assert 0 == run(command)
        assert f"{ALARM} posix.system" in " ".join(capsys.readouterr().out.split())
        assert ALARM in page.read_text()
        assert 0 == run([*command, "--json"])
        document = only(capsys.readouterr().out)
        assert document["dangerous"]
        assert ["posix.system"] == [danger["name"] for danger in document["dangers"]]


def test_inspect_and_compare_raise_the_alarm(tmp_path: Path, capsys: Capture) -> None:
    """Of two files, the dangerous one is told."""
    path = str(attacked(tmp_path, *POPPED))
    clean = str(small.write(tmp_path / "clean.pth", "bare-zip", "w8"))
    assert 0 == run(["inspect", path])
    assert ALARM in capsys.readouterr().out
    assert 0 == run(["inspect", path, "--json"])
    assert only(capsys.readouterr().out)["dangerous"]
    assert 0 == run(["compare", clean, path])
    shown = capsys.readouterr().out
    assert 1 == shown.count(ALARM)
    assert shown.index("x.pth") < shown.index(ALARM)
    assert 0 == run(["compare", clean, path, "--json"])
    document = only(capsys.readouterr().out)
    assert not document["a"]["dangerous"]
    assert document["b"]["dangerous"]
    assert ["posix.system"] == [danger["name"] for danger in document["b"]["dangers"]]


def test_validate_raises_the_alarm(tmp_path: Path, capsys: Capture) -> None:
    """In the line of the model, in its row, on the pages and in the JUnit file."""
    report = verify(attacked(tmp_path, *POPPED), forward=False)
    print_line(report)
    assert ALARM in capsys.readouterr().out
    print_validation([report], [1.0])
    assert "DANGEROUS" in capsys.readouterr().out
    write_pages([report], [1.0], tmp_path / "pages")
    for page in ("index.html", "w8.html"):
        assert ALARM in (tmp_path / "pages" / page).read_text()
    assert ALARM.encode() in junit([report], [1.0])


def test_require_safe_refuses(tmp_path: Path, capsys: Capture) -> None:
    """Exit 4 and nothing written, together with other requirements too; harmless names pass."""
    path = attacked(tmp_path, *POPPED)
    out, cache = tmp_path / "out", ["--no-forward", "--cache", str(tmp_path / "cache"), "--json"]
    for command in (["verify"], ["convert", "--out", str(out)]):
        for more in ([], ["--require", "authentic"]):
            assert 4 == run([*command, "--ckpt", str(path), "--require", "safe", *more, *cache])
            error = only(capsys.readouterr().out)["error"]
            assert "unsafe" == error["code"]
            assert "posix.system" in error["found"]
    assert not out.exists() or not list(out.iterdir())
    for form in small.FORMS:
        clean = str(small.write(tmp_path / "clean", form, "w8"))
        safe = ["verify", "--ckpt", clean, "--require", "safe", *cache]
        assert 0 == run(safe)
        assert not only(capsys.readouterr().out)["dangerous"]
        assert 1 == run([*safe, "--require", "authentic"])
        capsys.readouterr()
