"""Kill conversions at random moments: `python -m fuzz.writing [RUNS] [SEED]`.

After every kill, whatever stands under a final name must be the whole, right file; a run that is
left alone afterwards must sweep the leftovers and end right.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

FINAL = ".safetensors"


def convert_command(ckpt: Path, out: Path) -> list[str]:
    """A conversion without the forward check, as a command."""
    tool = [sys.executable, "-m", "hornet_convert", "convert"]
    return [*tool, "--ckpt", str(ckpt), "--out", str(out), "--no-forward", "--json"]


def reference_result(ckpt: Path, out: Path) -> tuple[str, str, float]:
    """Name and SHA-256 of the right result, and the seconds an undisturbed run takes."""
    begun = time.monotonic()
    done = subprocess.run(convert_command(ckpt, out), capture_output=True, check=True)
    path = Path(json.loads(done.stdout)["results"][0]["output"])
    return path.name, hashlib.sha256(path.read_bytes()).hexdigest(), time.monotonic() - begun


def killed_at_random(ckpt: Path, out: Path, name: str, digest: str, after: float) -> bool:
    """Start a conversion, kill it `after` seconds, check the folder; whether it was still alive."""
    process = subprocess.Popen(convert_command(ckpt, out), stdout=subprocess.DEVNULL)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    for path in out.glob(f"*{FINAL}"):
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if (path.name, found) != (name, digest):
            raise AssertionError(f"{path.name} has SHA-256 {found} after a kill at {after:.3f} s")
        path.unlink()
    return killed


def main(runs: int, seed: int) -> None:
    """Kill as many runs as asked for, over the whole length of one."""
    from fixtures import small

    draw = random.Random(seed)
    with TemporaryDirectory() as folder:
        ckpt = small.write(Path(folder) / "in.pth", "official-zip", "w16-gf")
        out = Path(folder) / "out"
        name, digest, seconds = reference_result(ckpt, Path(folder) / "reference")
        kills = 0
        while kills < runs:
            # Most of a run is start-up: aim at the part where files are written.
            kills += killed_at_random(ckpt, out, name, digest, draw.uniform(0.4, 1.05) * seconds)
        subprocess.run(convert_command(ckpt, out), stdout=subprocess.DEVNULL, check=True)
        left = {path.suffix for path in out.iterdir()}
        if left != {FINAL, ".json"} or len(list(out.iterdir())) != 2:
            raise AssertionError(f"leftovers were not swept: {sorted(out.iterdir())}")
    print(f"{kills} conversions killed, seed {seed}: no wrong file under a final name")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 50, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    )
