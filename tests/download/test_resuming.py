"""One run after another: what is kept, what is asked for again, what the cache is worth."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.sources import Source, SourceName
from hornet_convert.download.wanted import ChecksumMismatchError
from tests.download.behaviours import FLIPPED, HALF, TAG, cut, no_ranges, own_tag, status, whole
from tests.download.fault_server import FaultServer
from tests.download.setting import (
    BODY,
    INDEX,
    LIMITS,
    MODEL,
    OTHER,
    SHA256,
    Knows,
    Watcher,
    absent,
    finished,
    get,
    good,
    index,
    pages,
    source,
    unfinished,
)

N = len(BODY)
KNOWS: tuple[Knows, ...] = ("index", "digits", "nothing")


def left_behind(folder: Path, server: FaultServer, knows: Knows, part: bytes) -> Source:
    """A cache as a killed run leaves it: `part` of the file, with a true sidecar."""
    asked = source(server, knows)
    before = server.answers
    server.answers = [cut(HALF), status("404 Gone")]
    with pytest.raises(NoSourceError):
        get(folder, [asked])
    server.answers = before
    server.restart()
    (path,) = folder.rglob(".part/data")
    path.write_bytes(part)
    return asked


@pytest.mark.parametrize("line", ["400 Bad", "403 Forbidden", "404 Gone", "501 No"])
def test_a_refused_range_is_no_try(line: str, tmp_path: Path) -> None:
    """Without any retry, too, the whole file is asked for after the part."""
    with FaultServer([no_ranges(line)], pages("digits")) as server:
        asked = left_behind(tmp_path, server, "digits", BODY[:HALF])
        fetched = get(tmp_path, [asked], Watcher(replace(LIMITS, retries=0)))
        assert [HALF, None] == [request.offset for request in server.files]
    assert BODY == fetched.path.read_bytes()


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "as it was": lambda state: None,
    "length unknown": lambda state: (
        state["origin"].update(total=None) or state["spans"][0].update(end=None)
    ),
    "another boot": lambda state: (
        state.update(boot="an earlier one") or state["spans"][0].update(synced=5000)
    ),
}


@pytest.mark.parametrize(
    ("part", "knows", "change", "offsets"),
    [
        *((BODY[:at], knows, "as it was", [at]) for at in (1024, HALF, N - 1) for knows in KNOWS),
        *((BODY, knows, "as it was", []) for knows in KNOWS),
        (FLIPPED, "index", "as it was", [None]),
        (FLIPPED, "digits", "as it was", [None]),
        (FLIPPED[:150_000], "digits", "as it was", [150_000, None]),
        (BODY, "nothing", "length unknown", [N, None]),
        (BODY + b"more", "nothing", "length unknown", [N + 4, None]),
        (BODY[:5000] + bytes(HALF), "nothing", "another boot", [5000]),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else str(value),
)
def test_the_next_run_goes_on(
    part: bytes, knows: Knows, change: str, offsets: list[int | None], tmp_path: Path
) -> None:
    """Only what is missing is asked for, and sent; wrong bytes cost a fresh download.

    A complete part file is published; of unknown length, it is fetched again after a 416. After a
    crash of the machine only what was synced counts.
    """
    with FaultServer([good], pages(knows)) as server:
        asked = left_behind(tmp_path, server, knows, part)
        (sidecar,) = tmp_path.rglob(".part/state.json")
        state = json.loads(sidecar.read_text())
        CHANGES[change](state)
        sidecar.write_text(json.dumps(state))
        fetched = get(tmp_path, [asked])
        assert [request.offset for request in server.files] == offsets
        if None not in offsets and change != "length unknown":
            assert server.sent == sum(N - (at or 0) for at in offsets)
    assert fetched.path.read_bytes() == BODY
    assert fetched.sha256 == SHA256


@pytest.mark.parametrize(
    "damage",
    [
        lambda sidecar: sidecar.unlink(),
        lambda sidecar: sidecar.write_bytes(b""),
        lambda sidecar: sidecar.write_bytes(b"\xff{"),
        lambda sidecar: sidecar.write_bytes(b"[" * 100_000),
        lambda sidecar: sidecar.write_text('{"origin": 1}'),
        lambda sidecar: sidecar.write_text(sidecar.read_text().replace("share", "other")),
    ],
    ids=["gone", "empty", "not text", "too deep", "wrong types", "another URL"],
)
def test_a_part_file_of_unknown_origin_is_not_continued(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    """Without a sidecar that fits, the download starts over."""
    with FaultServer([good], pages("nothing")) as server:
        asked = left_behind(tmp_path, server, "nothing", BODY[:HALF])
        (sidecar,) = tmp_path.rglob(".part/state.json")
        damage(sidecar)
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert [None] == [request.offset for request in server.files]


def test_a_changed_file_starts_over_in_the_next_run(tmp_path: Path) -> None:
    """Another ETag: the kept part is of another file."""
    with FaultServer([own_tag('"second"')], pages("nothing")) as server:
        asked = left_behind(tmp_path, server, "nothing", OTHER[:HALF])
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert N == server.sent


def test_a_cached_file_is_used(tmp_path: Path) -> None:
    """The second time only the index is asked for; the third, offline, nothing is."""
    with FaultServer([good], pages("index")) as server:
        first = get(tmp_path, [source(server, "index")])
        second = get(tmp_path, [source(server, "index")])
        assert ["/index.json", "/tiny.pth", "/index.json"] == [r.path for r in server.requests]
        third = get(tmp_path, [source(server, "index")], offline=True)
        assert 3 == len(server.requests)
    assert (False, True, True) == (first.from_cache, second.from_cache, third.from_cache)
    for again in (second, third):
        assert (first.path, first.sha256, first.size) == (again.path, again.sha256, again.size)
        assert (first.expected, first.notes, first.url) == (again.expected, again.notes, again.url)


@pytest.mark.parametrize("name", ["openmmlab", "official"])
def test_a_cached_file_needs_no_network(name: SourceName, tmp_path: Path) -> None:
    """Of a source without index nothing is asked at all."""
    with FaultServer([good]) as server:
        asked = Source(name, f"{server.url}/x")
        get(tmp_path, [asked])
        assert get(tmp_path, [asked]).from_cache
        assert 1 == len(server.requests)


def test_force_fetches_again(tmp_path: Path) -> None:
    """What is cached stays until the new file is complete."""
    with FaultServer([good, status("404 Gone")], pages("digits")) as server:
        asked = source(server, "digits")
        path = get(tmp_path, [asked]).path
        with pytest.raises(NoSourceError):
            get(tmp_path, [asked], force=True)
        assert BODY == path.read_bytes()
        server.answers = [good]
        server.restart()
        assert not get(tmp_path, [asked], force=True).from_cache
        assert 1 == len(server.files)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 1000),
    "longer": lambda path: path.write_bytes(BODY + b"\0"),
    "one bit": lambda path: path.write_bytes(FLIPPED),
    "empty": lambda path: path.write_bytes(b""),
    "another": lambda path: path.write_bytes(OTHER),
}


@pytest.mark.parametrize("knows", KNOWS)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_corrupt_cached_file(
    damage: Callable[[Path], object], knows: Knows, tmp_path: Path
) -> None:
    """Offline 1, with both digests and the file untouched; online it is fetched again."""
    with FaultServer([good], pages(knows)) as server:
        asked = source(server, knows)
        path = get(tmp_path, [asked]).path
        damage(path)
        os.utime(path, (0, 0))
        wrong = path.read_bytes()
        with pytest.raises(ChecksumMismatchError) as raised:
            get(tmp_path, [asked], offline=True)
        assert 1 == raised.value.exit_code
        assert (str(path), len(wrong)) == (raised.value.url, raised.value.size)
        assert SHA256 == raised.value.expected_digest
        assert wrong == path.read_bytes()
        fetched = get(tmp_path, [asked])
        assert not fetched.from_cache
        assert BODY == fetched.path.read_bytes()
        assert 2 == len(server.files)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"size": "1"}', "elsewhere"])
def test_a_cached_file_without_legible_record(text: str, tmp_path: Path) -> None:
    """Nobody knows what it is: it is fetched again, or missing offline.

    A record is read for a name in its own folder, not for a path to another.
    """
    cache = tmp_path / "cache"
    (tmp_path / "outside").write_bytes(BODY)
    with FaultServer([good], pages("digits")) as server:
        record = get(cache, [source(server, "digits")]).path.parent / ".entry.json"
        fields = json.loads(record.read_text())
        elsewhere = json.dumps({**fields, "file": "../../../outside"})
        record.write_text(elsewhere if text == "elsewhere" else text)
        with pytest.raises(NoSourceError):
            get(cache, [source(server, "digits")], offline=True)
        assert BODY == get(cache, [source(server, "digits")]).path.read_bytes()


def test_offline_and_missing(tmp_path: Path) -> None:
    """3, no socket opened, and a hint where it is cached from."""
    with FaultServer([good], pages("index")) as server:
        get(tmp_path, [source(server, "index")])
        server.requests.clear()
        others = [Source("mirror", "http://nowhere.invalid"), Source("official", f"{server.url}/x")]
        with pytest.raises(NoSourceError, match="not available offline") as raised:
            get(tmp_path, others, offline=True)
        assert [] == server.requests
        assert 3 == raised.value.exit_code
        assert server.url in str(raised.value)


def test_a_mirror_that_is_down_is_served_from_the_cache(tmp_path: Path) -> None:
    """The same command still works, and says what happened."""
    with FaultServer([good], pages("index")) as server:
        first = get(tmp_path, [source(server, "index")])
        asked = source(server, "index")
    again = get(tmp_path, [asked])
    assert again.from_cache
    assert (first.path, first.expected) == (again.path, again.expected)
    assert "the cached file is used" in again.notes[-1]


def test_a_mirror_that_lists_another_file_now(tmp_path: Path) -> None:
    """The index counts, not the cache."""
    with FaultServer([whole(OTHER, TAG)], pages("digits")) as server:
        digest = hashlib.sha256(OTHER).hexdigest().encode()
        server.pages["/index.json"] = whole(INDEX.replace(SHA256.encode(), digest))
        asked = source(server, "index")
        assert OTHER == get(tmp_path, [asked]).path.read_bytes()
        server.pages["/index.json"] = index
        server.answers = [good]
        fetched = get(tmp_path, [asked])
    assert BODY == fetched.path.read_bytes()
    assert [fetched.path] == finished(tmp_path)


def test_a_source_is_not_taken_for_another(tmp_path: Path) -> None:
    """What one mirror gave is not what another mirror is known to give."""
    with FaultServer([good], pages("digits")) as item, FaultServer([absent]) as two:
        get(tmp_path, [source(item, "digits")])
        with pytest.raises(NoSourceError):
            get(tmp_path, [source(two, "digits")])


def test_leftovers_are_swept(tmp_path: Path) -> None:
    """Temporary files of killed runs go with the next download; young ones may be in use."""
    with FaultServer([good], pages("digits")) as server:
        asked = source(server, "digits")
        folder = Cache(tmp_path).slot(MODEL.name, asked).folder
        folder.mkdir(parents=True)
        old, young = folder / f".part-{'a' * 12}", folder / f".part-{'b' * 12}"
        for path in (old, young):
            path.mkdir()
            (path / "data").write_bytes(b"x")
        os.utime(old, (0, 0))
        get(tmp_path, [asked])
    assert [young] == [path for path in (old, young) if path.exists()]


def test_progress_counts_what_was_kept(tmp_path: Path) -> None:
    """A resumed download starts where it stopped and ends at 100 %."""
    watcher = Watcher()
    with FaultServer([good], pages("index")) as server:
        asked = left_behind(tmp_path, server, "index", BODY[:HALF])
        get(tmp_path, [asked], watcher)
    done = [event.done for event in watcher.events if event.phase == "downloading"]
    assert HALF < done[0]
    assert sorted(done) == done
    assert N == done[-1]
    assert "done" == watcher.events[-1].phase
    assert None is unfinished(tmp_path)
