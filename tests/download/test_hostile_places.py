"""A cache that others can write to: links, FIFOs and folders where the cache's files would be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.errors import DiskError
from tests.download.fault_server import FaultServer
from tests.download.setting import MODEL, get, good, pages, source


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
