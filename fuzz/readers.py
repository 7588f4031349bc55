"""Two readers, one file: `python -m fuzz.readers [--minutes 5] [--jobs 2] [--seed 0]`.

Mutates checkpoints of all three containers, field by field and opcode by opcode, and fails on any
file that torch or the safetensors library reads to anything else than ours: other tensors, by type,
shape and bytes, other keys, values, classes or attributes beside them; on a file that ours alone
reads, but for the reasons in `ALONE`; and on a reader that hangs or breaks. What ours refuses is no
difference. Guided by coverage: a file that takes our reader to a new line is changed further.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import pickle
import queue
import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import safetensors.torch
import torch

from fuzz import report
from fuzz.agree import difference, pickle_module
from fuzz.containers import assembled, changed
from fuzz.mutate import MAX_SIZE
from hornet_convert.checkpoint.inert import Dict
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import HornetConvertError

MEMORY = 6 << 30  # bytes of address space: libraries alone take most of that
SECONDS = 10  # for one file, both readers
LOADERS: dict[str, dict[str, Any]] = {
    "restricted": {"weights_only": True, "map_location": "cpu"},
    # Every protocol and opcode, which the restricted loader has not.
    "pickle": {
        "weights_only": False,
        "map_location": "cpu",
        "pickle_module": pickle_module(pickle.Unpickler),
    },
}
# What a library says of files that ours reads -> why ours does.
ALONE = {
    "requires?[_ ]grad|complex dtype|leaf Variable|assigned grad": "gradients, left aside",
    "UnicodeDecodeError": "text of Python 2 in another encoding, which it leaves bytes",
    "unregistered extension code": "names that only their writer knows, which it leaves names",
    "not inherit from Tensor": "tensors of unknown classes, which it names and does not read",
    "not callable|positional argument": "calls that cannot be, which it leaves calls",
}
CORPUS = 4000
FRESH = 0.1  # share of files that are assembled anew
READER = "/hornet_convert/checkpoint/"


class Lines:
    """The lines of our reader that a call has been to."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()
        self.new = False

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        """For `sys.settrace`."""
        if event == "call" and READER not in frame.f_code.co_filename:
            return None
        where = (frame.f_code, frame.f_lineno)
        if where not in self.seen:
            self.seen.add(where)
            self.new = True
        return self.trace


def theirs(path: Path, kind: str, options: dict[str, Any]) -> Any:
    """What torch, with these options, or the safetensors library finds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind != "safetensors":
            return torch.load(path, **options)
        found = safetensors.torch.load_file(path)
        with safetensors.safe_open(path, "pt") as opened:
            return found, opened.metadata() or {}


def compared(path: Path, lines: Lines) -> tuple[str, str | None]:
    """The outcome for a file in a few words, and the difference between the readers if any."""
    data = path.read_bytes()
    kind = "zip" if data[:2] == b"PK" else "safetensors" if data[8:9] == b"{" else "legacy"
    sys.settrace(lines.trace)
    try:
        checkpoint = open_checkpoint(path)
    except HornetConvertError as error:
        sys.settrace(None)
        unfit = None if str(error).isprintable() else f"{str(error)!r} is not fit to print"
        return f"{kind}: refused", unfit
    finally:
        sys.settrace(None)
    with checkpoint:
        mine: object = checkpoint.root
        if isinstance(mine, Dict) and kind == "safetensors":
            mine.flat = [part for row in sorted(mine.items()) for part in row]
            mine = mine, Dict([part for row in sorted(checkpoint.metadata.items()) for part in row])
        for loader, options in LOADERS.items():
            try:
                other = theirs(path, kind, options)
            except Exception as error:
                refusal = f"{type(error).__name__}: {error}".replace("\n", " ")
                continue
            if kind == "safetensors":
                other = tuple(dict(sorted(part.items())) for part in other)
            found = difference(mine, other, checkpoint.read)
            return f"{kind}: {'DIFFERENT' if found else 'read alike'}, {loader}", found
        try:
            select_state_dict(checkpoint.root)
        except HornetConvertError:
            return f"{kind}: refused, like by the library", None
    for words, reason in ALONE.items():
        if re.search(words, refusal):
            return f"{kind}: read by ours alone: {reason}", None
    return f"{kind}: DIFFERENT, ours alone", f"the library says {refusal[:200]!r}"


def work(number: int, seed: int, until: float, folder: Path, results: Any) -> None:
    """Fuzz in a process of its own; a file that it hangs or dies on stays in the folder."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    r, lines = random.Random(f"{seed} {number} {time.time_ns()}"), Lines()
    corpus = [assembled(r)[1] for _ in range(50)]
    path = folder / f"current-{number}"
    counts: collections.Counter[str] = collections.Counter()
    told, tried = time.monotonic(), 0
    while time.monotonic() < until:
        data = assembled(r)[1] if r.random() < FRESH else changed(r.choice(corpus), r)
        if not 0 < len(data) <= MAX_SIZE:
            continue
        path.write_bytes(data)
        lines.new = False
        signal.alarm(SECONDS)
        try:
            outcome, difference = compared(path, lines)
        except Exception as error:
            outcome, difference = "DIFFERENT", f"our reader broke: {error!r}"
        signal.alarm(0)
        counts[outcome] += 1
        tried += 1
        if difference:
            kept = folder / f"different-{seed}-{tried}"
            kept.write_bytes(data)
            results.put(("different", f"{kept}: {difference}"))
        if lines.new and not difference:
            corpus.append(data)
            if len(corpus) > CORPUS:
                corpus.pop(r.randrange(CORPUS))
        if time.monotonic() - told > 1:
            results.put(("counts", counts))
            counts, told = collections.Counter(), time.monotonic()
    results.put(("counts", counts + collections.Counter(lines=len(lines.seen))))
    path.unlink(missing_ok=True)


def fuzz(seconds: float, jobs: int, seed: int, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Run `jobs` workers; how often each outcome came up, and a line on each difference."""
    forks = multiprocessing.get_context("spawn")
    results = forks.Queue()
    until, starts = time.monotonic() + seconds, 0
    counts: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    workers: dict[int, Any] = {}
    while time.monotonic() < until or any(worker.is_alive() for worker in workers.values()):
        for number in range(jobs):
            worker = workers.get(number)
            if worker is not None and not worker.is_alive() and worker.exitcode not in (0, None):
                kept = folder / f"broken-{starts}"
                kept.write_bytes((folder / f"current-{number}").read_bytes())
                wrong.append(f"{kept}: a reader ended with {worker.exitcode}")
                worker = None
            if worker is None and time.monotonic() < until:
                starts += 1
                arguments = (number, seed + starts, until, folder, results)
                workers[number] = forks.Process(target=work, args=arguments)
                workers[number].start()
            elif worker is None:
                workers.pop(number, None)
        try:
            kind, what = results.get(timeout=0.5)
        except queue.Empty:
            continue
        if kind == "counts":
            counts.update(what)
        else:
            wrong.append(what)
            print(f"DIFFERENT: {what}", flush=True)
    return dict(counts), wrong


def main() -> int:
    """Run and report; 1 if the readers differ anywhere."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
    counts, wrong = fuzz(60 * options.minutes, options.jobs, options.seed, folder)
    return report(counts, wrong)


if __name__ == "__main__":
    sys.exit(main())
