"""A mirror over loopback, for a fetch beside curl."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BYTES = 866_000_000

FETCH = """
import sys
from pathlib import Path
from hornet_convert.family import zoo
from hornet_convert.download.cache import Cache
from hornet_convert.download.obtain import obtain
from hornet_convert.download.sources import sources_for
model = zoo.find("large-gf384")
obtain(model, sources_for(model, mirrors=[sys.argv[1]], choice="mirror"), Cache(Path(sys.argv[2])))
"""


@contextlib.contextmanager
def mirror(folder: Path, size: int = BYTES) -> Iterator[str]:
    """The address of a server that has a file of random bytes, and an index that lists it."""
    folder.mkdir()
    digest = hashlib.sha256()
    with (folder / "model.pth").open("wb") as file:
        for start in range(0, size, 1 << 24):
            piece = os.urandom(min(size - start, 1 << 24))
            file.write(piece)
            digest.update(piece)
    entry = {"model": "large-gf384", "file": "model.pth", "size": size}
    (folder / "index.json").write_text(json.dumps([{**entry, "sha256": digest.hexdigest()}]))
    command = [sys.executable, "-m", "tests.download.file_server", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()
