"""Run the mutants: `python -m mutants [--only TEXT …] [--all | --quick] [--jobs N] [--verbose]`.

Each puts one plausible bug into a copy of the conversion and converts every source in every way
that the scenarios name. It is *killed* if `convert` refuses wherever its result or a record of it
would differ from what the right code gives; *second reader* says that the bug is in our reader, and
that `torch.load` or the safetensors library reads the source otherwise; *survived* that a wrong
file or record was published; *no difference* that nothing differs anywhere. Exit code 1 if one of
the last two is not explained in the table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from mutants.run import ENOUGH, Verdict, judged, preload
from mutants.scenarios import SCENARIOS
from mutants.table import StaleError, mutants

QUICK_MUTANTS, QUICK_SCENARIOS = 54, 14  # one of so many


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="TEXT", nargs="+", help="mutants with this in their name")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few mutants, a few scenarios")
    parser.add_argument("--all", action="store_true", help="every scenario for every mutant")
    parser.add_argument("--verbose", action="store_true", help="name every scenario of a survivor")
    options = parser.parse_args(arguments)
    try:
        chosen = [
            mutant
            for mutant in mutants()
            if not options.only
            or any(text in f"{mutant.name}: {mutant.bug}" for text in options.only)
        ]
    except StaleError as error:
        print(error, file=sys.stderr)
        return 2
    names: list[str] = []
    if options.quick:
        chosen, names = chosen[::QUICK_MUTANTS], list(SCENARIOS)[::QUICK_SCENARIOS]
    begun = time.monotonic()
    preload()
    verdicts = []
    enough = len(SCENARIOS) if options.all else ENOUGH
    for verdict in judged(chosen, names, options.jobs, enough):
        verdicts.append(verdict)
        print(_line(verdict, options.verbose), flush=True)
    counts = Counter(verdict.word for verdict in verdicts)
    wrong = [verdict for verdict in verdicts if not verdict.accepted]
    if options.quick:  # where few scenarios are run, many a bug makes no difference
        wrong = [verdict for verdict in wrong if verdict.word == "survived"]
    print(f"{len(verdicts)} mutants in {time.monotonic() - begun:.0f} s: ", end="")
    print(", ".join(f"{count} {word}" for word, count in counts.items()), end="")
    print(f"; {len(wrong)} of them not explained")
    return 1 if wrong else 0


def _line(verdict: Verdict, verbose: bool) -> str:
    mutant, count = verdict.mutant, len(verdict.killed) + len(verdict.survived)
    line = f"{verdict.word:<13} {len(verdict.killed):>3}/{count:<3} {mutant.name}: {mutant.bug}"
    if verdict.word in ("survived", "no difference"):
        if mutant.explained:
            line += f"\n    explained: {mutant.explained}"
        for name in verdict.survived[: None if verbose else 3]:
            line += f"\n    survived: {name}"
    return line


if __name__ == "__main__":
    sys.exit(main())
