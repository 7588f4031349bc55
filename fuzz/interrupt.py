"""Interrupt commands at random moments: `python -m fuzz.interrupt [MOMENTS] [SEED]`.

Each has to end within a second, with 130, one line and nothing left behind. Prints the slowest.
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE
from tempfile import TemporaryDirectory

from fixtures import small

# What the console script does. It tells when signals are caught, as what is before is Python's own
# start, and the time when it ends: that takes the system a while, in which a signal does nothing.
PROGRAM = """
import os, sys, time
from hornet_convert import __main__, interrupts
pipe, catch, leave = int(sys.argv.pop(1)), interrupts.catch, os._exit
def catching():
    signals = catch()
    os.write(pipe, b".")
    return signals
def leaving(code):
    os.write(pipe, str(time.monotonic()).encode())
    leave(code)
interrupts.catch, os._exit = catching, leaving
__main__.main()
"""


def interrupted(arguments: list[str], after: float, again: float | None) -> float | None:
    """Interrupt a command, perhaps `again`; the seconds it took to end, None if it was done before.

    AssertionError if it did not end as it has to.
    """
    readable, writable = os.pipe()
    words = [sys.executable, "-c", PROGRAM, str(writable), *arguments]
    with (
        os.fdopen(readable, "rb", 0) as pipe,
        subprocess.Popen(words, stdout=DEVNULL, stderr=PIPE, pass_fds=[writable]) as process,
    ):
        os.close(writable)
        pipe.read(1)
        select.select([pipe], [], [], after)
        process.send_signal(signal.SIGINT)
        since = time.monotonic()
        if again is not None:
            time.sleep(again)
            process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        ended = float(pipe.read())
        if ended < since and process.returncode != 130:
            return None
    assert process.returncode == 130, (process.returncode, after, ended - since, err.decode())
    assert b"Error: interrupted\n" in err, (after, err.decode())
    assert b"Traceback" not in err, (after, err.decode())
    return time.monotonic() - since


def small_mirror(folder: Path) -> Path:
    """A mirror with another file under the name of `tiny-gf`: fetched, and found to be wrong."""
    folder.mkdir()
    path = small.write(folder / "in.pth", "official-zip", "w16-gf")
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path.rename(folder / f"hornet-tiny-gf_3rdparty_in1k_20220915-{digits}.pth")
    return folder


def left_behind(folder: Path) -> list[Path]:
    """Temporary files below a folder."""
    return [path for path in folder.rglob("*") if ".tmp" in path.name]


def main(moments: int, seed: int) -> None:
    """Spread the moments over the whole length of each command."""
    draw = random.Random(seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        ckpt = small.write(folder / "in.pth", "official-zip", "w16-gf")
        mirror = small_mirror(folder / "mirror")
        out = folder / "out"
        commands = {
            "verify": ["verify", "--ckpt", str(ckpt)],
            "convert": ["convert", "--ckpt", str(ckpt), "--out", str(out), "--format", "pth"],
            "fetch": ["fetch", "tiny-gf", "--mirror", str(mirror), "--source", "mirror"],
        }
        commands["fetch"] += ["--cache", str(folder / "cache"), "--out", str(out)]
        for command, arguments in commands.items():
            begun = time.monotonic()
            interrupted(arguments, 600, None)
            seconds = time.monotonic() - begun
            taken: list[float] = []
            while len(taken) < moments // len(commands) + 1:
                again = draw.uniform(0.0, 0.1) if draw.random() < 0.3 else None
                took = interrupted(arguments, draw.uniform(0.0, seconds), again)
                if took is not None:
                    taken.append(took)
                assert not left_behind(folder), left_behind(folder)
            print(
                f"{command}: {len(taken)} moments over {seconds:.2f} s, "
                f"the slowest end after {max(taken):.3f} s"
            )


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 200, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    )
