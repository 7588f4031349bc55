"""Progress: bars on a terminal, which are gone at the end, lines in a log, nothing on stdout."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from hornet_convert.bars import Bars, TransferLines
from hornet_convert.download.edges import Event
from tests.documents import parsed


def on_terminal(program: str) -> tuple[int, bytes, str]:
    """Run a program with a terminal for stderr: exit code, stdout, what the terminal shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=False)
        shown = terminal.read(100_000).decode()
        os.close(theirs)
    return done.returncode, done.stdout, shown


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the figures so far; not for every batch."""
    with Bars() as bars:
        bars.images("eval", 100, 5000, "Top-1 50.00")
        monkeypatch.setattr("hornet_convert.bars.LINES_EVERY", 0.0)
        bars.images("eval", 1200, 5000, "Top-1 82.91, Top-5 96.30")
        bars.images("eval", 1300, 5000)
        with bars.aside():
            bars.say("done")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "eval: 1,200 of 5,000 images, Top-1 82.91, Top-5 96.30",
        "eval: 1,300 of 5,000 images",
        "done",
    ]


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end() -> None:
    """On stderr, with the running figures; stdout stays clean."""
    code, out, shown = on_terminal(
        "from hornet_convert.bars import Bars\n"
        "import time\n"
        "with Bars() as bars:\n"
        "    for done in range(5):\n"
        "        time.sleep(0.15)\n"
        "        bars.images('eval', done, 4, f'Top-1 {done}.00')\n"
    )
    assert (code, out) == (0, b"")
    assert "Top-1 2.00" in shown
    assert "/4 [" in shown
    assert shown.endswith("\r")


def test_an_interrupt_leaves_a_clean_terminal() -> None:
    """Bars are gone before the message."""
    code, _, shown = on_terminal(
        "import os, signal\n"
        "from hornet_convert import interrupts\n"
        "interrupts.watch(interrupts.catch())\n"
        "interrupts.last_words.append(lambda code: (2, b'Error: interrupted\\n'))\n"
        "from hornet_convert.bars import Bars\n"
        "Bars().show('reading', 1, 2)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "interrupts.end(0)\n"
    )
    assert code == 130
    assert "reading" in shown
    assert shown.endswith("\r\x1b[JError: interrupted\r\n")


def test_a_line_at_the_start_every_ten_seconds_and_at_the_end() -> None:
    """With bytes, source, and the rate of this run: what was there already is none of it."""
    now = 0.0
    lines = TransferLines(lambda: now)
    text = []
    for second in range(26):
        now = float(second)
        event = Event("tiny", "mirror", "downloading", 50_000_000 + 1_000_000 * second, 100_000_000)
        text.append(lines.line(event))
    text.append(lines.line(Event("tiny", "mirror", "done", 100_000_000, 100_000_000)))
    assert [line for line in text if line] == [
        "tiny: mirror: downloading, 50,000,000 of 100,000,000 bytes (50%)",
        "tiny: mirror: 60,000,000 of 100,000,000 bytes (60%), 1.0 MB/s, 40 s left",
        "tiny: mirror: 70,000,000 of 100,000,000 bytes (70%), 1.0 MB/s, 30 s left",
        "tiny: mirror: 100,000,000 bytes at hand, 2.0 MB/s",
    ]


def test_what_happens_on_the_way_is_told_at_once() -> None:
    """A wait, another try."""
    event = Event("tiny", "mirror", "retrying", 5, 10, "cut; next try in 2.0 s")
    assert TransferLines().line(event) == "tiny: mirror: cut; next try in 2.0 s"


@pytest.mark.parametrize("streams", ["| true", "2>/dev/full", "2>&- | true"])
def test_whoever_reads_changes_nothing_about_the_work(streams: str, tmp_path: Path) -> None:
    """A validation that fails keeps its exit code and writes its files, whoever listens."""
    (tmp_path / "mirror").mkdir()
    command = (
        f"{sys.executable} -m hornet_convert validate tiny small base --mirror {tmp_path}/mirror "
        f"--source mirror --no-forward --cache {tmp_path}/cache --json {tmp_path}/v.json {streams}"
    )
    script = f"set -o pipefail; {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert done.returncode == 3
    assert len(parsed((tmp_path / "v.json").read_text())["results"]) == 3
