"""How measurements are told: one table, ratios with their spread, limits that are ratios."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import floors
from benchmarks.__main__ import NAMES, chosen, main
from benchmarks.turns import OURS, Row, Work, compared, from_json, measured, table, to_json, wrong


def row(*ratios: float, limit: float | None = None) -> Row:
    """The row of a work whose ratios are these."""
    turns = {OURS: ratios, "theirs": [1.0] * len(ratios)}
    (made,) = compared("work", turns, {} if limit is None else {"theirs": limit})
    return made


def test_a_ratio_is_that_of_the_turns() -> None:
    """A drift of the machine meets both; the median of all, and the middle half."""
    turns = {
        OURS: [1.0, 2.0, 3.0, 4.0, 500.0],
        "theirs": [2.0, 4.0, 6.0, 4.0, 1.0],
        "nobody": [1.0] * 5,
    }
    theirs, nobody = compared("work", turns, {"theirs": 0.7})
    assert (theirs.ours, theirs.theirs) == (3.0, 4.0)
    assert (theirs.low, theirs.ratio, theirs.high) == (0.5, 0.5, 1.0)
    assert (theirs.limit, nobody.limit) == (0.7, None)


def test_only_a_ratio_that_is_beyond_its_limit_with_its_spread_is_wrong() -> None:
    """A median beyond it is no proof."""
    kept, within, beyond = (
        row(0.9, 1, 1.2, limit=1.1),
        row(1, 1.2, 1.4, limit=1.1),
        row(1.3, 1.2, limit=1.1),
    )
    assert wrong([kept, within, beyond, row(9, 9)]) == [beyond]
    assert table([kept, within, beyond]).count("BEYOND ITS LIMIT") == 1


def test_beside_a_stored_run() -> None:
    """Worse is what has grown beyond both spreads, and by more than a little."""
    stored = from_json(to_json([row(1.0, 1.1, 1.2)], rounds=3))
    assert stored == [row(1.0, 1.1, 1.2)]
    assert wrong([row(1.1, 1.2, 1.3)], stored) == []
    assert wrong([row(1.17, 1.18, 1.19)], stored) == []
    grown = row(1.4, 1.5, 1.6)
    assert wrong([grown], stored) == [grown]
    assert "WORSE THAN BEFORE" in table([grown], stored)
    assert "WORSE" not in table([grown])


def test_a_known_miss_is_not_told_twice() -> None:
    """What was beyond its limit in the stored run, and is no worse, stops nobody."""
    missed = row(1.4, 1.5, 1.6, limit=1.15)
    assert wrong([missed]) == [missed]
    assert wrong([missed], [missed]) == []
    assert wrong([missed], [row(1.0, 1.3, 1.6, limit=1.15)]) == [missed]  # was within it


def test_commands_take_turns_and_memory_is_that_of_the_command(tmp_path: Path) -> None:
    """One round does not count; what this process needs is not counted either."""
    log = tmp_path / "log"
    large = bytearray(200 << 20)
    large[:: 1 << 12] = b"1" * len(range(0, len(large), 1 << 12))

    def command(word: str) -> list[str]:
        return [sys.executable, "-S", "-c", f"open({str(log)!r}, 'a').write({word!r})"]

    commands = {OURS: command("o"), "theirs": command("t")}
    work = Work("work", lambda: commands, {"theirs": 99.0}, 100)
    theirs, peak = measured(work, 2)
    assert log.read_text() == "ototot"
    assert theirs.ours > 0
    assert 1 < peak.ours < 100
    assert peak.kept


def test_the_floors_do_what_they_say(tmp_path: Path) -> None:
    """The copy is one, the digests are those of the file, the products are made."""
    path, copy = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(b"123")
    floors.main("hash", str(path))
    floors.main("convert", str(path), str(copy))
    assert copy.read_bytes() == b"123"
    assert floors.compute(str(floors.SIDE**2)) == floors.SIDE / 4


def test_works_are_chosen_by_their_first_words() -> None:
    """Whole words: `tiny` is not `tiny-gf`."""
    assert chosen("verify tiny, load") == ["verify tiny", "load"]
    assert chosen("convert") == ["convert large-gf384", "convert legacy large-gf384"]
    assert [name for name in NAMES if name.startswith("verify ")] == chosen("verify")
    assert [name for text in NAMES for name in chosen(text)] == NAMES


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_hands_over_a_work_of_two_words() -> None:
    """As one argument."""
    command = ["make", "-n", "--no-print-directory", "bench"]
    command += ["ONLY=verify tiny,load", "AGAINST=a run.json"]
    root = Path(__file__).parents[1]
    # The suite is run by make itself, which tells its children so.
    env = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True)
    words = shlex.split(done.stdout[done.stdout.index("-m benchmarks") :])
    assert ["--only", "verify tiny,load", "--against", "a run.json"] == words[-4:]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--only", "tiny"], "there is no work 'tiny', but: start --help, "),
        (["--only", "verify", "tiny"], "there is no work 'tiny'"),
        (["--only", "load,"], "there is no work ''"),
        (["--only", "verify,nothing"], "there is no work 'nothing'"),
        (["--rounds", "1"], "two rounds or more"),
        (["--against", "none.json"], "none.json cannot be read: No such file"),
        (["--against", __file__], "is not a run that --json has stored"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence, with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "zoo"), *arguments])
    assert ended.value.code == 2
    assert reason in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "zoo").exists()
