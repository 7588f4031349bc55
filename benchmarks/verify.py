"""What verification costs beside checking by hand: part of `make bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.conversion import PYTHON, TOOL, Ratio, Run, build, conclude, shown, take_turns

HASH = "import hashlib, sys; print(hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256'))"


def main() -> int:
    """Measure, print, write; 1 if a limit was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path, help="where the seeded full-size files are or go")
    parser.add_argument("--model", default="large-gf384")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("bench-verify.json"))
    arguments = parser.parse_args()
    path = build(arguments.zoo / "official", arguments.model, "official")
    ckpt = str(path)
    cache = ["--cache", str(arguments.zoo / "no-cache")]
    runs = [
        Run("hornet-convert verify", [*TOOL, "verify", "--ckpt", ckpt, *cache]),
        Run("by hand: hash, torch.load, build, load, one float32 forward",
            [PYTHON, "-m", "benchmarks.by_hand", ckpt, arguments.model]),
        Run("hornet-convert verify --no-forward",
            [*TOOL, "verify", "--ckpt", ckpt, "--no-forward", *cache]),
        Run("sha256sum", ["sha256sum", ckpt]),
        Run("hashlib, in Python", [PYTHON, "-c", HASH, ckpt]),
    ]  # fmt: skip
    take_turns(runs, arguments.rounds, lambda: None)
    full, by_hand, static, coreutils, hashlib_ = runs
    size = path.stat().st_size / (1 << 20)
    claims = [
        Ratio("wall, verify / by hand", full.wall / by_hand.wall, 1.25),
        Ratio("wall, verify --no-forward / sha256sum", static.wall / coreutils.wall, 1.3),
        Ratio("peak of verify / size of the file", full.peak / size, 2.5),
    ]
    facts = {"rounds": arguments.rounds, "runs": shown(runs)}
    beside = static.wall / hashlib_.wall
    print(f"{beside:8.3f} (no limit)  wall, verify --no-forward / hashlib")
    return conclude(claims, facts, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
