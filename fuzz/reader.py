"""Mutation testing of the reader: thousands of broken checkpoints, every outcome judged.

    python -m fuzz.reader [--count 20000] [--seed 0] [--jobs 2]

Each broken file must be refused with one of the package's errors, found damaged by its checksums,
or give tensors that are right: those of the unbroken file, or, where a change is of a kind that no
checksum covers, exactly what torch or the safetensors library makes of the same bytes. The readers
run without torch, under a memory limit; a canary tells if anything in a file ran.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from fuzz import report
from tests.reader import mutations

CANARY = "canary"
ROOT = Path(__file__).parents[1]


class _Hostile:
    """Pickles as a call that creates the canary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.folder / CANARY,))


def write_bases(folder: Path) -> None:
    """A few small checkpoints that use much of what checkpoints can hold."""
    base = torch.arange(12.0).reshape(3, 4)
    weights = {
        "stem.weight": base,
        "stem.bias": base[1],
        "head.weight": base.t(),
        "head.half": base.half(),
        "head.wide": torch.ones(1).expand(3, 2),
        "steps": torch.tensor(7),
        "u16": torch.arange(3).to(torch.uint16),
    }
    module = torch.nn.Linear(2, 2)
    rich = {
        "state_dict": module.state_dict() | {f"module.{k}": v for k, v in weights.items()},
        "meta": {"args": argparse.Namespace(lr=1e-3), "acc": np.float64(81.2), "x": [1, {2}, (3,)]},
        "hostile": _Hostile(folder),
    }
    plain = {name: value for name, value in weights.items() if name != "u16"}
    for name, saved, protocol in (("plain", plain, 2), ("rich", rich, 2), ("late", rich, 4)):
        torch.save(saved, folder / f"{name}.zip", pickle_protocol=protocol)
        torch.save(
            saved,
            folder / f"{name}.legacy",
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=False,
        )
    safetensors.torch.save_file(
        {name: value.contiguous().clone() for name, value in weights.items()},
        folder / "plain.safetensors",
        metadata={"format": "pt", "model": "x"},
    )


def digest(weights: dict[str, torch.Tensor]) -> str:
    """The digest that `mutations.outcome` gives of the same tensors."""
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        copy = torch.empty(tensor.numel(), dtype=tensor.dtype)
        copy.copy_(tensor.detach().reshape(-1))
        dtype = str(tensor.dtype).removeprefix("torch.")
        found.update(repr((name, dtype, tuple(tensor.shape))).encode())
        found.update(bytes(copy.view(torch.uint8).numpy()))
    return found.hexdigest()


def theirs(data: bytes, row: dict[str, Any], folder: Path) -> str | None:
    """The digest of what torch or safetensors makes of the same bytes; None if they refuse."""
    path = folder / "theirs"
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: Any
            if row["base"].endswith(".safetensors"):
                loaded = safetensors.torch.load_file(path)
            else:
                loaded = torch.load(path, weights_only=True)
    except Exception:
        return None
    for key in row["wrapper"]:
        loaded = loaded[key]
    prefix = row["prefix"]
    return digest(
        {
            name.removeprefix(prefix): value
            for name, value in loaded.items()
            if not (prefix and name in ("steps", "n_averaged"))
        }
    )


def run(folder: Path, seed: int, count: int, jobs: int) -> Iterator[dict[str, Any]]:
    """The outcome of every broken copy, in any order."""
    edges = [count * job // jobs for job in range(jobs + 1)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", mutations.__name__, str(folder), str(seed), str(a), str(b)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            text=True,
        )
        for a, b in itertools.pairwise(edges)
    ]
    for worker in workers:
        assert worker.stdout is not None
        with worker.stdout:
            for line in worker.stdout:
                yield json.loads(line)
        if worker.wait() != 0:
            raise RuntimeError(f"a worker ended with {worker.returncode}")


def judge(
    folder: Path, seed: int, count: int, jobs: int
) -> tuple[collections.Counter[str], list[str]]:
    """How often each outcome came up, and a line on each that is wrong."""
    write_bases(folder)
    right = {
        path.name: mutations.outcome(path)["digest"]
        for path in folder.iterdir()
        if path.suffix in mutations.SUFFIXES
    }
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    for row in run(folder, seed, count, jobs):
        base, result = row["base"], row["result"]
        kind = f"{base.rpartition('.')[2]}: {result}"
        if result == "failed":
            wrong.append(f"{base} {row['number']}: {row['error']}")
        elif result == "read" and row["digest"] == right[base]:
            kind += ", unchanged tensors"
        elif result == "read":
            data = mutations.broken(folder / base, seed, row["number"])
            other = theirs(data, row, folder)
            if other == row["digest"]:
                kind += ", as the library reads them"
            elif other is not None:
                wrong.append(f"{base} {row['number']}: other tensors than the library's")
            elif base.endswith(".zip") and row["number"] % 2 == 0:
                wrong.append(f"{base} {row['number']}: other tensors, checksums unharmed")
            else:
                kind += ", which the library refuses"
        counts[kind] += 1
        counts["slowest, in ms"] = max(counts["slowest, in ms"], int(row["seconds"] * 1000))
    if (folder / CANARY).exists():
        wrong.append("the canary has appeared: something in a file ran")
    return counts, wrong


def main() -> int:
    """Run and report; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        counts, wrong = judge(Path(name), options.seed, options.count, options.jobs)
    return report(counts, wrong)


if __name__ == "__main__":
    sys.exit(main())
