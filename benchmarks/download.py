"""A fetch beside curl, over loopback: `python -m benchmarks.download [--rounds N] [--json FILE]`.

Both are timed as whole processes and take turns, so that a drift of the machine's speed meets both.
The fetch also hashes and syncs what curl leaves to the kernel.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def write_mirror(folder: Path, size: int) -> None:
    """A file of random bytes, and an index that lists it."""
    digest = hashlib.sha256()
    with (folder / "model.pth").open("wb") as file:
        left = size
        while left:
            piece = os.urandom(min(left, 1 << 24))
            file.write(piece)
            digest.update(piece)
            left -= len(piece)
    entry = {"model": "large-gf384", "file": "model.pth", "size": size}
    (folder / "index.json").write_text(json.dumps([{**entry, "sha256": digest.hexdigest()}]))


FETCH = """
import json, resource, sys
from pathlib import Path
from hornet_convert.family import zoo
from hornet_convert.download.cache import Cache
from hornet_convert.download.obtain import obtain
from hornet_convert.download.sources import sources_for
model = zoo.find("large-gf384")
obtain(model, sources_for(model, mirrors=[sys.argv[1]], choice="mirror"), Cache(Path(sys.argv[2])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=866_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    curl: list[float] = []
    fetch: list[float] = []
    peak = 0.0
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        folder = Path(name)
        (folder / "mirror").mkdir()
        write_mirror(folder / "mirror", options.bytes)
        command = [sys.executable, "-m", "tests.download.file_server", str(folder / "mirror")]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            for _ in range(options.rounds):
                os.sync()
                since = time.perf_counter()
                by_curl = ["curl", "--silent", "--output", str(folder / "by-curl")]
                subprocess.run([*by_curl, f"{url}/model.pth"], check=True)
                curl.append(time.perf_counter() - since)
                (folder / "by-curl").unlink()
                os.sync()
                since = time.perf_counter()
                by_us = [sys.executable, "-c", FETCH, url, str(folder / "cache")]
                done = subprocess.run(by_us, cwd=ROOT, stdout=subprocess.PIPE, check=True)
                fetch.append(time.perf_counter() - since)
                peak = max(peak, float(done.stdout))
                shutil.rmtree(folder / "cache")
        finally:
            server.terminate()
            server.wait()
    ratio = statistics.median(fetch) / statistics.median(curl)
    for who, seconds in (("curl", curl), ("fetch", fetch)):
        print(f"{who:5}  median {statistics.median(seconds):.2f} s  best {min(seconds):.2f} s")
    print(f"ratio  {ratio:.2f} (best against best {min(fetch) / min(curl):.2f}), {peak:.0f} MiB")
    if options.json is not None:
        facts = {"curl": curl, "fetch": fetch, "ratio": ratio, "peak_mebibytes": peak}
        options.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
