"""A cache that others can write to: links, FIFOs and folders where the cache's files would be."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.errors import NoSourceError
from hornet_convert.errors import DiskError
from tests.download.behaviours import whole
from tests.download.fault_server import Exchange, FaultServer
from tests.download.setting import BODY, MODEL, SHA256, get, good, pages, source


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "file"])
def test_a_part_file_that_is_none(kind: str, tmp_path: Path) -> None:
    """What stands in its place goes; nothing is written through it or made elsewhere."""
    victim = tmp_path / "victim"
    with FaultServer([good], pages("digits")) as server:
        mirror = source(server, "digits")
        part = Cache(tmp_path / "cache").slot(MODEL.name, mirror).part
        part.parent.mkdir(parents=True)
        if kind == "fifo":
            os.mkfifo(part)
        elif kind == "file":  # as an earlier version had it
            part.write_bytes(b"old")
        else:
            part.symlink_to(victim)
        if kind == "link":
            victim.mkdir()
            (victim / "data").write_bytes(b"precious")
        assert BODY == get(tmp_path / "cache", [mirror]).path.read_bytes()
    assert (victim.exists() and (victim / "data").read_bytes() == b"precious") == (kind == "link")


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_the_data_of_a_part_file_that_are_none(kind: str, tmp_path: Path) -> None:
    """Refused with what to do."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    with FaultServer([good], pages("digits")) as server:
        mirror = source(server, "digits")
        data = Cache(tmp_path / "cache").slot(MODEL.name, mirror).part / "data"
        data.parent.mkdir(parents=True)
        make: dict[str, Callable[[Path], object]] = {
            "fifo": os.mkfifo,
            "folder": Path.mkdir,
            "link": lambda at: at.symlink_to(victim),
        }
        make[kind](data)
        with pytest.raises(DiskError) as caught:
            get(tmp_path / "cache", [mirror])
    assert str(data) == caught.value.where
    assert "Remove it" in str(caught.value.hint)
    assert b"precious" == victim.read_bytes()


def test_one_bad_entry_hides_no_other(tmp_path: Path) -> None:
    """A record of a name too long, or one that cannot be read, is no record."""
    with FaultServer([good], pages("digits")) as server:
        path = get(tmp_path, [source(server, "digits")]).path
        record = (path.parent / ".entry.json").read_text()
        for n, text in enumerate((record.replace(path.name, "\U0001f600" * 190), None)):
            bad = tmp_path / MODEL.name / f"official-0000000{n}" / ".entry.json"
            bad.parent.mkdir()
            if text is None:
                bad.mkdir()
            else:
                bad.write_text(text, encoding="utf-8")
        cache = Cache(tmp_path)
        assert [path] == [where for _, where in cache.entries()]
        assert [path] == [where for _, where, _ in cache.verify()]
        assert get(tmp_path, [source(server, "digits")]).from_cache
        assert 1 == cache.clear().files


def test_an_index_with_a_name_too_long_for_a_file(tmp_path: Path) -> None:
    """It is not used: the published file is fetched, and the result says so."""
    entry = {"model": "tiny", "file": "\U0001f600" * 190, "size": len(BODY), "sha256": SHA256}
    answer = whole(json.dumps([entry]).encode())
    with FaultServer([good], {"/index.json": answer}) as server:
        fetched = get(tmp_path, [source(server, "index")])
    assert MODEL.file_name == fetched.path.name
    assert "names no plain file" in fetched.notes[0]


@pytest.mark.parametrize("text", [b"<title" * 10_000, b"<title>so</TITLE>" + b"x" * 10_000])
def test_a_page_in_pieces_of_one_byte(text: bytes, tmp_path: Path) -> None:
    """Read no slower than any other, and its title found as soon as it is there."""
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in b"<html>" + text)

    def page(exchange: Exchange) -> None:
        exchange.head("200 OK", "Transfer-Encoding: chunked", "Content-Type: text/html")
        exchange.body(pieces + b"0\r\n\r\n")

    since = time.process_time()
    with FaultServer([page]) as server, pytest.raises(NoSourceError) as caught:
        get(tmp_path, [source(server, "nothing")])
    assert "an HTML page" in str(caught.value)
    assert ("so" in text.decode()) == ("titled “so”" in str(caught.value))
    assert 10.0 > time.process_time() - since


def test_a_slot_that_is_a_link(tmp_path: Path) -> None:
    """Refused: nothing is put into the folder behind it."""
    (tmp_path / "elsewhere").mkdir()
    with FaultServer([good], pages("digits")) as server:
        mirror = source(server, "digits")
        folder = Cache(tmp_path / "cache").slot(MODEL.name, mirror).folder
        folder.parent.mkdir(parents=True)
        folder.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DiskError) as caught:
            get(tmp_path / "cache", [mirror])
    assert str(folder) == caught.value.where
    assert "Remove the link" in str(caught.value.hint)
    assert [] == list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["trust.json", "entry", "state"])
def test_a_record_that_is_a_fifo(name: str, tmp_path: Path) -> None:
    """An error at once: it is not waited for, and not taken for an empty record."""
    with FaultServer([good], pages("digits")) as server:
        mirror = source(server, "digits")
        slot = Cache(tmp_path).slot(MODEL.name, mirror)
        places = {"entry": slot.folder / ".entry.json", "state": slot.part / "state.json"}
        place = places.get(name, tmp_path / name)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(place)
        with pytest.raises(DiskError, match="named pipe"):
            get(tmp_path, [mirror])
    assert [] == Cache(tmp_path).entries()
    Cache(tmp_path).clear()
    assert not slot.folder.exists()
