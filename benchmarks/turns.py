"""Timing commands that take turns, and what the ratios of their times say. No package, no torch."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

OURS: Final = "ours"
TOLERANCE: Final = 1.1  # what a ratio may grow by since a stored run, beside the spread

# A child's peak memory counts what its parent had when it was made: this one has next to nothing.
_SMALL: Final = """
import json, os, sys, time
nowhere = os.open(os.devnull, os.O_WRONLY)
begun = time.perf_counter()
out = [(os.POSIX_SPAWN_DUP2, nowhere, 1), (os.POSIX_SPAWN_DUP2, nowhere, 2)]
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=out)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - begun
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss / 1024]))
"""

Turns = Mapping[str, Sequence[float]]
"""Wall seconds by who did the work, one a round."""


@dataclass(frozen=True)
class Work:
    """Some work, and what others do for it: a command for each, ours by the name `ours`.

    They are asked for when the work is to be done, which may build the files that it needs.

    `limits` are what our time may be of another's at most; `mebibytes` the most memory that ours
    may need. `tidy` is called before each command; `rounds` is how many for one of the others.
    """

    name: str
    commands: Callable[[], Mapping[str, Sequence[str]]]
    limits: Mapping[str, float] = field(default_factory=dict)
    mebibytes: float | None = None
    tidy: Callable[[], None] = lambda: None
    rounds: int = 1


@dataclass(frozen=True)
class Row:
    """Our time beside another's: medians, and the ratio of each round (median, middle half).

    Without a `limit` it is only told. Both are seconds; of a peak they are mebibytes, and `theirs`
    is the most that is allowed.
    """

    work: str
    beside: str
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    limit: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the ratio is within its limit, or its spread reaches there."""
        return self.limit is None or self.low <= self.limit

    def worse_than(self, stored: Row) -> bool:
        """Whether the ratio has grown since a stored run by more than both spreads."""
        return self.low > stored.high and self.ratio > TOLERANCE * stored.ratio


def run_once(command: Sequence[str]) -> tuple[float, float]:
    """Wall seconds and peak MiB of a command, started by a process that is small itself."""
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    by = [sys.executable, "-I", "-S", "-c", _SMALL, *command]
    done = subprocess.run(by, env=settings, stdout=subprocess.PIPE, check=True)
    status, seconds, mebibytes = json.loads(done.stdout)
    if status:
        raise SystemExit(f"ended with status {status}: {' '.join(command)}")
    return seconds, mebibytes


def measured(work: Work, rounds: int) -> list[Row]:
    """Run the commands in turn, one round not counted, and say how they compare."""
    commands = work.commands()
    seconds: dict[str, list[float]] = {who: [] for who in commands}
    peaks: list[float] = []
    for number in range(rounds * work.rounds + 1):
        for who, command in commands.items():
            work.tidy()
            took, peak = run_once(command)
            if number:
                seconds[who].append(took)
                peaks += [peak] if who == OURS else []
    rows = compared(work.name, seconds, work.limits)
    if work.mebibytes is not None:
        rows.append(_row(work.name, "peak, MiB", peaks, [work.mebibytes] * len(peaks), 1.0))
    return rows


def compared(work: str, turns: Turns, limits: Mapping[str, float]) -> list[Row]:
    """A row for each of the others."""
    others = (who for who in turns if who != OURS)
    return [_row(work, who, turns[OURS], turns[who], limits.get(who)) for who in others]


def _row(
    work: str, who: str, ours: Sequence[float], theirs: Sequence[float], limit: float | None
) -> Row:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
    medians = statistics.median(ours), statistics.median(theirs)
    return Row(work, who, *medians, ratio, low, high, limit)


def table(rows: Sequence[Row], stored: Sequence[Row] = ()) -> str:
    """All rows as one table for people."""
    before = {(row.work, row.beside): row for row in stored}
    width = max((len(row.work) for row in rows), default=0)
    other = max((len(row.beside) for row in rows), default=0)
    head = f"{'work':{width}}  {'beside':{other}}    ours  theirs  ratio  middle half  limit"
    lines = [head + ("  before" if stored else "")]
    for row in rows:
        limit = "    –" if row.limit is None else f"{row.limit:5.2f}"
        line = f"{row.work:{width}}  {row.beside:{other}} {row.ours:7.2f} {row.theirs:7.2f} "
        line += f"{row.ratio:6.2f}  {row.low:5.2f}–{row.high:<5.2f}  {limit}"
        was = before.get((row.work, row.beside))
        if stored:
            line += "       –" if was is None else f"  {was.ratio:6.2f}"
        words = [] if row.kept else ["BEYOND ITS LIMIT"]
        words += ["WORSE THAN BEFORE"] if was is not None and row.worse_than(was) else []
        lines.append("  ".join([line, *words]))
    return "\n".join(lines)


def wrong(rows: Sequence[Row], stored: Sequence[Row] = ()) -> list[Row]:
    """The rows that are worse than before, or beyond their limits and were not so before."""
    before = {(row.work, row.beside): row for row in stored}
    found = []
    for row in rows:
        was = before.get((row.work, row.beside))
        missed = not row.kept and (was is None or was.kept)
        if missed or (was is not None and row.worse_than(was)):
            found.append(row)
    return found


def to_json(rows: Sequence[Row], **facts: object) -> str:
    """A run as it is stored."""
    return json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=2) + "\n"


def from_json(text: str) -> list[Row]:
    """The rows of a stored run."""
    document: Any = json.loads(text)
    return [Row(**row) for row in document["rows"]]
