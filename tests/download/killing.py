"""kill -9 in the middle of a download, and the run after it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from hornet_convert.download.partfile import PartFile
from tests.download.fault_server import ETAG, Answer, Exchange, FaultServer
from tests.download.setting import MODEL, finished, unfinished

ROOT = Path(__file__).parents[2]
BODY = b"PK\x03\x04" + random.Random(9).randbytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
CALLS = [
    ("pwrite64", 60), ("fdatasync", 2), ("fsync", 8), ("rename", 6), ("unlink", 6),
    ("ftruncate", 3), ("mkdir", 4), ("flock", 4),
]  # fmt: skip
"""Calls that change files or lock them, and how many of each a thread makes or less."""
ENTRY = {"model": MODEL.name, "file": "tiny.pth", "size": len(BODY), "sha256": SHA256}


def _throttled(exchange: Exchange) -> None:
    """The file or a range of it, at some ten megabytes per second."""
    start, end = exchange.asked.offset or 0, exchange.asked.end or len(BODY)
    lines = [f"Content-Length: {end - start}", f"ETag: {ETAG}", "Accept-Ranges: bytes"]
    if exchange.asked.offset is not None:
        lines.append(f"Content-Range: bytes {start}-{end - 1}/{len(BODY)}")
    exchange.head("200 OK" if exchange.asked.offset is None else "206 Partial Content", *lines)
    for at in range(start, end, 30_000):
        exchange.body(BODY[at : min(at + 30_000, end)])
        time.sleep(0.003)


def _kept(cache: Path) -> int:
    """How many bytes of an unfinished download are there; AssertionError if one is wrong."""
    for folder in cache.rglob(".part"):
        with PartFile(folder) as part:
            for span in part.spans:
                there = part.read_at(span.start, span.done)
                assert there == BODY[span.start : span.at], "not a part of the file"
            return part.size
    return 0


def _index(exchange: Exchange) -> None:
    exchange.whole(json.dumps([ENTRY]).encode())


def _missing(exchange: Exchange) -> None:
    exchange.whole(b"", status="404 Not Found")


def _dying(draw: random.Random) -> list[str]:
    """What a command is put behind to be killed as it enters a system call that changes a file.

    The n-th of a kind, counted in the thread that makes it.
    """
    call, most = draw.choice(CALLS)
    kill = f"inject={call}:signal=KILL:when={draw.randrange(1, most + 1)}"
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", kill]


def killed_and_rerun(seed: int, cache: Path) -> str:
    """Kill a fetch at a random moment and fetch again; returns a line that says what happened.

    The moment is drawn over the whole transfer, and as often around its end, where the file is
    synced and renamed; every other time, where strace is there, it is a system call.
    AssertionError if anything is not as it has to be.
    """
    draw = random.Random(seed)
    known = draw.random() < 0.5
    options = json.dumps({"connections": draw.choice([1, 4])})
    moment = draw.randrange(len(BODY)) if draw.random() < 0.6 else len(BODY)
    pause = draw.uniform(0.0, 0.03)
    index: Answer = _index if known else _missing
    with FaultServer([_throttled], {"/index.json": index}) as server:
        asked = f"mirror={server.url}" if known else f"official={server.url}/f"
        command = [sys.executable, "-m", "tests.download.driver", str(cache), options, asked]
        if at_a_call := draw.random() < 0.5 and shutil.which("strace") is not None:
            subprocess.run([*_dying(draw), *command], cwd=ROOT, capture_output=True, check=False)
        else:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 30
            while server.sent < moment and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.0005)
            time.sleep(pause)
            process.kill()
            process.wait()
        for path in finished(cache):
            assert BODY == path.read_bytes(), "a wrong file under a final name"
        missing = 0 if finished(cache) else len(BODY) - _kept(cache)
        server.restart()
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert 0 == again.returncode, again.stdout + again.stderr
        assert SHA256 == json.loads(again.stdout)["sha256"]
        # A first answer of unknown length is for the whole, and left early for ranges.
        slack = 1_000_000 if missing == len(BODY) and not known else 0
        assert server.sent <= missing + slack, f"{server.sent} bytes sent, {missing} missing"
    (path,) = finished(cache)
    assert BODY == path.read_bytes()
    assert None is unfinished(cache)
    where = "at a system call" if at_a_call else "at a moment"
    return (
        f"killed {where} with {len(BODY) - missing} bytes there, {server.sent} fetched afterwards"
    )
