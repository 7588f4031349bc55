"""Whatever stops a conversion, nothing partial stands under a final name."""

import fcntl
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import small
from fuzz.writing import FINAL, convert_command, killed_at_random, reference_result
from hornet_convert.files.writing import sweep
from tests.documents import only


def test_a_full_disk_is_exit_5_and_leaves_nothing(tmp_path: Path) -> None:
    """Writing fails half-way: one error with place and hint, no file of any name."""
    ckpt = small.write(tmp_path / "in.pth", "official-zip", "w16-gf")
    out = tmp_path / "out"
    limited = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from hornet_convert.cli import run\n"
        f"raise SystemExit(run({convert_command(ckpt, out)[3:]!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited], capture_output=True, text=True, check=False
    )
    result = only(done.stdout)
    assert done.returncode == 5
    assert result["error"]["code"] == "disk"
    assert result["error"]["hint"]
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/hornet", "/dev/null/hornet"])
def test_a_folder_that_cannot_be_made_is_exit_5(tmp_path: Path, place: str) -> None:
    """Even the superuser cannot write there; the message names the place."""
    ckpt = small.write(tmp_path / "in.pth", "official-zip", "w8")
    command = convert_command(ckpt, Path(place))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    result = only(done.stdout)
    assert done.returncode == 5
    assert result["error"]["code"] == "disk"
    assert place in result["error"]["message"]


def test_a_good_destination_survives_a_failed_run(tmp_path: Path) -> None:
    """A later run that fails leaves the earlier result byte for byte."""
    ckpt = small.write(tmp_path / "in.pth", "official-zip", "w8")
    out = tmp_path / "out"
    subprocess.run(convert_command(ckpt, out), capture_output=True, check=True)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    data = bytearray(ckpt.read_bytes())
    data[len(data) // 2] ^= 0xFF
    ckpt.write_bytes(data)
    done = subprocess.run(convert_command(ckpt, out), capture_output=True, check=False)
    assert done.returncode in (1, 4)
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_kill_9_never_leaves_a_wrong_file(tmp_path: Path) -> None:
    """A few kills at random moments; `make fuzz` makes many."""
    ckpt = small.write(tmp_path / "in.pth", "official-zip", "w16-gf")
    name, digest, seconds = reference_result(ckpt, tmp_path / "reference")
    draw = random.Random(7)
    out = tmp_path / "out"
    for _ in range(4):
        killed_at_random(ckpt, out, name, digest, draw.uniform(0.2, 1.0) * seconds)
    subprocess.run(convert_command(ckpt, out), capture_output=True, check=True)
    left = sorted(path.name for path in out.iterdir())
    assert [name.replace(FINAL, ".json"), name] == left


BUSY = """
import os, sys
from pathlib import Path
from hornet_convert.files.writing import Temporary, sweep

folder = Path(sys.argv[1])
for _ in range(1500):
    sweep(folder)
    file = Temporary(folder)
    assert os.path.samestat(file.path.lstat(), os.fstat(file.fd)), "swept while it was alive"
    file.close()
"""


def test_processes_that_sweep_one_folder_leave_each_others_files_alone(tmp_path: Path) -> None:
    """A temporary file stands from when it is made until its writer is done with it."""
    command = [sys.executable, "-c", BUSY, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == ["", "", ""]
    assert list(tmp_path.iterdir()) == []


def test_what_is_swept_is_locked_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its writer could lock it, find it in place, and write to a file without a name."""
    abandoned = tmp_path / ".hornet-convert-0123456789abcdef.tmp"
    abandoned.write_bytes(b"half a file")
    unlink, free = Path.unlink, []

    def watched(path: Path, missing_ok: bool = False) -> None:
        with path.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free.append(path)
            except BlockingIOError:
                pass
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    assert sweep(tmp_path) == [abandoned]
    assert free == []
    assert not abandoned.exists()
