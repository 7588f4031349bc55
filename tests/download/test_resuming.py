"""One run after another: what is kept, what is asked for again, what the cache is worth."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.errors import ChecksumMismatchError, NoSourceError
from hornet_convert.download.sources import Source
from tests.download.behaviours import FLIPPED, HALF, TAG, cut, own_tag, status, whole
from tests.download.fault_server import FaultServer
from tests.download.setting import (
    BODY,
    INDEX,
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
    (path,) = folder.rglob(".part")
    path.write_bytes(part)
    return asked


@pytest.mark.parametrize("knows", KNOWS)
@pytest.mark.parametrize("at", [1024, HALF, N - 1])
def test_the_next_run_goes_on(at: int, knows: Knows, tmp_path: Path) -> None:
    """Only what is missing is asked for, and sent."""
    with FaultServer([good], pages(knows)) as server:
        asked = left_behind(tmp_path, server, knows, BODY[:at])
        fetched = get(tmp_path, [asked])
        assert [at] == [request.offset for request in server.files]
        assert N - at == server.sent
    assert BODY == fetched.path.read_bytes()
    assert SHA256 == fetched.sha256


@pytest.mark.parametrize("knows", KNOWS)
def test_a_complete_part_file_is_published(knows: Knows, tmp_path: Path) -> None:
    """Killed between the last byte and the renaming: nothing is asked for again."""
    with FaultServer([good], pages(knows)) as server:
        asked = left_behind(tmp_path, server, knows, BODY)
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert [] == server.files


@pytest.mark.parametrize("knows", ["index", "digits"])
def test_a_complete_wrong_part_file_is_dropped(knows: Knows, tmp_path: Path) -> None:
    """Hashed, found wrong, fetched again from the start."""
    with FaultServer([good], pages(knows)) as server:
        asked = left_behind(tmp_path, server, knows, FLIPPED)
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert [None] == [request.offset for request in server.files]


def test_a_wrong_prefix_is_found(tmp_path: Path) -> None:
    """The kept bytes are hashed too: a flipped one costs a fresh download, not a wrong file."""
    with FaultServer([good], pages("digits")) as server:
        asked = left_behind(tmp_path, server, "digits", FLIPPED[:150_000])
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert [150_000, None] == [request.offset for request in server.files]


@pytest.mark.parametrize("known", [True, False])
def test_416_for_a_part_file_of_unknown_length(known: bool, tmp_path: Path) -> None:
    """A complete part file is hashed and published; one that is too long is fetched again."""
    part = BODY if known else BODY + b"more"
    with FaultServer([good], pages("nothing")) as server:
        asked = left_behind(tmp_path, server, "nothing", part)
        (sidecar,) = tmp_path.rglob(".part.json")
        sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "total": None}))
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert [len(part), None][: 1 + (not known)] == [r.offset for r in server.files]


@pytest.mark.parametrize(
    "damage",
    [
        lambda sidecar: sidecar.unlink(),
        lambda sidecar: sidecar.write_bytes(b""),
        lambda sidecar: sidecar.write_bytes(b"\xff{"),
        lambda sidecar: sidecar.write_bytes(b"[" * 100_000),
        lambda sidecar: sidecar.write_text('{"url": 1}'),
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
        (sidecar,) = tmp_path.rglob(".part.json")
        damage(sidecar)
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert [None] == [request.offset for request in server.files]


def test_after_a_crash_of_the_machine_only_synced_bytes_count(tmp_path: Path) -> None:
    """Bytes that were never synced may be zeros: in another run of the machine they are dropped."""
    with FaultServer([good], pages("nothing")) as server:
        asked = left_behind(tmp_path, server, "nothing", BODY[:5000] + bytes(HALF))
        (sidecar,) = tmp_path.rglob(".part.json")
        record = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps({**record, "boot": "an earlier one", "synced": 5000}))
        assert BODY == get(tmp_path, [asked]).path.read_bytes()
        assert [5000] == [request.offset for request in server.files]


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


@pytest.mark.parametrize("knows", ["digits", "nothing"])
def test_a_cached_file_needs_no_network(knows: Knows, tmp_path: Path) -> None:
    """Of a source without index nothing is asked at all."""
    with FaultServer([good]) as server:
        asked = Source("openmmlab" if knows == "digits" else "official", f"{server.url}/x")
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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"size": "1"}'])
def test_a_cached_file_without_legible_record(text: str, tmp_path: Path) -> None:
    """Nobody knows what it is: it is fetched again, or missing offline."""
    with FaultServer([good], pages("digits")) as server:
        path = get(tmp_path, [source(server, "digits")]).path
        (path.parent / ".entry.json").write_text(text)
        with pytest.raises(NoSourceError):
            get(tmp_path, [source(server, "digits")], offline=True)
        assert BODY == get(tmp_path, [source(server, "digits")]).path.read_bytes()


def test_a_record_that_points_elsewhere_is_not_followed(tmp_path: Path) -> None:
    """A record is read for a name in its own folder, not for a path."""
    outside = tmp_path / "outside"
    outside.write_bytes(BODY)
    cache = tmp_path / "cache"
    with FaultServer([good], pages("digits")) as server:
        record = get(cache, [source(server, "digits")]).path.parent / ".entry.json"
        fields = json.loads(record.read_text())
        record.write_text(json.dumps({**fields, "file": "../../../outside"}))
        with pytest.raises(NoSourceError):
            get(cache, [source(server, "digits")], offline=True)


def test_offline_and_missing(tmp_path: Path) -> None:
    """3, no socket opened, and a hint where it is cached from."""
    with FaultServer([good], pages("index")) as server:
        get(tmp_path, [source(server, "index")])
        server.requests.clear()
        others = [Source("mirror", "http://nowhere.invalid"), Source("official", f"{server.url}/x")]
        with pytest.raises(NoSourceError, match="not at hand") as raised:
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
        server.pages["/index.json"] = whole(INDEX.replace(SHA256.encode(), digest(OTHER)))
        asked = source(server, "index")
        assert OTHER == get(tmp_path, [asked]).path.read_bytes()
        server.pages["/index.json"] = index
        server.answers = [good]
        fetched = get(tmp_path, [asked])
    assert BODY == fetched.path.read_bytes()
    assert [fetched.path] == finished(tmp_path)


def digest(data: bytes) -> bytes:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest().encode()


def test_a_source_is_not_taken_for_another(tmp_path: Path) -> None:
    """What one mirror gave is not what another mirror is known to give."""
    with FaultServer([good], pages("digits")) as one, FaultServer([absent]) as two:
        get(tmp_path, [source(one, "digits")])
        with pytest.raises(NoSourceError):
            get(tmp_path, [source(two, "digits")])


def test_leftovers_are_swept(tmp_path: Path) -> None:
    """Temporary files of killed runs go with the next download; young ones may be in use."""
    with FaultServer([good], pages("digits")) as server:
        asked = source(server, "digits")
        folder = Cache(tmp_path).slot(MODEL.name, asked).folder
        folder.mkdir(parents=True)
        old = [folder / ".tmp-.part.json-1234", folder / ".part-abc", folder / ".part-abc.json"]
        young = [folder / ".tmp-.part.json-5678", folder / ".part-def"]
        for path in old + young:
            path.write_bytes(b"x")
        for path in old:
            os.utime(path, (0, 0))
        get(tmp_path, [asked])
    assert young == [path for path in old + young if path.exists()]


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
