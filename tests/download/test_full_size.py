"""The largest checkpoint's size through a pipe: memory, and nothing lost on the way."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.download.fault_server import Exchange, FaultServer
from tests.download.setting import MODEL

ROOT = Path(__file__).parents[2]
SIZE = 866_000_000
CUT_AT = 500_000_007
PIECE = b"PK\x03\x04" + random.Random(3).randbytes((1 << 20) - 4)


def _pieces(start: int = 0) -> list[memoryview]:
    """The file from an offset on, as pieces of one buffer."""
    view, found = memoryview(PIECE), []
    while start < SIZE:
        begin = start % len(PIECE)
        found.append(view[begin : begin + SIZE - start])
        start += len(found[-1])
    return found


@pytest.mark.full_size
def test_the_largest_file(tmp_path: Path) -> None:
    """866 MB, cut in the middle: the right digest in at most 96 MiB of memory."""
    digest = hashlib.sha256()
    for piece in _pieces():
        digest.update(piece)
    entry = {"model": MODEL.name, "file": "x.pth", "size": SIZE, "sha256": digest.hexdigest()}

    def answer(exchange: Exchange) -> None:
        start = exchange.asked.offset or 0
        lines = [f"Content-Length: {SIZE - start}", 'ETag: "x"']
        if start:
            lines.append(f"Content-Range: bytes {start}-{SIZE - 1}/{SIZE}")
        exchange.head("206 Partial Content" if start else "200 OK", *lines)
        left = SIZE if start else CUT_AT
        for piece in _pieces(start):
            exchange.connection.sendall(piece[:left])
            left -= len(piece)
            if left <= 0:
                return

    index = json.dumps([entry]).encode()
    with FaultServer([answer], {"/index.json": lambda exchange: exchange.whole(index)}) as server:
        command = [sys.executable, "-m", "tests.download.driver", str(tmp_path), "{}"]
        command.append(f"mirror={server.url}")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert [None, CUT_AT] == [request.offset for request in server.files]
    got = json.loads(done.stdout)
    assert digest.hexdigest() == got["sha256"]
    assert SIZE == Path(got["path"]).stat().st_size
    assert got["peak_mebibytes"] <= 96
    Path(got["path"]).unlink()
