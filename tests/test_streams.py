"""Standard streams that are closed, full, broken or narrow, and files that are not ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import small
from hornet_convert.cli import run
from hornet_convert.errors import DiskError
from hornet_convert.pages.page import DOCTYPE

TOOL = f"{sys.executable} -m hornet_convert"


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small checkpoint."""
    return small.write(tmp_path / "in.pth", "official-zip", "w8")


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in bash that passes on the exit code of the first part of a pipe."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(ckpt: Path, tmp_path: Path, closed: str) -> None:
    """A closed descriptor is not given to a file; the result is the right one, the exit code 0."""
    out = tmp_path / "out"
    done = shell(f"{TOOL} convert --ckpt {ckpt} --out {out} --no-forward {closed}")
    assert (0, "") == (done.returncode, done.stderr)
    (result,) = out.glob("*.safetensors")
    assert 0 == run(["verify", "--ckpt", str(result), "--no-forward"])


def test_what_libraries_print_never_lands_in_the_result(ckpt: Path, tmp_path: Path) -> None:
    """With stdout closed, a library that prints from C writes nowhere."""
    out = tmp_path / "out"
    command = f"{TOOL} convert --ckpt {ckpt} --format pth --out {out} <&- >&-"
    assert 0 == shell(command, ONEDNN_VERBOSE="1").returncode
    (result,) = out.glob("*.pth")
    assert b"PK" == result.read_bytes()[:2]


@pytest.mark.parametrize(
    "arguments", ["verify --no-forward --ckpt {}", "verify --no-forward --json --ckpt {}"]
)
def test_a_reader_that_goes_is_no_failed_check(ckpt: Path, arguments: str) -> None:
    """`… | true` ends with the verdict's own code, without a word."""
    done = shell(f"{TOOL} {arguments.format(ckpt)} | true")
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["list --json", "verify --ckpt nowhere --json"])
def test_a_full_stdout_is_told_without_a_traceback(arguments: str) -> None:
    """What cannot be written is a disk error, not a crash."""
    done = shell(f"{TOOL} {arguments} >/dev/full")
    assert done.returncode in (2, 5)
    assert "Traceback" not in done.stderr


def test_a_narrow_encoding_escapes(ckpt: Path) -> None:
    """Characters that the terminal's encoding lacks are escaped."""
    done = shell(
        f"{TOOL} list && {TOOL} verify --no-forward --ckpt {ckpt}", PYTHONIOENCODING="ascii"
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_metadata_keys_are_escaped(tmp_path: Path) -> None:
    """A key of a safetensors header with an escape sequence in it does not reach the terminal."""
    header = json.dumps({"__metadata__": {"\x1b[31mred": "x"}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    done = shell(f"{TOOL} inspect {path}")
    assert "\x1b" not in done.stdout + done.stderr
    assert "\\x1b[31mred" in done.stdout


def test_a_report_replaces_only_a_report(ckpt: Path, tmp_path: Path) -> None:
    """The user's own page, an empty file and a FIFO are left alone."""
    command = ["verify", "--ckpt", str(ckpt), "--no-forward", "--report"]
    own = tmp_path / "own.html"
    own.write_text(f"{DOCTYPE}<title>my page</title>")
    empty = tmp_path / "empty.html"
    empty.touch()
    os.mkfifo(tmp_path / "fifo")
    for path in (own, empty, tmp_path / "fifo"):
        assert 5 == run([*command, str(path)])
    assert "my page" in own.read_text()
    fresh = tmp_path / "fresh.html"
    assert [0, 0] == [run([*command, str(fresh)]) for _ in range(2)]


def test_a_record_replaces_only_a_record(ckpt: Path, tmp_path: Path) -> None:
    """What is in the place of the provenance stops the conversion before anything is published."""
    from hornet_convert.conversion.convert import Request, convert

    done = convert(ckpt, Request(tmp_path / "a", forward=False))
    name = Path(done.output or "").with_suffix(".json").name
    for folder in (True, False):
        out = tmp_path / f"out{folder}"
        out.mkdir()
        if folder:
            (out / name).mkdir()
        else:
            (out / name).write_text("{}")
        with pytest.raises(DiskError):
            convert(ckpt, Request(out, forward=False))
        assert [name] == [path.name for path in out.iterdir()]
