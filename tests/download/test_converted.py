"""What the cache keeps of converted models, and what `cache list|verify|clear` show of a cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from filelock import FileLock

from hornet_convert.cli import run
from hornet_convert.download.cache import Cache, Usage
from hornet_convert.download.converted import FOLDER, converted
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.sources import Source
from tests.download.fault_server import FaultServer
from tests.download.setting import MODEL, get, good, pages, source

ESCAPE = "\x1b]0;title\x07"
BYTES = b"weights"


def keep(cache: Path, model: str = "tiny", url: str = "http://h/x") -> Path:
    """A converted model as it is kept in a cache; its path."""
    folder = cache / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"hornet-{model}-12345678.safetensors"
    path.write_bytes(BYTES)
    path.with_suffix(".json").write_text("{}")
    (folder / f".{model}.lock").touch()
    digest = hashlib.sha256(BYTES).hexdigest()
    record = {"file": path.name, "sha256": digest, "source": "mirror", "url": url}
    (folder / f"{model}.kept.json").write_text(json.dumps(record))
    return path


def test_converted_models_are_listed_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the downloads, and a damaged one is a failure."""
    path = keep(tmp_path)
    assert 0 == run(["cache", "list", "--cache", str(tmp_path)])
    said = capsys.readouterr().out
    assert "converted from http://h/x" in said
    assert f"  {path}\n" in said
    assert f"1 file, {len(BYTES)} bytes" in said
    assert 0 == run(["cache", "verify", "--cache", str(tmp_path)])
    path.write_bytes(b"damaged")
    assert 1 == run(["cache", "verify", "--cache", str(tmp_path)])
    assert f"FAIL  {path}: expected SHA-256" in capsys.readouterr().out


def test_converted_models_are_cleared_by_their_names(tmp_path: Path) -> None:
    """One, then all; what others put there stays, and without it the folder goes."""
    tiny, small = keep(tmp_path), keep(tmp_path, "small")
    foreign = [tiny.parent / name for name in ("mine.safetensors", "mine.json", "w.kept.json")]
    for path in foreign:
        path.write_bytes(b"precious")
    (tiny.parent / f".hornet-convert-{'0' * 16}.tmp").touch()
    cache = Cache(tmp_path)
    assert Usage(1, len(BYTES), 0, 0) == cache.clear("tiny")
    assert [small] == [one.path for one in converted(tmp_path)]
    assert Usage(1, len(BYTES), 0, 0) == cache.clear()
    assert sorted(foreign) == sorted(tiny.parent.iterdir())
    for path in foreign:
        path.unlink()
    keep(tmp_path)
    cache.clear()
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../victim.safetensors", "mine.txt", "", 5])
def test_a_record_that_names_something_else(name: object, tmp_path: Path) -> None:
    """Is no record: what it names is neither shown nor removed."""
    folder = keep(tmp_path).parent
    (tmp_path / "victim.safetensors").write_bytes(b"precious")
    (folder / "mine.txt").write_bytes(b"precious")
    record = {"file": name, "sha256": "0" * 64, "source": "mirror", "url": "x"}
    (folder / "tiny.kept.json").write_text(json.dumps(record))
    assert [] == converted(tmp_path)
    Cache(tmp_path).clear()
    assert (tmp_path / "victim.safetensors").exists()
    assert (folder / "mine.txt").exists()


def test_a_folder_of_converted_models_that_is_a_link(tmp_path: Path) -> None:
    """Left alone."""
    path = keep(tmp_path / "elsewhere")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FOLDER).symlink_to(path.parent)
    Cache(tmp_path / "cache").clear()
    assert path.exists()


def test_a_model_that_is_being_converted_stays(tmp_path: Path) -> None:
    """Its lock is held."""
    path = keep(tmp_path)
    with FileLock(path.parent / ".tiny.lock"):
        assert Usage(0, 0, 0, 0) == Cache(tmp_path).clear()
    assert path.exists()


def test_nothing_recorded_reaches_the_terminal_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in the records and in the names of folders are shown, not sent."""
    folder = tmp_path / f"cache{ESCAPE}"
    with FaultServer([good], pages("digits")) as server:
        path = get(folder, [source(server, "digits")]).path
    record = path.parent / ".entry.json"
    changed = dict.fromkeys(("model", "source", "location", "url", "sha256"), ESCAPE)
    record.write_text(json.dumps({**json.loads(record.read_text()), **changed}))
    keep(folder, url=ESCAPE)
    run(["cache", "verify", "--cache", str(folder)])
    said = capsys.readouterr().out
    run(["cache", "list", "--cache", str(folder)])
    said += "".join(capsys.readouterr().out.splitlines(keepends=True)[:-1])  # the sum comes last
    assert "\\x1b" in said
    assert "\x1b" not in said
    with pytest.raises(NoSourceError) as caught:
        get(folder, [Source("official", "http://h/x")], offline=True)
    assert MODEL.name in str(caught.value)
    assert "\\x1b" in str(caught.value.hint)
    assert "\x1b" not in str(caught.value.hint)
