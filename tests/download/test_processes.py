"""What other processes, signals and the disk can do to a download."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.sources import Source
from hornet_convert.errors import DiskError
from tests.download.behaviours import HALF, cut, raw, silent
from tests.download.fault_server import Exchange, FaultServer
from tests.download.killing import killed_and_rerun
from tests.download.setting import (
    BODY,
    LIMITS,
    MODEL,
    SHA256,
    Watcher,
    finished,
    get,
    good,
    pages,
    source,
    unfinished,
)

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def start(cache: Path, asked: Source, **options: Any) -> subprocess.Popen[str]:
    """A fetch in a process of its own."""
    command = [sys.executable, "-m", "tests.download.driver", str(cache), json.dumps(options)]
    return subprocess.Popen(
        [*command, f"{asked.name}={asked.address}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and what was printed; nothing may go to stderr."""
    out, err = process.communicate(timeout=600)
    assert "" == err
    return process.returncode, json.loads(out) if out else {}


def slow(exchange: Exchange) -> None:
    """A good server on a slow line: about half a second for the file."""
    start = exchange.asked.offset or 0
    span = f"Content-Range: bytes {start}-{len(BODY) - 1}/{len(BODY)}"
    status = "206 Partial Content" if start else "200 OK"
    exchange.head(status, f"Content-Length: {len(BODY) - start}", 'ETag: "first"', span)
    for at in range(start, len(BODY), 4000):
        exchange.body(BODY[at : at + 4000])
        time.sleep(0.01)


def until(condition: Any) -> None:
    """Wait for something that has to happen soon."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment(seed: int, tmp_path: Path) -> None:
    """Kill -9, then the same again: the right file, and only the missing bytes sent."""
    killed_and_rerun(seed, tmp_path)


def test_two_processes_want_the_same_file(tmp_path: Path) -> None:
    """Both get it, and it is downloaded once."""
    with FaultServer([slow], pages("index")) as server:
        asked = source(server, "index")
        processes = [start(tmp_path, asked) for _ in range(2)]
        results = [outcome(process) for process in processes]
        assert 1 == len(server.files)
    assert [0, 0] == [code for code, _ in results]
    assert {SHA256} == {got["sha256"] for _, got in results}
    assert [False, True] == sorted(got["from_cache"] for _, got in results)


def test_the_other_process_is_killed(tmp_path: Path) -> None:
    """Its lock goes with it; the one that waited goes on where it stopped."""
    with FaultServer([silent(3600, cut(HALF)), good], pages("digits")) as server:
        asked = source(server, "digits")
        first = start(tmp_path, asked)
        until(lambda: len(unfinished(tmp_path) or b"") == HALF)
        second = start(tmp_path, asked)
        time.sleep(0.1)
        first.kill()
        first.communicate()
        code, got = outcome(second)
        assert [None, HALF] == [request.offset for request in server.files][:2]
    assert (0, SHA256) == (code, got["sha256"])


def test_a_lock_file_that_was_left(tmp_path: Path) -> None:
    """A file alone locks nothing."""
    with FaultServer([good], pages("digits")) as server:
        asked = source(server, "digits")
        slot = Cache(tmp_path).slot(MODEL.name, asked)
        slot.folder.mkdir(parents=True)
        slot.lock.write_text("4711\n")
        assert BODY == get(tmp_path, [asked]).path.read_bytes()


def test_where_locks_do_nothing(tmp_path: Path) -> None:
    """Two processes, each sure to be alone: both get the right file, nothing is left over."""
    with FaultServer([slow], pages("digits")) as server:
        asked = source(server, "digits")
        processes = [start(tmp_path, asked, locks=False) for _ in range(2)]
        results = [outcome(process) for process in processes]
        assert 2 == len(server.files)
    assert [(0, SHA256)] * 2 == [(code, got.get("sha256")) for code, got in results], results
    (path,) = finished(tmp_path)
    assert BODY == path.read_bytes()
    assert [] == list(tmp_path.rglob(".part*"))


def test_killed_where_locks_do_nothing(tmp_path: Path) -> None:
    """What it left under its own name is taken by the next run, since its process is gone."""
    with FaultServer([silent(3600, cut(HALF)), good], pages("digits")) as server:
        asked = source(server, "digits")
        first = start(tmp_path, asked, locks=False)
        until(lambda: [HALF] == [path.stat().st_size for path in tmp_path.rglob(".part-*/data")])
        first.kill()
        first.communicate()
        assert HALF == Cache(tmp_path).usage().part_bytes
        code, got = outcome(start(tmp_path, asked, locks=False))
        assert [None, HALF] == [request.offset for request in server.files]
    assert (0, SHA256) == (code, got["sha256"])
    assert [] == list(tmp_path.rglob(".part*"))


def test_going_on_where_locks_do_nothing(tmp_path: Path) -> None:
    """An unfinished download is put back for the next run."""
    with FaultServer([cut(HALF)], pages("digits")) as server:
        asked = source(server, "digits")
        assert 3 == outcome(start(tmp_path, asked, locks=False))[0]
        assert BODY[:HALF] == unfinished(tmp_path)
        server.answers = [good]
        server.restart()
        assert 0 == outcome(start(tmp_path, asked, locks=False))[0]
        assert [HALF] == [request.offset for request in server.files]


def test_ctrl_c(tmp_path: Path) -> None:
    """130, no traceback, the part file kept, and the next run goes on."""
    with FaultServer([silent(3600, cut(HALF)), good], pages("digits")) as server:
        asked = source(server, "digits")
        process = start(tmp_path, asked)
        until(lambda: len(unfinished(tmp_path) or b"") == HALF)
        process.send_signal(signal.SIGINT)
        assert (130, {}) == outcome(process)
        assert [] == finished(tmp_path)
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert HALF == server.files[-1].offset


@pytest.mark.parametrize("knows", ["index", "nothing"])
def test_a_full_disk(knows: str, tmp_path: Path) -> None:
    """5, what is cached stays, and the unfinished download does not take up the rest."""
    with FaultServer([good], pages("index")) as server:
        asked = source(server, "index" if knows == "index" else "nothing")
        path = get(tmp_path, [asked]).path
        code, text = outcome(start(tmp_path, asked, fsize=70_000, force=True))
    assert 5 == code
    assert "File too large" in text["error"]
    assert "`cache`" in text["error"]
    assert BODY == path.read_bytes()
    assert [path] == finished(tmp_path)
    assert None is unfinished(tmp_path)


def test_no_room_for_what_is_announced(tmp_path: Path) -> None:
    """5 before a byte is written, with how much is needed and free."""
    huge = raw(f"HTTP/1.1 200 OK\nContent-Length: {10**17}", BODY)
    watcher = Watcher(replace(LIMITS, max_bytes=10**18))
    with (
        FaultServer([huge]) as server,
        pytest.raises(DiskError, match=f"{10**17} bytes are needed") as raised,
    ):
        get(tmp_path, [source(server, "nothing")], watcher)
    assert 5 == raised.value.exit_code
    assert None is unfinished(tmp_path)


def test_offline_opens_no_socket(tmp_path: Path) -> None:
    """3 without the file, 0 with it, 1 with a damaged one: the process never makes a socket."""
    with FaultServer([good], pages("index")) as server:
        asked = source(server, "index")
        missing = outcome(start(tmp_path, asked, offline=True))
        path = get(tmp_path, [asked]).path
        there = outcome(start(tmp_path, asked, offline=True))
        path.write_bytes(BODY[:-1])
        damaged = outcome(start(tmp_path, asked, offline=True))
    assert [3, 0, 1] == [code for code, _ in (missing, there, damaged)]


@contextlib.contextmanager
def world_readable() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_read_only_folder() -> None:
    """5, naming the folder; as root, who may write anywhere, in the shoes of another user."""
    options = {"uid": NOBODY} if os.geteuid() == 0 else {}
    with world_readable() as folder, FaultServer([good], pages("digits")) as server:
        cache = folder / "cache"
        cache.mkdir(mode=0o555)
        code, text = outcome(start(cache, source(server, "digits"), **options))
        cache.chmod(0o755)
        assert [] == list(cache.iterdir())
    assert 5 == code
    assert "Permission denied" in text["error"]
    assert str(cache) in text["error"]


def test_a_read_only_cache_with_the_file_in_it() -> None:
    """What is there can be used without writing anything."""
    options = {"uid": NOBODY} if os.geteuid() == 0 else {}
    with world_readable() as folder, FaultServer([good], pages("index")) as server:
        asked = source(server, "index")
        path = get(folder / "cache", [asked]).path
        for place in (path.parent, path.parent.parent, folder / "cache"):
            place.chmod(0o555)
        code, got = outcome(start(folder / "cache", asked, **options))
        for place in (folder / "cache", path.parent.parent, path.parent):
            place.chmod(0o755)
    assert (0, True) == (code, got["from_cache"])


@pytest.mark.parametrize("place", ["cache", "cache/tiny", "slot", "lock", "final"])
def test_something_else_in_the_way(place: str, tmp_path: Path) -> None:
    """A file where a folder, or a folder where a file has to be: 5, naming it, nothing broken."""
    with FaultServer([good], pages("digits")) as server:
        asked = source(server, "digits")
        slot = Cache(tmp_path / "cache").slot(MODEL.name, asked)
        blocked = {
            "slot": slot.folder,
            "lock": slot.lock,
            "final": slot.folder / MODEL.file_name,
        }.get(place, tmp_path / place)
        blocked.parent.mkdir(parents=True, exist_ok=True)
        if place in ("lock", "final"):
            (blocked / "x").mkdir(parents=True)
        else:
            blocked.write_bytes(b"precious")
        with pytest.raises(DiskError) as raised:
            get(tmp_path / "cache", [asked])
    assert 5 == raised.value.exit_code
    assert str(tmp_path) in raised.value.message
    assert blocked.is_dir() or b"precious" == blocked.read_bytes()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_modes_follow_the_umask(mask: int, mode: int, tmp_path: Path) -> None:
    """Files are as readable as the user's files are."""
    before = os.umask(mask)
    try:
        with FaultServer([good], pages("digits")) as server:
            path = get(tmp_path, [source(server, "digits")]).path
    finally:
        os.umask(before)
    assert {mode} == {p.stat().st_mode & 0o777 for p in (path, path.parent / ".entry.json")}
