"""What the cache keeps of converted models, and what `cache list|verify|clear` show of a cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from filelock import FileLock

from hornet_convert.cli import run
from hornet_convert.download.cache import Cache, Usage
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.sources import Source
from tests.download.fault_server import FaultServer
from tests.download.setting import MODEL, get, good, pages, source

ESCAPE = "\x1b]0;title\x07"
BYTES = b"weights"


def keep(cache: Cache, model: str = "tiny", url: str = "http://h/x") -> Path:
    """A converted model as it is kept in a cache; its path."""
    slot = cache.converted(model)
    slot.prepare()
    path = slot.folder / f"hornet-{model}-12345678.safetensors"
    path.write_bytes(BYTES)
    path.with_suffix(".json").write_text("{}")
    slot.lock.touch()
    digest = hashlib.sha256(BYTES).hexdigest()
    source = Source("mirror", "http://h")
    slot.record(path.name, model=model, source=source, url=url, size=len(BYTES), sha256=digest)
    return path


def test_converted_models_are_listed_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the downloads, and a damaged one is a failure."""
    path = keep(Cache(tmp_path))
    assert 0 == run(["cache", "list", "--cache", str(tmp_path)])
    text = capsys.readouterr().out
    assert "converted from http://h/x" in text
    assert f"  {path}\n" in text
    assert f"1 file, {len(BYTES)} bytes" in text
    assert 0 == run(["cache", "verify", "--cache", str(tmp_path)])
    path.write_bytes(b"damaged")
    assert 1 == run(["cache", "verify", "--cache", str(tmp_path)])
    assert f"FAIL  {path}: expected SHA-256" in capsys.readouterr().out


def test_converted_models_are_cleared_and_pruned_by_their_names(tmp_path: Path) -> None:
    """With their provenance; what others put there stays, and without it the folder goes."""
    cache = Cache(tmp_path)
    tiny, small = keep(cache), keep(cache, "small")
    assert Usage(0, 0, 0, 0) == cache.prune()
    stale = tiny.with_name("hornet-tiny-00000000.safetensors")
    stale.write_bytes(b"old")
    assert Usage(1, 3, 0, 0) == cache.prune()
    (tiny.parent / "mine").write_bytes(b"precious")
    (tiny.parent / f".hornet-convert-{'0' * 16}.tmp").touch()
    assert Usage(1, len(BYTES), 0, 0) == cache.clear("tiny")
    assert [small] == [path for _, path in cache.entries()]
    assert [tiny.parent / "mine"] == list(tiny.parent.iterdir())
    assert Usage(1, len(BYTES), 0, 0) == cache.clear()
    assert [tiny.parent.parent] == list(tmp_path.iterdir())


def test_a_model_that_is_being_converted_stays(tmp_path: Path) -> None:
    """Its lock is held."""
    path = keep(Cache(tmp_path))
    with FileLock(path.parent / ".lock"):
        left = f"{path.parent}: another process is using it"
        assert Usage(left=(left,)) == Cache(tmp_path).clear()
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
    keep(Cache(folder), url=ESCAPE)
    run(["cache", "verify", "--cache", str(folder)])
    text = capsys.readouterr().out
    run(["cache", "list", "--cache", str(folder)])
    text += "".join(capsys.readouterr().out.splitlines(keepends=True)[:-1])  # the sum comes last
    assert "\\x1b" in text
    assert "\x1b" not in text
    with pytest.raises(NoSourceError) as caught:
        get(folder, [Source("official", "http://h/x")], offline=True)
    assert MODEL.name in str(caught.value)
    assert "\\x1b" in str(caught.value.hint)
    assert "\x1b" not in str(caught.value.hint)
