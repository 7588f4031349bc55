"""Progress of work on images: a bar on a terminal, lines in a log, nothing on stdout."""

import os
import pty
import subprocess
import sys
import termios

import pytest

from hornet_convert.cli import image_progress
from hornet_convert.cli.image_progress import ImageBar


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the figures so far; not for every batch."""
    bar = ImageBar("eval", 5000)
    bar.show(100, "Top-1 50.00")
    assert ("", "") == capsys.readouterr()
    monkeypatch.setattr(image_progress, "LOG_EVERY", 0.0)
    bar.show(1200, "Top-1 82.91, Top-5 96.30")
    bar.show(1300)
    with bar.aside():
        bar.close()
    assert (
        "",
        "eval: 1,200 of 5,000 images, Top-1 82.91, Top-5 96.30\neval: 1,300 of 5,000 images\n",
    ) == capsys.readouterr()


def test_other_processes_say_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several shows its progress."""
    monkeypatch.setattr(image_progress, "LOG_EVERY", 0.0)
    ImageBar("eval", 5000, shown=False).show(100, "Top-1 50.00")
    assert ("", "") == capsys.readouterr()


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end() -> None:
    """On stderr, with the running figures; stdout stays clean."""
    program = (
        "from hornet_convert.cli.image_progress import ImageBar\n"
        "import time\n"
        "bar = ImageBar('eval', 4)\n"
        "for done in range(5):\n"
        "    time.sleep(0.15)\n"
        "    bar.show(done, f'Top-1 {done}.00')\n"
        "bar.close()\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True)
        shown = terminal.read(100_000).decode()
        os.close(theirs)
    assert b"" == done.stdout
    assert "Top-1 2.00" in shown
    assert "/4 [" in shown
    assert shown.endswith("\r")
