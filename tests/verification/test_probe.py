"""The forward check as the user sees it: its images, its trace, the part that differs first."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import verify
from hornet_convert.cli import run
from hornet_convert.cli.render import print_report
from hornet_convert.report.check import Check
from hornet_convert.report.report import Report
from hornet_convert.report.trace import Probe
from tests.conversion.run import proof_of
from tests.documents import parsed

Capture = pytest.CaptureFixture[str]
FIRST = ["first", "to", "differ"]


def damaged(tmp_path: Path, **damage: torch.Tensor) -> Check:
    """The forward check of a source against its remapping with some tensors damaged."""
    source = small.write(tmp_path / "source.pth", "openmmlab-legacy", "w8-gf64")
    torch.save(small.tensors("w8-gf64", "reference") | damage, tmp_path / "target.pth")
    return proof_of(source, tmp_path / "target.pth").check


@pytest.mark.parametrize(
    "probe", [Probe(64), Probe((32, 96), batch=3), Probe(64, 5, float32=True)], ids=str
)
def test_the_images_are_as_asked(tmp_path: Path, probe: Probe) -> None:
    """Size, seed and batch are used and reported, and right weights pass at any of them."""
    report = verify(small.write(tmp_path / "in.pth", "official-zip", "w8-gf"), probe=probe)
    assert report, report.checks
    forward: Any = report.to_json()["forward"]
    size = probe.image_size
    assert (list(size) if isinstance(size, tuple) else [size, size]) == forward["image_size"]
    assert (forward["seed"], forward["batch"]) == (probe.seed, probe.batch)
    assert len(forward["parts"]) == 31
    assert 0 < forward["float32"] < 1e-5 if probe.float32 else forward["float32"] is None


def test_another_seed_is_another_image(tmp_path: Path) -> None:
    """The same seed gives the same outputs, another one others."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    reports: list[Any] = [verify(path, probe=Probe(32, s)).to_json() for s in (0, 0, 1)]
    outputs = [report["forward"]["parts"][-1]["largest"] for report in reports]
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
    check = damaged(tmp_path, **{key: small.tensors("w8-gf64", "reference")[key] * 1.01})
    assert check.status == "fail"
    assert check.detail.startswith(f"first to differ: {part};")
    assert check.trace is not None
    assert check.trace.to_json()["first_diverging"] == part
    assert len(check.trace.around) == around
    print_report(Report(path="x", sha256="0" * 64, checks=(check,)))
    lines = capsys.readouterr().out.splitlines()
    assert [part] == [line.split()[0] for line in lines if line.split()[-3:] == FIRST]


def test_outputs_that_are_no_numbers_fail_and_are_null_in_the_json(tmp_path: Path) -> None:
    """NaN and infinity on either side never pass for agreement."""
    check = damaged(tmp_path, **{"stem.1.bias": torch.full((8,), torch.nan)})
    assert check.status == "fail"
    document: Any = Report(path="x", sha256="0" * 64, checks=(check,)).to_json()
    assert document["forward"]["parts"][0]["relative"] is None
    json.dumps(document, allow_nan=False)


def test_on_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    """The options reach the check; contradictions and nonsense are usage errors."""
    path = str(small.write(tmp_path / "in.pth", "official-zip", "w8"))

    def forward(options: str, code: int) -> Any:
        assert code == run(["verify", "--ckpt", path, "--json", *options.split()])
        results = parsed(capsys.readouterr().out)["results"]
        return results[0]["forward"] if results else None

    made = forward("--image-size 32x64 --seed 3 --batch 2 --float32", 0)
    assert made["image_size"] == [32, 64]
    assert (made["seed"], made["batch"]) == (3, 2)
    assert made["first_diverging"] is None
    assert made["float32"] < 1e-5
    assert 0 == run(["verify", "--ckpt", path, "--image-size", "32", "--float32"])
    assert "in float32 the outputs are within" in capsys.readouterr().out
    for wrong in (
        "--image-size 31",
        "--image-size big",
        "--batch 0",
        "--seed 1 --no-forward",
        "--float32 --no-forward",
    ):
        forward(wrong, 2)
    assert forward("--no-forward", 0) is None
