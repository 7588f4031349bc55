"""Ctrl-C at many moments of a run: exit 130, one line or document, and nothing left behind.

A moment is a number of audit events (imports, opened files, …) since the program began to catch
signals: the same on a slow machine as on a fast one, and often in the middle of an import.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fixtures import small
from fuzz.interrupt import left_behind, small_mirror
from hornet_convert.checks import scan
from hornet_convert.checks import verify as verifying
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.report.check import Check
from tests.documents import parsed

# Arguments: the number of the signal, how often, at which event; then those of the command line.
PROGRAM = """
import itertools, os, sys
from hornet_convert import __main__, interrupts
number, times, moment = (int(sys.argv.pop(1)) for _ in range(3))
events = itertools.count(1)  # several threads count
def count(event, arguments):
    if moment <= next(events) < moment + times:
        os.kill(os.getpid(), number)
catch, end = interrupts.catch, interrupts.end
def counting():
    signals = catch()
    sys.addaudithook(count)
    return signals
def told(code):
    os.write(2, f"{next(events) - 1} events".encode())
    end(code)
interrupts.catch, interrupts.end = counting, told
__main__.main()
"""
MOMENTS = 8  # of each command; of one that loads torch half as many
NEVER = 1 << 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint and a mirror."""
    folder = tmp_path_factory.mktemp("interrupted")
    small.write(folder / "in.pth", "official-zip", "w8-gf")
    small_mirror(folder / "mirror")
    return folder


def command(name: str, place: Path) -> list[str]:
    """A command as a user gives it; results and cache are in `place`."""
    ckpt, out = ["--ckpt", str(place / "in.pth")], ["--out", str(place / "out"), "--no-forward"]
    source = ["tiny-gf", "--mirror", str(place / "mirror"), "--cache", str(place / "cache")]
    return {
        "verify": ["verify", *ckpt, "--json"],
        "convert": ["convert", *ckpt, *out, "--format", "pth"],
        "fetch": ["fetch", *source, *out, "--source", "mirror"],
        "validate": ["validate", *source, "--no-forward", "--source", "mirror"],
    }[name]


def program(moment: int, number: int = signal.SIGINT, times: int = 1) -> list[str]:
    """The program, to which the signal is sent, `times` times, at the moment."""
    return [sys.executable, "-c", PROGRAM, str(int(number)), str(times), str(moment)]


def interrupted(
    arguments: list[str], moment: int, number: int = signal.SIGINT, times: int = 1
) -> subprocess.CompletedProcess[str]:
    """A run of the program that has to end by itself."""
    words = [*program(moment, number, times), *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("name", ["verify", "convert", "fetch", "validate"])
def test_ctrl_c_at_any_moment(name: str, place: Path) -> None:
    """Every third of the moments gets a second Ctrl-C at once."""
    arguments = command(name, place)
    moments = MOMENTS // 2 if "--no-forward" not in arguments else MOMENTS
    if name != "verify":
        interrupted(arguments, NEVER)  # what is made only once, as a cache, is there afterwards
    whole = interrupted(arguments, NEVER)
    events = int(whole.stderr.rpartition("\n")[2].removesuffix(" events"))
    assert events > 1000
    for part in range(moments):
        moment = 1 + part * events // moments
        done = interrupted(arguments, moment, times=1 + (part % 3 == 0))
        assert done.returncode == 130, (moment, done.stderr)
        assert "Traceback" not in done.stderr
        assert left_behind(place) == []
        if name == "verify":
            assert done.stderr == ""
            document = parsed(done.stdout)
            told = document["command"], document["exit_code"], document["error"]["code"]
            assert told == ("verify", 130, "interrupted")
        else:
            resumes = name in ("fetch", "validate")
            assert "Error: interrupted\n" in done.stderr
            assert resumes == ("Hint: Run the same command again" in done.stderr)


def test_a_reader_that_does_not_read_is_not_waited_for(place: Path) -> None:
    """The pipe that the document would go to is full."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writable, bytes(1 << 16)):
            pass
    os.set_blocking(writable, True)
    asked = [*program(500), *command("verify", place)]
    done = subprocess.run(asked, stdout=writable, check=False, timeout=120)
    os.close(readable)
    os.close(writable)
    assert done.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_too(number: int, place: Path) -> None:
    """A shutdown or a closed terminal leaves no more behind than Ctrl-C."""
    done = interrupted(command("convert", place), 2000, number)
    assert done.returncode == 128 + number
    assert done.stderr == "Error: interrupted\n"
    assert left_behind(place) == []
    told = interrupted(command("verify", place), 500, number)
    assert parsed(told.stdout)["exit_code"] == told.returncode == 128 + number


def test_an_ignored_signal_stays_ignored() -> None:
    """What `nohup` asks for."""
    ignoring = ["bash", "-c", 'trap "" HUP; "$@"', "bash", *program(500, signal.SIGHUP)]
    done = subprocess.run([*ignoring, "list", "--json"], capture_output=True, check=True)
    assert len(parsed(done.stdout)["results"]) == 9


def test_both_ways_to_start_it_are_the_same() -> None:
    """The console script and `python -m hornet_convert` have the same entry point."""
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="hornet-convert")
    assert script.value == "hornet_convert.__main__:main"
    tool = [sys.executable, "-m", "hornet_convert", "list", "--json"]
    done = subprocess.run(tool, capture_output=True, check=True)
    assert len(parsed(done.stdout)["results"]) == 9


@pytest.mark.parametrize("name", ["verify", "convert"])
def test_nothing_is_imported_beside_the_main_thread(name: str, place: Path) -> None:
    """Two threads that import numpy and torch at the same time can wait for each other forever."""
    watching = (
        "import sys, threading\n"
        "found = set()\n"
        "def watch(event, arguments):\n"
        "    if event == 'import' and threading.current_thread() is not threading.main_thread():\n"
        "        found.add(arguments[0])\n"
        "sys.addaudithook(watch)\n"
        "from hornet_convert.cli import run\n"
        "run(sys.argv[1:])\n"
        "sys.stderr.write(', '.join(found))\n"
    )
    words = [word for word in command(name, place) if word != "--no-forward"] + ["--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", watching, *words, "-q"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_an_exception_stops_the_pass_beside_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised in the forward check does not wait until the whole file has been read."""
    begun, stops = threading.Event(), list[threading.Event]()
    read = []

    def slow(file: io.FileIO, offset: int, view: memoryview) -> None:
        read.append(offset)
        begun.set()
        stops[0].wait(60)

    def passing(*arguments: Any, stop: threading.Event, **options: Any) -> scan.Scan:
        stops.append(stop)
        return scan.scan(*arguments, stop=stop, **options)

    def fails(file: ModelFile) -> Check:
        begun.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(scan, "read_into", slow)
    monkeypatch.setattr(scan, "cut", lambda size, tensors: ([scan.Chunk(0, 8, ())] * 5, []))
    monkeypatch.setattr(verifying, "scan", passing)
    with pytest.raises(KeyboardInterrupt):
        verifying.verify(place / "in.pth", forward=fails)
    assert read == [0]
