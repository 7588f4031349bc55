"""The cache as a folder: where it is, what it holds, what clearing leaves."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from hornet_convert.cli import run
from hornet_convert.download.cache import Cache, Slot, Usage
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import TrustRecord
from hornet_convert.errors import EXIT_DISK, DiskError
from hornet_convert.family import zoo
from tests.documents import parsed
from tests.download.behaviours import FLIPPED, HALF, cut
from tests.download.fault_server import FaultServer
from tests.download.setting import BODY, MODEL, SHA256, get, good, pages, source

N = len(BODY)


def filled(folder: Path) -> tuple[Path, Path]:
    """A cache with one file and one unfinished download; their paths."""
    with FaultServer([good], pages("digits")) as server:
        path = get(folder, [source(server, "digits")]).path
        server.answers = [cut(HALF)]
        with pytest.raises(NoSourceError):
            get(folder, [source(server, "nothing")])
    (part,) = folder.rglob(".part/data")
    return path, part


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, else from the environment, else the user's cache folder, with the record apart."""
    monkeypatch.setenv("HORNET_CONVERT_CACHE", str(tmp_path / "env"))
    assert tmp_path / "own" == Cache.at(tmp_path / "own").folder
    assert tmp_path / "env" == Cache.at().folder
    assert tmp_path / "env/trust.json" == Cache.at().trust_path
    monkeypatch.setenv("HORNET_CONVERT_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    cache = Cache.at()
    assert cache.folder.name == "hornet-convert"
    assert cache.folder not in cache.trust_path.parents
    assert [] == list(tmp_path.iterdir())


def test_nothing_of_http_is_loaded_before_it_is_needed() -> None:
    """Looking after the cache, or working offline, costs no import of requests."""
    code = (
        "import sys\n"
        "from hornet_convert.download import at_hand, cache, obtain, parallel, sources, trust\n"
        "print(*sorted({'requests', 'urllib3', 'http', 'ssl', 'filelock'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "\n" == done.stdout


def test_an_empty_cache(tmp_path: Path) -> None:
    """Nothing in it, nothing made, nothing to clear."""
    cache = Cache(tmp_path / "none")
    nothing = Usage(0, 0, 0, 0)
    assert (nothing, nothing) == (cache.usage(), cache.clear())
    assert ([], []) == (cache.entries(), list(cache.verify()))
    assert not cache.folder.exists()


def test_what_it_holds(tmp_path: Path) -> None:
    """Files with what is recorded about them, and unfinished downloads, in bytes."""
    path, _ = filled(tmp_path)
    cache = Cache(tmp_path)
    assert Usage(1, N, 1, HALF) == cache.usage()
    ((entry, where),) = cache.entries()
    assert path == where
    assert (MODEL.name, "mirror") == (entry.model, entry.source)
    assert (SHA256, N) == (entry.sha256, entry.size)
    assert (SHA256[:8], "the published file name") == (entry.expected, entry.origin)
    assert [] == cache.entries("small")
    assert [(entry, path)] == cache.entries("tiny")


def test_verifying(tmp_path: Path) -> None:
    """Every file is read again; what is wrong is said with both digests, and left there."""
    path, _ = filled(tmp_path)
    cache = Cache(tmp_path)
    assert [None] == [problem for _, _, problem in cache.verify()]
    path.write_bytes(FLIPPED)
    ((_, _, problem),) = cache.verify()
    assert problem is not None
    assert SHA256 in problem
    assert FLIPPED == path.read_bytes()


def test_clearing(tmp_path: Path) -> None:
    """Everything of one model, or of all; the trust record and what others put there stay."""
    filled(tmp_path)
    cache = Cache(tmp_path)
    record = TrustRecord(cache.trust_path)
    record.record("tiny", Source("official", "x"), sha256=SHA256, size=N, fingerprint=None)
    foreign = [tmp_path / "tiny/mine.txt", tmp_path / "notes/mirror-12345678x/file"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"precious")
    assert Usage(0, 0, 0, 0) == cache.clear("small")
    assert Usage(1, N, 1, HALF) == cache.clear("tiny")
    assert Usage(0, 0, 0, 0) == cache.usage()
    assert [b"precious"] * 2 == [path.read_bytes() for path in foreign]
    assert 1 == len(record.pins())


FOREIGN = (
    "photos/holiday-20240101/precious",
    "tiny/backup-12345678/precious",
    "tiny/mirror-1234567g/precious",
    "tiny/mirror-12345678/precious",
    "tiny/mirror-12345678/folder/precious",
    "tiny/mirror-12345678/.part/precious",
    "tiny/mirror-12345678/.hidden",
    "other/mirror-12345678/.part",
)


@pytest.mark.parametrize("model", [None, "tiny"])
def test_clearing_a_folder_that_others_use(tmp_path: Path, model: str | None) -> None:
    """Only files of the cache's own names go, whatever folders stand beside or in the slots."""
    path, part = filled(tmp_path)
    foreign = [*(tmp_path / name for name in FOREIGN), path.parent / "notes.txt"]
    for other in foreign:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(b"precious")
    (path.parent / ".hornet-convert-0123456789abcdef.tmp").write_bytes(b"")
    assert Usage(1, N, 1, HALF) == Cache(tmp_path).clear(model)
    assert [b"precious"] * len(foreign) == [other.read_bytes() for other in foreign]
    assert [path.parent / "notes.txt"] == list(path.parent.iterdir())
    assert not part.parent.exists()


@pytest.mark.parametrize("place", ["tiny", "tiny/mirror-12345678"])
def test_a_link_is_left_alone(place: str, tmp_path: Path) -> None:
    """What lies behind a link of a model's or a slot's name is not the cache's to remove."""
    slot = filled(tmp_path / "elsewhere")[0].parent
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    link = tmp_path / "cache" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(slot.parent if place == "tiny" else slot)
    assert Usage(0, 0, 0, 0) == Cache(tmp_path / "cache").clear()
    assert before == sorted((tmp_path / "elsewhere").rglob("*"))


def test_clearing_leaves_what_is_being_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slot that another process holds stays as it is, and the user is told."""
    path, part = filled(tmp_path)
    with FileLock(part.parents[1] / ".lock"):
        assert EXIT_DISK == run(["cache", "clear", "--cache", str(tmp_path)])
    out, err = capsys.readouterr()
    assert f"1 file removed, {N:,} bytes freed" in out
    assert f"found: {part.parents[1]}: " in err
    assert " is using it\n" in err
    assert part.exists()
    assert not path.exists()
    with FileLock(part.parents[1] / ".lock"):
        assert EXIT_DISK == run(["cache", "clear", MODEL.name, "--json", "--cache", str(tmp_path)])
    document = parsed(capsys.readouterr().out)
    (row,) = document["results"]
    assert ("error", EXIT_DISK, document["error"]) == (
        row["status"], row["exit_code"], row["error"],
    )  # fmt: skip
    assert str(part.parents[1]) in row["error"]["found"]


def test_clearing_goes_on_after_what_belongs_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes, and what stays is named with the reason."""
    path, part = filled(tmp_path)
    clear = Slot.clear

    def refuse(slot: Slot) -> None:
        if slot.folder == path.parent:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        clear(slot)

    monkeypatch.setattr(Slot, "clear", refuse)
    gone = Cache(tmp_path).clear()
    assert Usage(0, 0, 1, HALF, (f"{path.parent}: Permission denied",)) == gone
    assert path.exists()
    assert not part.exists()


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    """5 on use."""
    (tmp_path / "file").write_bytes(b"")
    with FaultServer([good], pages("digits")) as server, pytest.raises(DiskError):
        get(tmp_path / "file", [source(server, "digits")])


def test_every_source_has_a_place_of_its_own() -> None:
    """No two of all the published sources, and no two mirrors, share a slot."""
    from hornet_convert.download.sources import sources_for

    cache = Cache(Path("/nowhere"))
    folders = [
        cache.slot(model.name, source).folder
        for model in zoo.MODELS
        for mirror in ("http://h/a", "http://h/b", "/a")
        for source in sources_for(model, mirrors=[mirror])[: 1 if mirror != "/a" else None]
    ]
    assert len(folders) == len(set(folders)) == 9 * (2 + 4)
