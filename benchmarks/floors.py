"""What some work costs at least: `python -m benchmarks.floors WHAT FILE …`, one process each.

    hash FILE             two digests of it, side by side
    convert FILE COPY     three digests of it, and a copy
    verify FILE PRODUCTS  import torch, beside one digest, then so many multiply-adds in float64

Everything runs side by side that can.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SIDE = 2048


def digest(path: str) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compute(products: str) -> float:
    """A float64 matrix product, as often as it takes."""
    import torch

    matrix = torch.full((SIDE, SIDE), 0.5, dtype=torch.float64)
    height = -(-int(products) // SIDE**2)  # of a tall matrix, all in all
    last = 0.0
    while height > 0:
        last = float((matrix[: min(height, SIDE)] @ matrix)[0, 0])
        height -= SIDE
    return last


def main(what: str, path: str, *more: str) -> None:
    """Do it."""
    work: dict[str, list[Callable[[], object]]] = {
        "hash": [lambda: digest(path)] * 2,
        "convert": [*[lambda: digest(path)] * 3, lambda: shutil.copyfile(path, more[0])],
        "verify": [lambda: digest(path), lambda: compute(more[0])],
    }
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(each) for each in work[what]]:
            done.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
