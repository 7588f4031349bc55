"""The table of mutants is not stale, and a few of them, run in a few scenarios, do not survive."""

import subprocess
import sys

from mutants.table import ROOT, mutants


def test_every_patch_applies() -> None:
    """Its old text stands in its file once, what comes of it is Python, no bug is told twice."""
    table = mutants()
    assert len(table) >= 150
    assert len({tuple(mutant.sources.items()) for mutant in table}) == len(table)


def test_a_sample_is_killed() -> None:
    """No wrong file is published; `make mutants` runs all of them."""
    command = [sys.executable, "-W", "ignore", "-m", "mutants", "--quick", "--jobs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed" in done.stdout
    assert "survived" not in done.stdout
