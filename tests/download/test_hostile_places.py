"""A cache that others can write to: links, FIFOs and folders where the cache's files would be."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import TrustRecord
from hornet_convert.errors import DiskError, MalformedError
from tests.download.behaviours import whole
from tests.download.fault_server import Exchange, FaultServer
from tests.download.setting import BODY, MODEL, SHA256, get, good, pages, source


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder"])
def test_a_part_file_that_is_none(kind: str, tmp_path: Path) -> None:
    """Refused with what to do; nothing is written through it or made elsewhere."""
    victim = tmp_path / "victim"
    with FaultServer([good], pages("digits")) as server:
        mirror = source(server, "digits")
        part = Cache(tmp_path / "cache").slot(MODEL.name, mirror).part
        part.parent.mkdir(parents=True)
        if kind == "fifo":
            os.mkfifo(part)
        elif kind == "folder":
            part.mkdir()
        else:
            part.symlink_to(victim)
        if kind == "link":
            victim.write_bytes(b"precious")
        with pytest.raises(DiskError) as caught:
            get(tmp_path / "cache", [mirror])
    assert str(part) == caught.value.where
    assert "Remove it" in str(caught.value.hint)
    assert (b"precious" if kind == "link" else None) == (
        victim.read_bytes() if victim.exists() else None
    )


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
    """Refused before anything is fetched under it."""
    entry = {"model": "tiny", "file": "\U0001f600" * 190, "size": len(BODY), "sha256": SHA256}
    answer = whole(json.dumps([entry]).encode())
    with FaultServer([good], {"/index.json": answer}) as server:
        with pytest.raises(MalformedError, match="plain file name"):
            get(tmp_path, [source(server, "index")])
        assert [] == server.files


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


def test_a_trust_record_that_is_a_fifo(tmp_path: Path) -> None:
    """An error at once: it is not waited for, and not taken for an empty record."""
    os.mkfifo(tmp_path / "trust.json")
    with pytest.raises(DiskError, match="egular file"):
        TrustRecord(tmp_path / "trust.json").pins()


def test_an_entry_that_is_a_fifo(tmp_path: Path) -> None:
    """An error at once for its own model, passed over where all are listed, and cleared."""
    mirror = Source("official", "http://127.0.0.1:9/x")
    slot = Cache(tmp_path).slot(MODEL.name, mirror)
    slot.folder.mkdir(parents=True)
    os.mkfifo(slot.folder / ".entry.json")
    with pytest.raises(DiskError, match="egular file"):
        get(tmp_path, [mirror], offline=True)
    assert [] == Cache(tmp_path).entries()
    Cache(tmp_path).clear()
    assert not slot.folder.exists()


def test_a_part_sidecar_that_is_a_fifo(tmp_path: Path) -> None:
    """An error at once."""
    with FaultServer([good], pages("digits")) as server:
        slot = Cache(tmp_path).slot(MODEL.name, source(server, "digits"))
        slot.folder.mkdir(parents=True)
        os.mkfifo(slot.part_sidecar)
        with pytest.raises(DiskError, match="egular file"):
            get(tmp_path, [source(server, "digits")])
