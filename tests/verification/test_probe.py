"""The forward check as the user sees it: its images, its trace, the part that differs first."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import small
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.cli import run
from hornet_convert.cli.render import print_report
from hornet_convert.verification.report import Check, Report
from hornet_convert.verification.subject import examine
from hornet_convert.verification.trace import Probe
from hornet_convert.verification.verify import forward_equivalence, verify

Capture = pytest.CaptureFixture[str]


def _remapped_with(tmp_path: Path, damage: dict[str, torch.Tensor], probe: Probe) -> Check:
    """The forward check of a source against its remapping with some tensors damaged."""
    source = small.write(tmp_path / "source.pth", "openmmlab-legacy", "w8")
    weights = small.tensors("w8", "reference") | damage
    torch.save(weights, tmp_path / "target.pth")
    with open_checkpoint(source) as one, open_checkpoint(tmp_path / "target.pth") as two:
        names = examine(two).by_reference_name()
        return forward_equivalence(examine(one), two, names, probe)


@pytest.mark.parametrize("probe", [Probe(64), Probe((32, 96), batch=3), Probe(64, seed=5)], ids=str)
def test_the_images_are_as_asked(tmp_path: Path, probe: Probe) -> None:
    """Size, seed and batch are used and reported, and right weights pass at any of them."""
    report = verify(small.write(tmp_path / "in.pth", "official-zip", "w8-gf"), probe=probe)
    trace = report.trace
    assert trace is not None
    size = probe.image_size
    assert (size if isinstance(size, tuple) else (size, size)) == trace.image_size
    assert (probe.seed, probe.batch) == (trace.seed, trace.batch)
    assert report, report.checks
    assert 31 == len(trace.parts)
    assert trace.float32 is not None
    assert 0 < trace.float32 < 1e-5


def test_another_seed_is_another_image(tmp_path: Path) -> None:
    """The same seed gives the same outputs, another one others."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    outputs = []
    for seed in (0, 0, 1):
        trace = verify(path, probe=Probe(32, seed)).trace
        assert trace is not None
        outputs.append(trace.parts[-1].largest)
    assert outputs[0] == outputs[1] != outputs[2]


@pytest.mark.parametrize(
    ("key", "part", "around"),
    [
        ("stem.1.bias", "stem", 3),
        ("stages.1.blocks.0.norm2.weight", "stages.1.blocks.0", 5),
        ("stages.2.downsample.1.weight", "stages.2.downsample", 5),
        ("head.norm.bias", "head.norm", 4),
        ("head.fc.weight", "head.fc", 3),
    ],
)
def test_the_first_part_that_differs_is_named_among_its_neighbours(
    tmp_path: Path, capsys: Capture, key: str, part: str, around: int
) -> None:
    """In the sentence, in the JSON and as a small table."""
    damaged = small.tensors("w8", "reference")[key] * 1.01
    check = _remapped_with(tmp_path, {key: damaged}, Probe(64))
    assert "fail" == check.status
    assert check.detail.startswith(f"first to differ: {part};")
    assert check.trace is not None
    assert part == check.trace.to_json()["first_diverging"]
    assert around == len(check.trace.around)
    print_report(Report(path="x", sha256="0" * 64, checks=(check,)))
    lines = capsys.readouterr().out.splitlines()
    marked = [line for line in lines if line.rstrip().endswith("first to differ")]
    assert [part] == [line.split()[0] for line in marked]


def test_outputs_that_are_no_numbers_fail_and_are_null_in_the_json(tmp_path: Path) -> None:
    """NaN and infinity on either side never pass for agreement."""
    check = _remapped_with(tmp_path, {"stem.1.bias": torch.full((8,), torch.nan)}, Probe(32))
    assert "fail" == check.status
    assert check.trace is not None
    document = check.trace.to_json()
    assert document["parts"][0]["relative"] is None
    json.dumps(document, allow_nan=False)


def _document(capsys: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run(["verify", *arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return code, document


def test_on_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    """The options reach the check; contradictions and nonsense are usage errors."""
    path = str(small.write(tmp_path / "in.pth", "official-zip", "w8"))
    size = ("--image-size", "32x64")
    code, document = _document(capsys, "--ckpt", path, *size, "--seed", "3", "--batch", "2")
    assert 0 == code
    forward = document["forward"]
    assert ([32, 64], 3, 2) == (forward["image_size"], forward["seed"], forward["batch"])
    assert forward["first_diverging"] is None
    for wrong in (("--image-size", "31"), ("--image-size", "big"), ("--batch", "0")):
        assert 2 == _document(capsys, "--ckpt", path, *wrong)[0]
    assert 2 == _document(capsys, "--ckpt", path, "--seed", "1", "--no-forward")[0]
    code, document = _document(capsys, "--ckpt", path, "--no-forward")
    assert (0, None) == (code, document["forward"])
