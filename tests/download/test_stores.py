"""Mirrors that other libraries ask: the Hugging Face Hub, and stores that fsspec knows."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from hornet_convert.api.fetch import Download
from hornet_convert.download.cache import Cache
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.sources import Source
from hornet_convert.download.wanted import ChecksumMismatchError
from hornet_convert.errors import UsageError
from tests.download.setting import BODY, INDEX, MODEL, OTHER, SHA256, finished, get, unfinished
from tests.hub_server import Hub, serving

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub with one repository, `org/hornet`."""
    with serving() as served:
        served.commit("org/hornet", {MODEL.file_name: BODY})
        yield served


def fetch(hub: Hub, folder: Path, mirror: str, **settings: object) -> tuple[int, dict[str, str]]:
    """One fetch in a process of its own, since the library reads its environment once."""
    command = [sys.executable, "-m", "tests.download.driver", str(folder / "cache")]
    done = subprocess.run(
        [*command, json.dumps(settings), f"mirror={mirror}"],
        cwd=ROOT,
        env=hub.environment(folder / "hf"),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_repository_of_the_hub(indexed: bool, hub: Hub, tmp_path: Path) -> None:
    """Its file is used where the Hub's own cache has it, and there is found without a network."""
    if indexed:
        hub.repos.clear()
        hub.commit("org/hornet", {"index.json": INDEX, "tiny.pth": BODY})
    for settings in ({}, {"offline": True}):
        code, got = fetch(hub, tmp_path, "hf://org/hornet", **settings)
        assert (code, got.get("sha256")) == (0, SHA256), got
        assert str(tmp_path / "hf") in got["path"]
    assert {token for _, _, token in hub.asked} == {"Bearer hunter2"}
    assert [method for method, path, _ in hub.asked if path.endswith(".pth")].count("GET") == 1
    assert not (tmp_path / "cache").exists()


def test_a_repository_without_the_file(hub: Hub, tmp_path: Path) -> None:
    """3, naming the repository; the same for one that does not exist, and offline."""
    hub.repos["org/hornet"]["main"].clear()
    for mirror, settings in (
        ("hf://org/hornet", {}),
        ("hf://org/nosuch@v1", {}),
        ("hf://org/hornet", {"offline": True}),
    ):
        code, got = fetch(hub, tmp_path, mirror, **settings)
        assert code == 3
        assert f"mirror {mirror}" in got["error"]
        assert not settings or "the Hub's cache" in got["error"]
        assert "hunter2" not in got["error"]


def test_a_wrong_file_of_the_hub_is_fetched_again_once(hub: Hub, tmp_path: Path) -> None:
    """The Hub's cache may have gone bad; a file that is wrong twice is an error."""
    assert fetch(hub, tmp_path, "hf://org/hornet")[0] == 0
    (blob,) = (path for path in (tmp_path / "hf").rglob(SHA256) if path.is_file())
    blob.write_bytes(OTHER)
    assert fetch(hub, tmp_path, "hf://org/hornet")[0] == 0
    assert blob.read_bytes() == BODY
    hub.commit("org/hornet", {MODEL.file_name: OTHER})
    assert fetch(hub, tmp_path / "another", "hf://org/hornet")[0] == 1


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """A store in memory."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


def test_a_store_that_fsspec_knows(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """Its file is copied into the cache, with or without an index, and is then there offline."""
    store.pipe(f"/bucket/{MODEL.file_name}", BODY)
    source = Source("mirror", "memory://bucket")
    fetched = get(tmp_path, [source])
    assert (fetched.path.read_bytes(), fetched.sha256) == (BODY, SHA256)
    assert finished(tmp_path) == [fetched.path]
    assert get(tmp_path, [source]).from_cache
    store.store.clear()
    assert get(tmp_path, [source], offline=True).from_cache
    store.pipe({"/bucket/index.json": INDEX, "/bucket/tiny.pth": OTHER})
    with pytest.raises(ChecksumMismatchError):
        get(tmp_path / "another", [source])


def test_a_store_that_breaks_off(
    store: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came is kept, and only the rest is read the next time."""
    store.pipe(f"/bucket/{MODEL.file_name}", BODY)
    monkeypatch.setattr("hornet_convert.download.stores.MIB", 50_000)
    reads: list[int] = []
    kind = type(store.open(f"/bucket/{MODEL.file_name}"))
    usual = kind.read

    def breaking(file: object, size: int = -1) -> bytes:
        reads.append(size)
        if len(reads) == 3:
            raise ConnectionError("secret gone")
        return bytes(usual(file, size))

    monkeypatch.setattr(kind, "read", breaking)
    with pytest.raises(NoSourceError, match="ConnectionError"):
        get(tmp_path, [Source("mirror", "memory://bucket")])
    assert unfinished(tmp_path) == BODY[:100_000]
    reads[:] = [0, 0, 0]
    assert get(tmp_path, [Source("mirror", "memory://bucket")]).path.read_bytes() == BODY
    assert len(reads) == 3 + 3 + 1


def test_a_store_without_the_file(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """3, and one whose library is missing, too, saying which."""
    with pytest.raises(NoSourceError, match="FileNotFoundError"):
        get(tmp_path, [Source("mirror", "memory://bucket")])
    with pytest.raises(NoSourceError) as raised:
        get(tmp_path, [Source("mirror", "nosuch://user:hunter2@bucket/x")])
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("mirror", ["htps://h/x", "zz://user:hunter2@h/x?sig=hunter2"])
def test_a_store_that_nobody_knows(mirror: str, tmp_path: Path) -> None:
    """A slip of the pen is a usage error; without it the next source would be asked."""
    with pytest.raises(UsageError, match="cannot be asked") as raised:
        Download(Cache(tmp_path), (mirror,)).sources(MODEL)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("mirror", "extra"),
    [("hf://o/r", "hornet-convert[hub]"), ("s3://b/x", "hornet-convert[stores]")],
)
def test_a_library_that_is_not_installed(
    mirror: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A usage error before anything is asked, with what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    settings = Download(Cache(tmp_path), (mirror,), "mirror")
    with pytest.raises(UsageError) as raised:
        settings.sources(MODEL)
    assert extra in str(raised.value.hint)
