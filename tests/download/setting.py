"""What the download tests share: a small file, the model it stands for, a way to fetch it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hornet_convert.download.at_hand import Fetched
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Edges, Event, Limits
from hornet_convert.download.obtain import obtain
from hornet_convert.download.sources import Source
from hornet_convert.family import zoo
from tests.download.fault_server import ETAG, Answer, Exchange, FaultServer

BODY = b"PK\x03\x04" + random.Random(7).randbytes(200_000)
OTHER = b"PK\x03\x04" + random.Random(8).randbytes(200_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MODEL = replace(zoo.find("tiny"), sha8=SHA256[:8])
INDEX = json.dumps(
    {"files": [{"model": "HorNet-T", "file": "tiny.pth", "size": len(BODY), "sha256": SHA256}]}
).encode()

# One connection, so that what is asked for follows from the answers; no machine is as slow as this.
LIMITS = Limits(
    timeout=20.0,
    min_rate=5000.0,
    retries=3,
    connect_tries=3,
    substantial=50_000,
    redirects=5,
    max_bytes=1_000_000,
    connections=1,
    least_range=20_000,
)
# For a server that never goes on.
HURRIED = replace(LIMITS, timeout=1.0, retries=1, connect_tries=2)

Knows = Literal["index", "digits", "nothing"]


@dataclass
class Watcher:
    """Edges that remember: every event, and every wait instead of waiting."""

    limits: Limits = LIMITS
    events: list[Event] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def edges(self) -> Edges:
        """To be passed to a fetch."""
        return Edges(limits=self.limits, progress=self.events.append, sleep=self.waits.append)


def good(exchange: Exchange) -> None:
    """The file, from a server that does everything right."""
    exchange.ranged(BODY, f"ETag: {ETAG}")


def index(exchange: Exchange) -> None:
    """The index of the one file."""
    exchange.whole(INDEX, "Content-Type: application/json")


def absent(exchange: Exchange) -> None:
    """A plain 404."""
    exchange.whole(b"no", status="404 Not Found")


def pages(knows: Knows) -> dict[str, Answer]:
    """What the server has besides the file."""
    return {"/index.json": index if knows == "index" else absent}


def source(server: FaultServer, knows: Knows) -> Source:
    """The server as a source about whose file this much is known."""
    if knows == "nothing":
        return Source("official", f"{server.url}/f/share/?dl=1")
    return Source("mirror", server.url)


def get(
    folder: Path,
    sources: Sequence[Source],
    watcher: Watcher | None = None,
    *,
    offline: bool = False,
    force: bool = False,
) -> Fetched:
    """Fetch the one file into the cache at `folder`."""
    return obtain(
        MODEL,
        sources,
        Cache(folder),
        offline=offline,
        force=force,
        edges=(watcher or Watcher()).edges,
    )


def finished(folder: Path) -> list[Path]:
    """Files of the cache that stand under a final name."""
    hidden = ("trust.json", ".part")
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name[0] != "." and not {*hidden} & {path.name, path.parent.name}
    ]


def unfinished(folder: Path) -> bytes | None:
    """What is kept of an unfinished download."""
    parts = list(folder.rglob(".part/data"))
    assert len(parts) <= 1
    return parts[0].read_bytes() if parts else None
