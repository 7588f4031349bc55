"""Where to look, and what a mirror's index may say."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.obtain import obtain
from hornet_convert.download.sources import Source, SourceChoice, sources_for, without_secrets
from hornet_convert.download.wanted import (
    ChecksumMismatchError,
    IndexEntry,
    is_plain_name,
    listed_file,
)
from hornet_convert.errors import MalformedError, UsageError
from hornet_convert.family import zoo
from tests.download.behaviours import PAGE, cut, status, whole
from tests.download.fault_server import Answer, FaultServer
from tests.download.setting import (
    BODY,
    INDEX,
    MODEL,
    OTHER,
    SHA256,
    Watcher,
    absent,
    get,
    good,
    index,
    pages,
    source,
)

TINY = zoo.find("tiny")
PUBLISHED = ["openmmlab", "official", "official-previous"]
ENTRY = {"model": "tiny", "file": "tiny.pth", "size": len(BODY), "sha256": SHA256}


@pytest.mark.parametrize(
    ("choice", "mirrors", "names"),
    [
        ("auto", [], PUBLISHED),
        ("auto", ["http://h/x", "/b"], ["mirror", "mirror", *PUBLISHED]),
        ("mirror", ["http://h/x"], ["mirror"]),
        ("openmmlab", ["http://h/x"], ["openmmlab"]),
        ("official", [], ["official", "official-previous"]),
    ],
)
def test_the_order_of_sources(choice: SourceChoice, mirrors: list[str], names: list[str]) -> None:
    """The mirror first, then OpenMMLab, then the authors' links; or the one that is pinned."""
    for model in zoo.MODELS:
        found = sources_for(model, mirrors=mirrors, choice=choice)
        assert names == [source.name for source in found]
        urls = [source.address for source in found if source.name != "mirror"]
        assert set(urls) <= {model.openmmlab_url, *model.official_urls}


@pytest.mark.parametrize(
    ("mirror", "url"),
    [
        ("http://h:80/a", "http://h:80/a/f%20g.pth"),
        ("HTTPS://h/a/", "https://h/a/f%20g.pth"),
        ("http://h", "http://h/f%20g.pth"),
        ("http://h/a/index.json", "http://h/a/f%20g.pth"),
        ("http://h/a?token=1", "http://h/a/f%20g.pth?token=1"),
        ("http://h/a#b", "http://h/a/f%20g.pth"),
        ("/some/where/", "/some/where/f g.pth"),
        ("file:///some/%77here", "/some/where/f g.pth"),
        ("hf://o/r@v1", "hf://o/r@v1/f g.pth"),
        ("s3://b/x", "s3://b/x/f g.pth"),
    ],
)
def test_the_files_of_a_mirror(mirror: str, url: str) -> None:
    """Names are put below the mirror's path, quoted in a URL."""
    (found,) = sources_for(TINY, mirrors=[mirror], choice="mirror")
    assert url == found.url_of("f g.pth")


@pytest.mark.parametrize("mirror", ["", " ", "http://", "http://[::1", "http://h:99999", "a\0b"])
def test_what_is_no_mirror(mirror: str) -> None:
    """Another scheme, or nothing to connect to: a usage error."""
    with pytest.raises(UsageError):
        sources_for(TINY, mirrors=[mirror])


def test_a_pinned_mirror_has_to_be_given() -> None:
    """A usage error that says how."""
    with pytest.raises(UsageError, match="`mirror=URL_OR_DIR`"):
        sources_for(TINY, choice="mirror")


def test_a_relative_directory_and_the_home_directory() -> None:
    """Paths are made absolute: the record must not depend on where the command is run."""
    for text, path in ((".", Path.cwd()), ("a/b", Path.cwd() / "a/b"), ("~/m", Path.home() / "m")):
        (found,) = sources_for(TINY, mirrors=[text], choice="mirror")
        assert (str(path), True) == (found.address, found.is_directory)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h:1/a?b=@c", "http://h:1/a"),
        ("ftp://u:p@h/a#b", "ftp://h/a"),
        ("https://h?X-Amz-Signature=1", "https://h"),
        ("/a\udcff", "/a\\xff"),
        ("https://u@h/", "https://h/"),
        ("http://h/@a", "http://h/@a"),
        ("http://a@b@h", "http://h"),
        ("/a@b", "/a@b"),
        ("http://u:p@[::1", "http://[::1"),
    ],
)
def test_credentials_are_cut_out(url: str, shown: str) -> None:
    """User, password, query and fragment go, the rest stays."""
    assert shown == without_secrets(url)


def listed(document: object) -> IndexEntry | None:
    """What an index of this content says of the tiny model."""
    return listed_file(json.dumps(document).encode(), TINY, "x")


NAMED = {**ENTRY, "file": TINY.file_name}
OTHERS: list[object] = [None, 7, "x", [], {}, {"model": 5}, {"model": "small"}, {"model": "resnet"}]


@pytest.mark.parametrize(
    ("document", "file"),
    [
        *([[{**ENTRY, "model": name}], "tiny.pth"] for name in ("HorNet-T", TINY.file_name)),
        ({"files": [{**ENTRY, "sha256": SHA256.upper()}], "made": "today"}, "tiny.pth"),
        ({"hornet-tiny": ENTRY}, "tiny.pth"),
        ([*OTHERS, ENTRY], "tiny.pth"),
        ([ENTRY, NAMED], TINY.file_name),
        ([NAMED, ENTRY], TINY.file_name),
        ([ENTRY, {**ENTRY, "file": "b.pth"}], "tiny.pth"),
    ],
    ids=["alias", "file name", "object", "by model", "others", "1", "2", "two"],
)
def test_what_an_index_lists(document: object, file: str) -> None:
    """By any alias, in any of three forms; the published name before the first of several.

    Whatever else a mirror lists, right or wrong, is nobody's business.
    """
    assert listed(document) == IndexEntry(file, len(BODY), SHA256)


def test_an_index_without_the_model() -> None:
    """Lists nothing, however long, in time proportional to its length: no name is guessed at."""
    since = time.process_time()
    foreign = ({**ENTRY, "model": f"resnet-{n}"} for n in range(20_000))
    assert listed([*OTHERS, *foreign]) is None
    assert time.process_time() - since < 5.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("file", value) for value in (None, 5, "", ".", "..", "../x", "a/b", "/etc/x", "a\\b")),
        *(("file", value) for value in (".entry.json", "a\0b", "a\nb", "C:x", "a\u202eb")),
        *(("file", value) for value in ("x" * 201, "\N{GRINNING FACE}" * 51)),
        *(("size", value) for value in (None, "5", 1.5, True, 0, -1)),
        *(("sha256", value) for value in (None, 5, "", "ab", "g" * 64, SHA256[:8], SHA256 + "\n")),
    ],
)
def test_a_malformed_entry_is_named(field: str, value: object) -> None:
    """Which entry, which field, what it should be."""
    text = json.dumps([{"model": "small"}, {**ENTRY, field: value}]).encode()
    with pytest.raises(MalformedError) as raised:
        listed_file(text, TINY, "http://h/index.json")
    assert 4 == raised.value.exit_code
    assert f"$.{field}" in raised.value.message or "no plain file" in raised.value.message
    assert "http://h/index.json, entry 2" in raised.value.message
    assert raised.value.message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"5",
        b"null",
        b'{"error": "gone"}',
        b'{"files": 5}',
        b"[" * 99999,
        b'[{"model": "tiny", "file": "\\ud800"}]',
    ],
    ids=lambda text: repr(text[:9]),
)
def test_what_is_no_index(text: bytes) -> None:
    """Another form of file: said so, never a traceback."""
    with pytest.raises(MalformedError, match="index"):
        listed_file(text, TINY, "x")


@pytest.mark.parametrize(
    "name", ["a" * 200, "\N{GRINNING FACE}" * 50, *(model.file_name for model in zoo.MODELS)]
)
def test_plain_names(name: str) -> None:
    """Every published file name is one, and whatever a file system takes for its length."""
    assert is_plain_name(name)


def test_the_home_of_an_unknown_user() -> None:
    """Said as a mistake in what was asked, for the cache and for the mirror."""
    for ask in (Cache.at, lambda path: sources_for(TINY, mirrors=[path])):
        with pytest.raises(UsageError, match="~nobody-of-that-name") as caught:
            ask("~nobody-of-that-name/x")
        assert "whole path" in str(caught.value.hint)


@pytest.mark.parametrize(
    "answer",
    [absent, status("403 Forbidden"), status("410 Gone"), whole(PAGE, "Content-Type: text/html")],
    ids=["404", "403", "410", "a page"],
)
def test_a_mirror_without_index(answer: Answer, tmp_path: Path) -> None:
    """The published file name is asked for, and its eight digits are checked."""
    with FaultServer([good], {"/index.json": answer}) as server:
        fetched = get(tmp_path, [source(server, "index")])
        assert [f"/{MODEL.file_name}"] == [request.path for request in server.files]
    assert fetched.expected is not None
    assert fetched.expected.digest == SHA256[:8]
    assert fetched.expected.origin == "the published file name"
    assert fetched.notes == ()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status("500 Oops"), "500 Oops"),
        (status("401 Unauthorized"), "401"),
        (cut(5), "cut"),
        (lambda exchange: exchange.ranged(INDEX, upto=len(INDEX) - 3), "cut the connection"),
    ],
)
def test_an_index_that_cannot_be_had(answer: Answer, reason: str, tmp_path: Path) -> None:
    """The mirror cannot be used: its file might be another than the one it lists."""
    with FaultServer([good], {"/index.json": answer}) as server:
        with pytest.raises(NoSourceError, match=reason):
            get(tmp_path, [source(server, "index")])
        assert [] == server.files


def test_an_index_that_is_asked_for_again(tmp_path: Path) -> None:
    """Waiting for it is said: nobody else says anything meanwhile."""
    busy = [status("503 Busy"), index]
    watcher = Watcher()
    with FaultServer([good], {"/index.json": lambda exchange: busy.pop(0)(exchange)}) as server:
        get(tmp_path, [source(server, "index")], watcher)
    (text,) = [event.detail for event in watcher.events if event.phase == "retrying"]
    assert "the index: 503 Busy; next try" in str(text)


def test_a_huge_index(tmp_path: Path) -> None:
    """Read no further than an index can be long, and then done without."""
    huge = whole(b" " * (6 << 20))
    with FaultServer([good], {"/index.json": huge}) as server:
        assert "too long" in get(tmp_path, [source(server, "index")]).notes[0]


@pytest.mark.parametrize("text", [b"not found", b'{"error": "gone"}', b'[{"model": "tiny"}]'])
def test_an_index_that_cannot_be_used(text: bytes, tmp_path: Path) -> None:
    """Is done without: the published file is asked for, and after it the next source."""
    with FaultServer([good], {"/index.json": whole(text)}) as server:
        fetched = get(tmp_path / "1", [source(server, "index")])
        assert [f"/{MODEL.file_name}"] == [request.path for request in server.files]
        assert "the mirror's index" in fetched.notes[0]
        server.answers = [absent, good]
        server.restart()
        fetched = get(tmp_path / "2", [source(server, "index"), source(server, "nothing")])
    assert "official" == fetched.source.name
    assert "the mirror's index" in (fetched.attempts[0].reason or "")


def test_a_model_that_is_not_listed(tmp_path: Path) -> None:
    """The index is believed: the mirror does not have it, the next source is tried."""
    with FaultServer([good], {"/index.json": whole(b'[{"model": "small"}]')}) as server:
        sources = [source(server, "index"), source(server, "nothing")]
        fetched = get(tmp_path, sources)
        assert ["/f/share/?dl=1"] == [request.path for request in server.files]
    assert "the index lists no tiny" == (fetched.attempts[0].reason or "")


def test_an_index_is_an_expectation_and_says_what_it_is(tmp_path: Path) -> None:
    """The full digest is checked; a file that is not the published one is noted as such."""
    other = INDEX.replace(SHA256.encode(), b"0" * 64)
    with (
        FaultServer([good], {"/index.json": whole(other)}) as server,
        pytest.raises(ChecksumMismatchError) as raised,
    ):
        get(tmp_path, [source(server, "index")])
    assert raised.value.expected_digest == "0" * 64
    assert raised.value.found_digest == SHA256
    assert raised.value.size == len(BODY)


def mirror(folder: Path, *files: tuple[str, bytes]) -> Source:
    """A directory with files, as a source."""
    folder.mkdir(exist_ok=True)
    for name, data in files:
        (folder / name).write_bytes(data)
    return Source("mirror", str(folder))


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_directory(indexed: bool, offline: bool, tmp_path: Path) -> None:
    """Its file is used where it lies, hashed, and the cache stays empty."""
    name = "tiny.pth" if indexed else MODEL.file_name
    folder = mirror(tmp_path / "m", (name, BODY), *[("index.json", INDEX)] * indexed)
    fetched = get(tmp_path / "c", [folder], offline=offline)
    assert fetched.path == tmp_path / "m" / name
    assert fetched.sha256 == SHA256
    assert not fetched.from_cache
    assert not (tmp_path / "c").exists()


def test_a_directory_with_another_file(tmp_path: Path) -> None:
    """1, with the path, and the file untouched."""
    for data in (OTHER, BODY[:100]):
        folder = mirror(tmp_path / "m", ("tiny.pth", data), ("index.json", INDEX))
        with pytest.raises(ChecksumMismatchError) as raised:
            get(tmp_path / "c", [folder])
        assert (str(tmp_path / "m/tiny.pth"), len(data)) == (raised.value.url, raised.value.size)
        assert data == (tmp_path / "m/tiny.pth").read_bytes()


@pytest.mark.parametrize("kind", ["no folder", "no file", "folder", "FIFO", "file for folder"])
def test_a_directory_without_the_file(kind: str, tmp_path: Path) -> None:
    """Whatever stands there instead: 3, without hanging."""
    folder = tmp_path / "m"
    if kind == "file for folder":
        folder.write_bytes(b"x")
    elif kind != "no folder":
        folder.mkdir()
    if kind == "folder":
        (folder / MODEL.file_name).mkdir()
    if kind == "FIFO":
        os.mkfifo(folder / MODEL.file_name)
    with pytest.raises(NoSourceError) as raised:
        get(tmp_path / "c", [Source("mirror", str(folder))])
    assert str(folder) in raised.value.message


def test_an_index_that_is_a_fifo(tmp_path: Path) -> None:
    """Named, without waiting for a writer."""
    folder = mirror(tmp_path / "m", (MODEL.file_name, BODY))
    os.mkfifo(tmp_path / "m/index.json")
    with pytest.raises(NoSourceError, match=r"index\.json: a named pipe"):
        get(tmp_path / "c", [folder])


def test_a_mirror_with_index_notes_another_publication(tmp_path: Path) -> None:
    """The published digits need not match a listed file; the result says so."""
    with FaultServer([good], pages("index")) as server:
        model = replace(MODEL, sha8="0e8eedff")
        fetched = obtain(model, [source(server, "index")], Cache(tmp_path))
    assert ("not the published file 0e8eedff: the mirror lists tiny.pth",) == fetched.notes


def test_a_directory_without_index_may_hold_another_generation(tmp_path: Path) -> None:
    """A file named by the convention is found by its stem, and held to the digits in its name."""
    model = zoo.BY_NAME["tiny"]
    digest = hashlib.sha256(b"weights").hexdigest()
    path = tmp_path / f"{model.stem}-{digest[:8]}.pth"
    path.write_bytes(b"weights")
    sources = sources_for(model, mirrors=[str(tmp_path)], choice="mirror")
    found = obtain(model, sources, Cache(tmp_path / "cache"))
    assert (path, digest) == (found.path, found.sha256)
    assert any("not the published file" in note for note in found.notes)
    path.write_bytes(b"damaged")
    with pytest.raises(ChecksumMismatchError):
        obtain(model, sources, Cache(tmp_path / "cache"))
