"""Where to look, and what a mirror's index may say."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.errors import ChecksumMismatchError, NoSourceError
from hornet_convert.download.fetch import fetch
from hornet_convert.download.index import Listed, is_plain_name, listed_file
from hornet_convert.download.sources import Pin, Source, sources_for, without_credentials
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
    absent,
    get,
    good,
    pages,
    source,
)

TINY = zoo.find("tiny")
ENTRY = {"model": "tiny", "file": "tiny.pth", "size": len(BODY), "sha256": SHA256}


@pytest.mark.parametrize(
    ("pin", "mirror", "names"),
    [
        ("auto", None, ["openmmlab", "official", "official-previous"]),
        ("auto", "http://h/x", ["mirror", "openmmlab", "official", "official-previous"]),
        ("mirror", "http://h/x", ["mirror"]),
        ("openmmlab", "http://h/x", ["openmmlab"]),
        ("official", None, ["official", "official-previous"]),
    ],
)
def test_the_order_of_sources(pin: Pin, mirror: str | None, names: list[str]) -> None:
    """The mirror first, then OpenMMLab, then the authors' links; or the one that is pinned."""
    for model in zoo.MODELS:
        found = sources_for(model, mirror=mirror, pin=pin)
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
    ],
)
def test_the_files_of_a_mirror(mirror: str, url: str) -> None:
    """Names are put below the mirror's path, quoted in a URL."""
    (found,) = sources_for(TINY, mirror=mirror, pin="mirror")
    assert url == found.url_of("f g.pth")


@pytest.mark.parametrize(
    "mirror",
    [
        "ftp://h/x",
        "file:///x",
        "s3://b/x",
        "",
        " ",
        "http://",
        "http://[::1",
        "http://h:99999",
        "a\0b",
    ],
)
def test_what_is_no_mirror(mirror: str) -> None:
    """Another scheme, or nothing to connect to: a usage error."""
    with pytest.raises(UsageError):
        sources_for(TINY, mirror=mirror)


def test_a_pinned_mirror_has_to_be_given() -> None:
    """A usage error that says how."""
    with pytest.raises(UsageError, match="--mirror"):
        sources_for(TINY, pin="mirror")


def test_a_relative_directory_and_the_home_directory() -> None:
    """Paths are made absolute: the record must not depend on where the command is run."""
    for text, path in ((".", Path.cwd()), ("a/b", Path.cwd() / "a/b"), ("~/m", Path.home() / "m")):
        (found,) = sources_for(TINY, mirror=text, pin="mirror")
        assert (str(path), True) == (found.address, found.is_directory)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h:1/a?b=@c", "http://h:1/a?b=@c"),
        ("https://u@h/", "https://h/"),
        ("http://h/@a", "http://h/@a"),
        ("http://a@b@h", "http://h"),
        ("/a@b", "/a@b"),
        ("http://u:p@[::1", "http://[::1"),
    ],
)
def test_credentials_are_cut_out(url: str, shown: str) -> None:
    """User and password go, the rest stays."""
    assert shown == without_credentials(url)


@pytest.mark.parametrize("name", ["tiny", "HorNet-T", "hornet_tiny_7x7", TINY.file_name])
@pytest.mark.parametrize("bare", [True, False])
def test_an_index_by_any_alias(name: str, bare: bool) -> None:
    """A list, or an object with a list; the model by any of its names; digits in any case."""
    entries = [{**ENTRY, "model": name, "sha256": SHA256.upper()}]
    text = json.dumps(entries if bare else {"files": entries, "made": "today"}).encode()
    found = listed_file(text, TINY, "x")
    assert found is not None
    assert ("tiny.pth", len(BODY), SHA256) == (found.file, found.size, found.sha256)


def test_entries_of_other_models_do_not_matter() -> None:
    """Whatever else a mirror lists, right or wrong, is nobody's business."""
    others: list[object] = [
        None,
        7,
        "x",
        [],
        {},
        {"model": 5},
        {"model": "small"},
        {"model": "resnet"},
    ]
    assert listed_file(json.dumps([*others, ENTRY]).encode(), TINY, "x") is not None
    assert None is listed_file(json.dumps(others).encode(), TINY, "x")


def test_the_published_name_is_preferred() -> None:
    """Of two entries for one model, the published file; else the first."""
    other, published = {**ENTRY, "file": "b.pth"}, {**ENTRY, "file": TINY.file_name}
    for entries, file in (
        ([other, published], TINY.file_name),
        ([published, other], TINY.file_name),
        ([other, ENTRY], "b.pth"),
    ):
        found = listed_file(json.dumps(entries).encode(), TINY, "x")
        assert found is not None
        assert file == found.file


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("file", value)
            for value in (None, 5, "", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b")
        ),
        *(
            ("file", value)
            for value in (".entry.json", "a\0b", "a\nb", "x" * 300, "C:x", "a\u202eb")
        ),
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
    assert f'wrong "{field}"' in raised.value.message
    assert "http://h/index.json, entry 2 (model tiny)" in raised.value.message
    assert raised.value.message.isprintable()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b"5", b"null", b"{}", b'{"files": {}}', b"[" * 99999, b"\0" * 9]
)
def test_what_is_no_index(text: bytes) -> None:
    """Another form of file: said so, never a traceback."""
    with pytest.raises(MalformedError, match="index"):
        listed_file(text, TINY, "x")


def test_plain_names() -> None:
    """Every published file name is one."""
    assert all(is_plain_name(model.file_name) for model in zoo.MODELS)


def test_the_home_of_an_unknown_user() -> None:
    """Said as a mistake in what was asked, for the cache and for the mirror."""
    for ask in (Cache.at, lambda path: sources_for(TINY, mirror=path)):
        with pytest.raises(UsageError, match="~nobody-of-that-name") as caught:
            ask("~nobody-of-that-name/x")
        assert "whole path" in str(caught.value.hint)


def test_a_name_is_measured_in_bytes() -> None:
    """No name is taken that a file system would refuse for its length."""
    assert is_plain_name("\N{GRINNING FACE}" * 50)
    assert not is_plain_name("\N{GRINNING FACE}" * 51)
    assert is_plain_name("a" * 200)
    assert not is_plain_name("a" * 201)
    assert not is_plain_name("\ud800")


NO_INDEX: dict[str, tuple[Answer, ...]] = {
    "404": (absent,),
    "403": (status("403 Forbidden"),),
    "410": (status("410 Gone"),),
    "a page": (whole(PAGE, "Content-Type: text/html"),),
}


@pytest.mark.parametrize("answers", NO_INDEX.values(), ids=NO_INDEX.keys())
def test_a_mirror_without_index(answers: tuple[Answer, ...], tmp_path: Path) -> None:
    """The published file name is asked for, and its eight digits are checked."""
    with FaultServer([good], {"/index.json": answers[0]}) as server:
        fetched = get(tmp_path, [source(server, "index")])
        assert [f"/{MODEL.file_name}"] == [request.path for request in server.files]
    assert fetched.expected is not None
    assert (SHA256[:8], "the published file name") == (
        fetched.expected.digest,
        fetched.expected.origin,
    )
    assert () == fetched.notes


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


def test_a_huge_index(tmp_path: Path) -> None:
    """Read no further than an index can be long."""
    huge = whole(b" " * (6 << 20))
    with (
        FaultServer([good], {"/index.json": huge}) as server,
        pytest.raises(MalformedError, match="too long"),
    ):
        get(tmp_path, [source(server, "index")])


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
    assert ("0" * 64, SHA256, len(BODY)) == (
        raised.value.expected_digest,
        raised.value.found_digest,
        raised.value.size,
    )


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
    assert (tmp_path / "m" / name, SHA256, False) == (
        fetched.path,
        fetched.sha256,
        fetched.from_cache,
    )
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
    with pytest.raises(NoSourceError, match=r"index\.json: Not a regular file"):
        get(tmp_path / "c", [folder])


def test_a_mirror_with_index_notes_another_publication(tmp_path: Path) -> None:
    """The published digits need not match a listed file; the result says so."""
    with FaultServer([good], pages("index")) as server:
        model = replace(MODEL, sha8="0e8eedff")
        fetched = fetch(model, [source(server, "index")], Cache(tmp_path))
    assert ("not the published file 0e8eedff: the mirror lists tiny.pth",) == fetched.notes


def test_an_index_may_be_an_object_by_model() -> None:
    """A third form of the same facts: entries under the models' names."""
    entry = {"file": "x.pth", "size": 3, "sha256": "ab" * 32}
    listed = listed_file(json.dumps({"hornet-tiny": entry}).encode(), zoo.BY_NAME["tiny"], "here")
    assert listed == Listed("x.pth", 3, "ab" * 32)


def test_a_directory_without_index_may_hold_another_generation(tmp_path: Path) -> None:
    """A file named by the convention is found by its stem, and held to the digits in its name."""
    model = zoo.BY_NAME["tiny"]
    digest = hashlib.sha256(b"weights").hexdigest()
    path = tmp_path / f"{model.stem}-{digest[:8]}.pth"
    path.write_bytes(b"weights")
    sources = sources_for(model, mirror=str(tmp_path), pin="mirror")
    found = fetch(model, sources, Cache(tmp_path / "cache"))
    assert (path, digest) == (found.path, found.sha256)
    assert any("not the published file" in note for note in found.notes)
    path.write_bytes(b"damaged")
    with pytest.raises(ChecksumMismatchError):
        fetch(model, sources, Cache(tmp_path / "cache"))
