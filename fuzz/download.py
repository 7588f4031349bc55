"""kill -9 at random moments of a download, and again: `python -m fuzz.download [ROUNDS]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.download.killing import killed_and_rerun


def main(rounds: int, first: int) -> int:
    """Run, and stop at the first round that goes wrong, naming its seed."""
    since = time.monotonic()
    for seed in range(first, first + rounds):
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"{seed}: {killed_and_rerun(seed, Path(folder))}")
            except AssertionError as error:
                print(f"{seed}: WRONG: {error}")
                return 1
    print(f"{rounds} kills, every file right, in {time.monotonic() - since:.0f} s")
    return 0


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(numbers + [50, 1000][len(numbers) :])))
