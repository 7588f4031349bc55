"""The command line as a program sees it: one JSON document, the documented exit code."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures import small
from hornet_convert import errors
from hornet_convert.checks.checks import SENTENCES
from hornet_convert.cli import cli, run
from tests.documents import parsed

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def verify(tmp_path: Path) -> list[str]:
    """The command that verifies a small checkpoint in the authors' form."""
    ckpt = small.write(tmp_path / "in.pth", "official-zip", "w8")
    return ["verify", "--ckpt", str(ckpt), "--no-forward"]


def document(capsys: Capture, arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and the one JSON document on stdout, which says the same."""
    code = run([*arguments, "--json"])
    found = parsed(capsys.readouterr().out)
    assert code == found["exit_code"]
    return code, found


@pytest.mark.parametrize("command", [[], *([name] for name in cli.commands), ["cache", "list"]])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_everywhere_and_has_an_example(
    capsys: Capture, command: list[str], flag: str
) -> None:
    """Both spellings work for every command, and each shows how to call it."""
    assert run([*command, flag]) == 0
    shown = capsys.readouterr().out
    assert "hornet-convert " in shown.partition("Example")[2]
    assert "\\b" not in shown


def test_exit_codes_are_documented_alike(capsys: Capture) -> None:
    """The help, which also shows if no command is given, and docs/ tell of every one, alike."""
    codes = {str(code) for name, code in vars(errors).items() if name.startswith("EXIT_")}
    assert run([]) == 2
    shown = capsys.readouterr().out.partition("Exit codes:")[2].partition("Options:")[0]
    page = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text()
    told = page.partition("Exit codes:")[2].partition("\n\n")[0]
    assert codes == set(re.findall(r"\d+", shown))
    assert re.findall(r"\w+", shown) == re.findall(r"\w+", told)


def test_a_passing_verification_is_documented_json(capsys: Capture, verify: list[str]) -> None:
    """What the file holds, and every check that there is, with a known status."""
    code, whole = document(capsys, verify)
    [result] = whole["results"]
    assert (code, result["status"], result["error"], result["output"]) == (0, "pass", None, None)
    found = [result[member] for member in ("model", "layout", "container", "num_classes")]
    assert found == ["w8", "official", "zip", 10]
    assert [check["code"] for check in result["checks"]] == [
        code for code in SENTENCES if code not in ("readback", "graph", "runtime")
    ]
    for check in result["checks"]:
        assert check["status"] == "pass" or check["detail"].startswith("not checked, because")


def test_a_failed_check_is_exit_1(capsys: Capture, verify: list[str]) -> None:
    """A wrong digest is a failed check, not an error."""
    code, found = document(capsys, [*verify, "--sha256", "0" * 64])
    [result] = found["results"]
    assert (code, result["status"], result["error"], found["error"]) == (1, "fail", None, None)
    checksum = result["checks"][0]
    assert (checksum["code"], checksum["status"]) == ("checksum", "fail")
    assert "0" * 64 in checksum["detail"]
    assert result["sha256"] in checksum["detail"]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ("verify", 2, "usage"),
        ("frobnicate", 2, "usage"),
        ("verify --ckpt {folder}/none.pth", 2, "usage"),
        ("verify --ckpt {ckpt} --model tinny", 2, "unknown-model"),
        ("verify --ckpt {ckpt} --sha256 xyz", 2, "usage"),
        ("convert --ckpt {ckpt} --layout klingon", 2, "usage"),
        ("convert --ckpt {ckpt} --head klingon", 2, "usage"),
        ("convert --ckpt {ckpt} --head 0", 2, "usage"),
        ("convert --ckpt {ckpt} --ema", 2, "usage"),
        ("convert --ckpt {ckpt} --out {ckpt}/x --no-forward", 5, "disk"),
        ("verify --ckpt {folder}/page.pth", 4, "not-a-checkpoint"),
        ("fetch", 2, "usage"),
        ("fetch tiny --all", 2, "usage"),
        ("fetch larg-gf384", 2, "unknown-model"),
        ("fetch tiny --offline --cache {folder}/cache", 3, "unreachable"),
    ],
)
def test_failures_are_one_document_too(
    capsys: Capture, verify: list[str], tmp_path: Path, arguments: str, code: int, error: str
) -> None:
    """Whatever goes wrong, stdout holds one document with the error's code, message and hint.

    Without --json stdout stays empty, and stderr says it.
    """
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html><title>Gone</title></html>")
    words = arguments.format(ckpt=verify[2], folder=tmp_path).split()
    found, result = document(capsys, words)
    assert (found, result["error"]["code"]) == (code, error)
    assert all(each["error"] == result["error"] for each in result["results"])
    assert result["error"]["hint"]
    if code != 3:  # which is in the report of the model
        assert run(words) == code
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("Error: ")
        assert f"{result['error']['message']}\nHint: " in shown.err


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (MemoryError(), 6, "out-of-memory"),
        (ZeroDivisionError("division by zero"), 6, "internal"),
        (OSError(5, "Input/output error", "/dev/x"), 5, "disk"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_no_command_expects_has_a_code_too(
    capsys: Capture,
    verify: list[str],
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    code: int,
    text: str,
) -> None:
    """A mistake of ours is not the file's, nor is a lack of memory.

    Who calls the command line from Python gets no handlers of signals.
    """

    def fails(*arguments: object, **options: object) -> None:
        raise raised

    monkeypatch.setattr("hornet_convert.api.checkpoints.verify", fails)
    found, result = document(capsys, verify)
    assert (found, result["error"]["code"]) == (code, text)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_file_says_never_rules_the_terminal(capsys: Capture, tmp_path: Path) -> None:
    """Control characters are escaped, and nothing in a name is taken for style or a picture."""
    import torch

    evil = "\x1b]0;gotcha\x07\x1b[2J[red]:skull:"
    torch.save({"model": {**small.tensors("w8"), evil: torch.ones(1)}, evil: 1}, tmp_path / "a.pth")
    header = json.dumps({"__metadata__": {evil: "x"}}).encode()
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert run(["verify", "--ckpt", str(tmp_path / "a.pth"), "--no-forward"]) == 1
    assert run(["inspect", str(tmp_path / "a.pth"), "--tensors"]) == 0
    assert run(["inspect", str(tmp_path / "b.safetensors")]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "\x1b" not in shown.out
    assert shown.out.count("\\x1b[2J[red]:skull:") >= 3


def test_only_a_conversion_says_what_was_written(
    capsys: Capture, verify: list[str], tmp_path: Path
) -> None:
    """What was to be written and was not is told; `verify` writes nothing anyway."""
    convert = ["convert", *verify[1:], "--out", str(tmp_path / "out")]
    wrong = ["--sha256", "0" * 64]
    text = []
    for arguments in ([*verify, *wrong], [*convert, *wrong], convert):
        run(arguments)
        text.append(capsys.readouterr().out)
    assert "written" not in text[0]
    assert text[1].endswith("No output file was created.\n")
    (result,) = (tmp_path / "out").glob("*.safetensors")
    assert text[2].endswith(f"written   {result}\n")


def test_a_conversion_needs_no_torch(verify: list[str], tmp_path: Path) -> None:
    """With --no-forward nothing of it is imported."""
    program = (
        "import sys\n"
        "from hornet_convert.cli import run\n"
        f"code = run({['convert', *verify[1:], '--out', str(tmp_path)]!r})\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_sentence_is_ended_once() -> None:
    """What went wrong may be a whole sentence; more follows after it, in the same line."""
    error = errors.UnsafeError("Nothing ran.", where="a.pth", hint="Leave it.")
    assert str(error) == "Nothing ran; where: a.pth. Leave it."
