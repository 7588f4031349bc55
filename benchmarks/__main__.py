"""What the work costs beside what others do for the same: `python -m benchmarks [--only WORK,…]`.

Every command is timed as a whole process, start to exit; those that are compared take turns, so
that a drift of the machine's speed meets all of them. A ratio is the median of the ratios within a
turn, its spread their middle half. Exit code 1 if a ratio is beyond its limit with all of that.
With --against, a stored run, that counts only where it was within its limit there; so does what is
worse than it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Container, Iterator, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.turns import Row, compared, from_json, measured, table, to_json, wrong
from benchmarks.works import GROUPS

IN_PROCESS = ("forward", "engines", "load")  # pieces of `benchmarks.model`
NAMES = [*(work.name for works in GROUPS for work in works(Path(), Path())), *IN_PROCESS]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "zoo",
        type=Path,
        nargs="?",
        default=Path(".zoo/bench"),
        help="where full-size files go (%(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        type=chosen,
        default=[NAMES],
        metavar="WORK,…",
        help=f"first words of works (all): {', '.join(NAMES)}",
    )
    parser.add_argument("--rounds", type=_rounds, default=5, help="two or more (%(default)s)")
    parser.add_argument("--json", type=Path, help="where to store the run")
    parser.add_argument(
        "--against", type=_stored, default=[], metavar="STORED", help="a run stored before (none)"
    )
    options = parser.parse_args(arguments)
    stored: list[Row] = options.against
    rows: list[Row] = []
    for made in _rows(options.zoo, {*chain(*options.only)}, options.rounds):
        rows += made
        print(".", end="", file=sys.stderr, flush=True)
    print(f"\n{table(rows, stored)}")
    if options.json is not None:
        machine = f"{platform.machine()}, {os.cpu_count()} processors"
        python = platform.python_version()
        text = to_json(rows, machine=machine, python=python, rounds=options.rounds)
        options.json.write_text(text)
    return 1 if wrong(rows, stored) else 0


def chosen(text: str) -> list[str]:
    """The works whose first words are given, between commas; each has to be those of some."""
    found: list[str] = []
    for words in (each.strip() for each in text.split(",")):
        meant = [name for name in NAMES if f"{name} ".startswith(f"{words} ")]
        if not meant:
            raise ArgumentTypeError(f"there is no work {words!r}, but: {', '.join(NAMES)}")
        found += meant
    return found


def _rounds(text: str) -> int:
    if int(text) < 2:
        raise ArgumentTypeError("a spread takes two rounds or more")
    return int(text)


def _stored(text: str) -> list[Row]:
    try:
        return from_json(Path(text).read_text())
    except OSError as error:
        raise ArgumentTypeError(f"{text} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ArgumentTypeError(f"{text} is not a run that --json has stored") from error


def _rows(zoo: Path, only: Container[str], rounds: int) -> Iterator[list[Row]]:
    zoo.mkdir(parents=True, exist_ok=True)
    for works in GROUPS:
        with TemporaryDirectory(dir=zoo) as scratch:
            for work in works(zoo, Path(scratch)):
                if work.name in only:
                    yield measured(work, rounds)
    for piece in IN_PROCESS:
        if piece in only:
            command = [sys.executable, "-m", "benchmarks.model", piece, str(2 * rounds - 1)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            for name, turns, limits in json.loads(done.stdout):
                yield compared(name, turns, limits)


if __name__ == "__main__":
    sys.exit(main())
