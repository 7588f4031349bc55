"""The command line as a program sees it: one JSON document, the documented exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures import small
from hornet_convert.cli import cli, run
from hornet_convert.verification.report import CHECKS

Capture = pytest.CaptureFixture[str]

DOCUMENTED = {
    "status", "model", "layout", "container", "num_classes", "sha256", "fingerprint", "checks",
    "output", "error",
}  # fmt: skip


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small checkpoint in the authors' form."""
    return small.write(tmp_path / "in.pth", "official-zip", "w8")


def document(capsys: Capture, arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and the one JSON document on stdout."""
    code = run(arguments)
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert isinstance(result, dict)
    return code, result


@pytest.mark.parametrize("command", [[], *([name] for name in cli.commands), ["cache", "list"]])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_everywhere_and_has_an_example(
    capsys: Capture, command: list[str], flag: str
) -> None:
    """Both spellings work for every command, and each shows how to call it."""
    assert 0 == run([*command, flag])
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert "hornet-convert " in shown.split("Example")[1]
    assert "\\b" not in shown


def test_a_passing_verification_is_documented_json(capsys: Capture, ckpt: Path) -> None:
    """Every documented member is there; every check has a known code and status."""
    code, result = document(capsys, ["verify", "--ckpt", str(ckpt), "--no-forward", "--json"])
    assert 0 == code
    assert DOCUMENTED <= result.keys()
    assert ("pass", "w8", "official", "zip", 10) == tuple(
        result[key] for key in ("status", "model", "layout", "container", "num_classes")
    )
    assert (None, None) == (result["output"], result["error"])
    assert list(CHECKS) == [check["code"] for check in result["checks"]]
    assert {"pass", "not checked"} == {check["status"] for check in result["checks"]}
    for check in result["checks"]:
        assert check["status"] == "pass" or check["detail"].startswith("not checked, because")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["verify", "--json"], 2, "usage"),
        (["frobnicate", "--json"], 2, "usage"),
        (["verify", "--ckpt", "{missing}", "--json"], 2, "usage"),
        (["verify", "--ckpt", "{ckpt}", "--model", "tinny", "--json"], 2, "unknown-model"),
        (["verify", "--ckpt", "{ckpt}", "--sha256", "xyz", "--json"], 2, "usage"),
        (["convert", "--ckpt", "{ckpt}", "--layout", "klingon", "--json"], 2, "usage"),
        (["convert", "--ckpt", "{ckpt}", "--ema", "--json"], 2, "usage"),
        (["convert", "--ckpt", "{ckpt}", "--out", "{ckpt}/x", "--no-forward", "--json"], 5, "disk"),
        (["verify", "--ckpt", "{html}", "--json"], 4, "not-a-checkpoint"),
        (["fetch", "--json"], 2, "usage"),
        (["fetch", "tiny", "--all", "--json"], 2, "usage"),
        (["fetch", "larg-gf384", "--json"], 2, "unknown-model"),
        (["fetch", "tiny", "--offline", "--cache", "{folder}", "--json"], 3, "unreachable"),
    ],
)  # fmt: skip
def test_failures_are_one_document_too(
    capsys: Capture, ckpt: Path, tmp_path: Path, arguments: list[str], code: int, error: str
) -> None:
    """Whatever goes wrong, stdout holds one document with the error's code, message and hint."""
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html><title>Gone</title></html>")
    places = {
        "{ckpt}": str(ckpt),
        "{missing}": str(tmp_path / "none.pth"),
        "{html}": str(tmp_path / "page.pth"),
        "{folder}": str(tmp_path / "cache"),
    }
    filled = list(arguments)
    for place, path in places.items():
        filled = [word.replace(place, path) for word in filled]
    found, result = document(capsys, filled)
    assert (code, "error", error) == (found, result["status"], result["error"]["code"])
    assert result["error"]["message"]
    assert result["error"]["hint"]
    assert DOCUMENTED <= result.keys()


def test_a_failed_check_is_exit_1(capsys: Capture, ckpt: Path) -> None:
    """A wrong digest is a failed check, not an error."""
    wrong = ["verify", "--ckpt", str(ckpt), "--no-forward", "--json", "--sha256", "0" * 64]
    code, result = document(capsys, wrong)
    assert (1, "fail", None) == (code, result["status"], result["error"])
    checksum = result["checks"][0]
    assert ("checksum", "fail") == (checksum["code"], checksum["status"])
    assert "0" * 64 in checksum["detail"]
    assert result["sha256"] in checksum["detail"]


def test_errors_for_people_go_to_stderr(capsys: Capture) -> None:
    """Without --json stdout stays empty; stderr has the message and what to do."""
    assert 2 == run(["fetch", "larg-gf384"])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert "large-gf384" in captured.err
    assert "Traceback" not in captured.err


def test_escape_sequences_in_a_file_never_reach_the_terminal(
    capsys: Capture, tmp_path: Path
) -> None:
    """Control characters in key names are shown escaped."""
    import torch

    weights = small.tensors("w8")
    weights["\x1b]0;gotcha\x07\x1b[2J"] = torch.ones(1)
    torch.save({"model": weights, "note\x1b[31m": 1}, tmp_path / "in.pth")
    assert 1 == run(["verify", "--ckpt", str(tmp_path / "in.pth"), "--no-forward"])
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "\\x1b" in captured.out


def test_the_module_runs_as_a_program(ckpt: Path) -> None:
    """`python -m hornet_convert` is the same command, and converts without torch."""
    code = (
        "import sys\n"
        "from hornet_convert.cli import run\n"
        f"code = run(['convert', '--ckpt', {str(ckpt)!r}, '--out', {str(ckpt.parent)!r},"
        " '--no-forward', '--json'])\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else code)\n"
    )
    plain = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (0, "") == (plain.returncode, plain.stderr)
    command = [sys.executable, "-m", "hornet_convert", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_ctrl_c_is_exit_130(tmp_path: Path) -> None:
    """An interrupt ends with the documented code and one line, not with a traceback."""
    program = (
        "import os, signal, sys\n"
        "from hornet_convert.verification import scan\n"
        "from hornet_convert.cli import run\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'hornet_convert.verification.verify':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stop())\n"
        f"sys.exit(run(['verify', '--ckpt', {str(tmp_path)!r}, '--no-forward']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert 130 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error(ckpt: Path) -> None:
    """A reader that stops reading, as `head` does, causes no traceback."""
    command = f"{sys.executable} -m hornet_convert list | true"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=os.environ
    )
    assert "" == done.stderr
