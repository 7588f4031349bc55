"""What people see: a few lines where all is well, whole words and figures at any width."""

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import torch

from fixtures import small
from hornet_convert.bars import Bars
from hornet_convert.cli import run
from hornet_convert.family import zoo
from hornet_convert.report.progress import FORWARD

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small checkpoint."""
    return small.write(tmp_path / "in.pth", "official-zip", "w8")


def on_terminal(width: int, *arguments: str) -> list[str]:
    """The lines that a command shows on a terminal that is so wide, without colours."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, width))
    command = [sys.executable, "-m", "hornet_convert", *arguments]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(command, stdout=theirs, stderr=subprocess.DEVNULL, check=False)
        os.close(theirs)
        shown = b""
        try:
            while piece := terminal.read(65536):
                shown += piece
        except OSError:  # how Linux says that the other end is closed
            pass
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()


def test_a_passing_conversion_is_a_few_lines(capsys: Capture, ckpt: Path, tmp_path: Path) -> None:
    """What, from where, verdict, checks with what was not checked, the file; -v shows each row."""
    arguments = ["convert", str(ckpt), "--no-forward", "--out", str(tmp_path / "out")]
    assert run(arguments) == 0
    short = capsys.readouterr().out.splitlines()
    assert len(short) <= 6
    assert short[0] == "PASS w8, official layout, zip container, 10 classes"
    assert "not checked: checksum, reference, parameters, fingerprint, forward" in short[3]
    assert run([*arguments, "-v"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert {"checksum", "model", "readback"} <= {row[13:24].strip() for row in rows}


def test_what_failed_is_shown_and_a_file_that_was_not_written_has_no_row(
    capsys: Capture, ckpt: Path, tmp_path: Path
) -> None:
    """Nothing that passed is in its way."""
    weights = small.tensors("w8")
    del weights["head.bias"]
    torch.save({"model": weights}, tmp_path / "cut.pth")
    arguments = ["convert", str(tmp_path / "cut.pth"), "--no-forward", "--out", str(tmp_path)]
    for more in ([], ["-v"]):
        assert run([*arguments, *more]) == 1
        shown = capsys.readouterr().out
        assert "fail         keys         1 missing: head.fc.bias" in shown
        assert "readback" not in shown
        assert ("pass         model" in shown) == bool(more)


@pytest.mark.parametrize("width", [80, 100, 150])
def test_the_nine_are_whole_at_any_width(width: int) -> None:
    """Every computed figure and accuracy, each row in a line of its own."""
    lines = on_terminal(width, "list")
    assert max(map(len, lines)) <= width
    for model in zoo.MODELS:
        (row,) = [line.split() for line in lines if line.startswith(f"{model.name}  ")]
        assert f"{model.architecture.flops():,}" in row
        assert [model.top1, model.top5] == [None if x == "–" else float(x) for x in row[-2:]]


def test_the_published_figures_are_beside_the_computed_ones_or_explained(capsys: Capture) -> None:
    """Those that differ in the last digit carry a mark, and a sentence tells of them."""
    assert run(["list"]) == 0
    shown = capsys.readouterr().out
    marked = re.findall(r"(\d+\.\d\d) G \*", shown)
    assert marked == ["15.59", "34.83", "101.63"]
    told = shown.partition("not rounded to nearest:")[2]
    assert all(figure in told for figure in marked)


def test_digests_and_paths_never_break(ckpt: Path, capsys: Capture) -> None:
    """Not on a narrow terminal; and a pipe gets a line for each row, without padding."""
    folder = ckpt.parent / ("long-" * 20)
    folder.mkdir()
    copy = ckpt.rename(folder / "in.pth")
    arguments = ["verify", "--no-forward", "-v", str(copy)]
    assert run(arguments) == 0
    piped = capsys.readouterr().out.splitlines()
    (digest,) = {word for line in piped if line.startswith("weights") for word in line.split()[1:]}
    for lines in (piped, on_terminal(80, *arguments)):
        assert any(digest in line for line in lines)
        assert any(str(copy) in line for line in lines)
    assert all(line == line.rstrip() for line in piped)


def test_validate_is_whole_at_80_columns(tmp_path: Path) -> None:
    """Names and outcomes stand in one piece; no heading stands twice."""
    (tmp_path / "mirror").mkdir()
    mirror = ("--mirror", str(tmp_path / "mirror"), "--source", "mirror")
    lines = on_terminal(80, "validate", *mirror, "--cache", str(tmp_path / "cache"))
    heading = next(line for line in lines if line.startswith("model ")).split()
    assert len(heading) == len(set(heading))
    for model in zoo.MODELS:
        assert any(line.split()[:2] == [model.name, "unreachable"] for line in lines)
    assert "9 models: 9 unreachable" in lines


def test_several_files_end_with_a_table(capsys: Capture, ckpt: Path, tmp_path: Path) -> None:
    """As arguments and by --ckpt, each once; one that cannot be read stops none, and says why."""
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html></html>")
    other = small.write(tmp_path / "other.pth", "official-zip", "w8-gf")
    arguments = ["verify", "--no-forward", str(tmp_path / "page.pth"), "--ckpt", str(ckpt)]
    assert run([*arguments, "--ckpt", str(other), str(ckpt)]) == 4
    shown = capsys.readouterr()
    assert "got an HTML page" in shown.err
    assert "page.pth" in shown.err
    table = shown.out.partition("\n\n")[2].splitlines()
    rows = sorted(row.split()[:2] for row in table[1:-1])
    assert rows == [["w8", "pass"], ["w8-gf", "pass"], ["–", "error"]]
    assert table[-1] == "3 files: 1 error, 2 pass"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("verify", "no checkpoint is named"),
        ("convert {ckpt} --out x.safetensors", "--out names a folder, not a file"),
        ("predict {folder} --ckpt {ckpt} --ckpt {folder}", "give one file"),
        ("pins merge {folder}/none.json", "there is no such file"),
    ],
)
def test_mistakes_are_named(
    capsys: Capture, ckpt: Path, tmp_path: Path, command: str, text: str
) -> None:
    """Before anything is done, with what to do."""
    assert run(command.format(ckpt=ckpt, folder=tmp_path).split()) == 2
    shown = capsys.readouterr()
    assert text in shown.err
    assert "Hint: " in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("short", "whole"), [("fp16", "float16"), ("half", "float16"), ("BF16", "bfloat16")]
)
def test_element_types_have_short_names(
    capsys: Capture, ckpt: Path, tmp_path: Path, short: str, whole: str
) -> None:
    """As they are said elsewhere."""
    arguments = ["convert", str(ckpt), "--no-forward", "--out", str(tmp_path), "--dtype", short]
    assert run(arguments) == 0
    assert f"-{whole}-" in capsys.readouterr().out


def test_all_is_a_name(capsys: Capture, tmp_path: Path) -> None:
    """`fetch all` is `fetch --all`; why each failed stands on stderr, source by source."""
    (tmp_path / "mirror").mkdir()
    mirror = ["--mirror", str(tmp_path / "mirror"), "--cache", str(tmp_path / "cache")]
    assert run(["fetch", "all", "--offline", *mirror]) == 3
    shown = capsys.readouterr()
    assert "9 models: 9 unreachable" in shown.out
    errors = shown.err.splitlines()
    at = errors.index("Error: tiny is not available offline")
    assert [line.split()[0] for line in errors[at + 1 : at + 3]] == ["mirror", "openmmlab"]
    assert "nothing of it is cached" not in shown.out


@pytest.mark.parametrize(
    ("family", "name"),
    [("ConvNeXt", "stages.0.0.pwconv1.weight"), ("ResNet", "layer1.0.conv1.weight")],
)
def test_a_file_that_is_no_hornet_says_so_in_two_lines(
    capsys: Capture, ckpt: Path, tmp_path: Path, family: str, name: str
) -> None:
    """Not 500 missing keys; nor does a comparison with a HorNet."""
    weights = {
        name: torch.ones(2, 2),
        "head.weight": torch.ones(3, 2),
        "norm.weight": torch.ones(2),
    }
    torch.save(weights, tmp_path / "other.pth")
    assert run(["verify", "--no-forward", str(tmp_path / "other.pth")]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2
    assert shown[0].startswith("FAIL not a HorNet")
    assert family in shown[0]
    assert run(["compare", str(ckpt), str(tmp_path / "other.pth")]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].startswith("DIFFERENT Different models: A is w8, B is not a HorNet")


def test_blocks_stand_in_numeric_order(capsys: Capture, ckpt: Path, tmp_path: Path) -> None:
    """Also of a safetensors file, whose names are sorted as words."""
    other = small.write(tmp_path / "other.pth", "official-zip", "w8", label="other")
    assert run(["convert", str(other), "--no-forward", "--out", str(tmp_path / "out")]) == 0
    (result,) = (tmp_path / "out").glob("*.safetensors")
    capsys.readouterr()
    for command, code in ((["compare", str(result), str(ckpt)], 1), (["inspect", str(result)], 0)):
        assert run(command) == code
        blocks = re.findall(r"^stages\.2\.blocks\.(\d+) ", capsys.readouterr().out, re.MULTILINE)
        assert blocks == [str(number) for number in range(18)]


def test_the_forward_check_tells_how_far_it_is(
    capsys: Capture, ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By parts of the network; --quiet says nothing."""
    monkeypatch.setattr("hornet_convert.bars.LINES_EVERY", 0.0)
    assert run(["verify", str(ckpt)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert f"{FORWARD}: 31 of 31 parts" in lines
    assert run(["verify", "--quiet", str(ckpt)]) == 0
    assert capsys.readouterr().err == ""


def test_a_log_is_told_of_each_step_of_a_conversion(capsys: Capture) -> None:
    """Once."""
    with Bars() as bars:
        progress = bars.conversion("tiny")
        for done in range(3):
            progress("converting", done, 2)
        progress(FORWARD, 1, 31)
    assert capsys.readouterr().err.splitlines() == ["tiny: converting", f"tiny: {FORWARD}"]
