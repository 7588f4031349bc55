"""Standard streams that are closed, full, broken or narrow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import small
from hornet_convert.cli import run
from hornet_convert.family import zoo

TOOL = f"{sys.executable} -m hornet_convert"


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small checkpoint, and another beside it."""
    small.write(tmp_path / "other.pth", "official-zip", "w8", label="other")
    return small.write(tmp_path / "in.pth", "official-zip", "w8")


def shell(command: str, **environment: str) -> tuple[int, str]:
    """Run a command in bash: exit code of the first part of a pipe that failed, and stderr."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(ckpt: Path, tmp_path: Path, closed: str) -> None:
    """A closed descriptor is not given to a file; the result is the right one, the exit code 0."""
    out = tmp_path / "out"
    command = f"{TOOL} convert --ckpt {ckpt} --out {out} --no-forward --quiet {closed}"
    assert shell(command) == (0, "")
    (result,) = out.glob("*.safetensors")
    assert run(["verify", "--ckpt", str(result), "--no-forward"]) == 0


def test_what_libraries_print_never_lands_in_the_result(ckpt: Path, tmp_path: Path) -> None:
    """With stdout closed, a library that prints from C writes nowhere."""
    command = f"{TOOL} convert --ckpt {ckpt} --format pth --out {tmp_path / 'out'} <&- >&-"
    assert shell(command, ONEDNN_VERBOSE="1")[0] == 0
    (result,) = (tmp_path / "out").glob("*.pth")
    assert result.read_bytes().startswith(b"PK")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("verify --no-forward --ckpt {ckpt}", 0),
        ("verify --no-forward --ckpt {ckpt} --sha256 00000000", 1),
        ("verify --no-forward --json --ckpt {ckpt}", 0),
        ("compare {ckpt} {ckpt.parent}/other.pth", 1),
        ("list --json", 0),
        ("list", 0),
        ("-h", 0),
    ],
)
def test_a_reader_that_goes_changes_no_exit_code(ckpt: Path, arguments: str, code: int) -> None:
    """`… | true` ends with the verdict's own code, without a word."""
    assert shell(f"{TOOL} {arguments.format(ckpt=ckpt)} | true") == (code, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [("list --json", 5), ("verify --ckpt no --json", 2), ("verify --json", 2), ("schema", 5)],
)
def test_a_full_stdout_is_told_without_a_traceback(arguments: str, code: int) -> None:
    """What cannot be written is a disk error, unless there is another to tell of."""
    found, text = shell(f"{TOOL} {arguments} >/dev/full")
    assert found == code
    assert "Traceback" not in text
    assert text.startswith("Error: No space left on device")


@pytest.mark.parametrize("reader", ["| true", ">/dev/full", ">&-", "2>&-", "2>/dev/full"])
def test_validate_works_on_for_nobody(ckpt: Path, tmp_path: Path, reader: str) -> None:
    """Whoever reads stdout and stderr: a failed check is 1, and its files are written."""
    ckpt.rename(tmp_path / zoo.find("tiny").file_name)
    files = [tmp_path / "result.json", tmp_path / "result.xml"]
    settings = f"--source mirror --mirror {tmp_path} --cache {tmp_path / 'cache'} --no-forward"
    written = f"--json {files[0]} --junit {files[1]}"
    assert shell(f"{TOOL} validate tiny {settings} {written} {reader}")[0] == 1
    assert all(file.stat().st_size for file in files)


def test_quiet_says_nothing(ckpt: Path, tmp_path: Path) -> None:
    """With --quiet stderr has the reason and nothing else."""
    ckpt.rename(tmp_path / zoo.find("tiny").file_name)
    settings = f"--source mirror --mirror {tmp_path} --cache {tmp_path / 'cache'} --quiet"
    code, told = shell(f"{TOOL} fetch tiny {settings}")
    assert code == 1
    assert all(line.startswith(("Error: ", "Hint: ")) for line in told.splitlines())


def test_a_narrow_encoding_escapes(ckpt: Path) -> None:
    """Characters that the terminal's encoding lacks are escaped."""
    command = f"{TOOL} list && {TOOL} verify --no-forward --ckpt {ckpt}"
    assert shell(command, PYTHONIOENCODING="ascii") == (0, "")
