"""The forward check of edited results: proves right ones, catches wrong ones, measures rounding."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import small
from hornet_convert import load_model
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.conversion.convert import Request, convert
from hornet_convert.conversion.edits import Edits, Target
from hornet_convert.conversion.plan import Plan, plan
from hornet_convert.family import labels
from hornet_convert.family.layouts import translate
from hornet_convert.model.edited import Drift, edited_check, measure_drift, rounded
from hornet_convert.verification.report import Check
from hornet_convert.verification.subject import Subject, examine
from tests.conversion.run import output, run, told

IN21K = labels.IN21K_CLASSES
Tensors = dict[str, torch.Tensor]


def detail(report: Any, code: str) -> Check:
    """The row of a check."""
    rows: dict[str, Check] = {check.code: check for check in report.checks}
    return rows[code]


def drift_in(report: Any) -> dict[str, Any]:
    """The measured drift."""
    drift = told(report)["drift"]
    assert isinstance(drift, dict)
    return drift


class Case:
    """A source, the plan of an edit of it, and the result made by hand, to be damaged."""

    def __init__(self, tmp_path: Path, num_classes: int, target: Target, edits: Edits) -> None:
        self.source = small.tensors("w8-gf64", num_classes=num_classes)
        path = small.write(tmp_path / "in.pth", "official-zip", "w8-gf64", num_classes=num_classes)
        with open_checkpoint(path) as checkpoint:
            self.subject: Subject = examine(checkpoint)
        self.plan: Plan = plan(self.subject.identity, self.subject.tensors, edits, target)

    def result(self) -> Tensors:
        """The right result by reference name, made by torch."""
        made = {}
        for part in self.plan.parts.values():
            tensor = self.source[part.key]
            if part.rows is not None:
                tensor = tensor[list(part.rows)]
            if part.resized:
                planes = tensor.double().permute(3, 0, 1, 2)
                size = part.shape[1:3]
                tensor = torch.nn.functional.interpolate(
                    planes, size, mode="bilinear", align_corners=True
                ).permute(1, 2, 3, 0)
            made[part.name] = rounded(tensor, part.dtype.torch)
        return made

    def check(self, result: Mapping[str, torch.Tensor]) -> Check:
        """The forward check of a result."""
        return edited_check(self.source, self.subject.identity, result, self.plan)

    def drift(self, result: Mapping[str, torch.Tensor]) -> Drift:
        """The drift of a result."""
        return measure_drift(self.source, self.subject.identity, result, self.plan)


def test_selected_rows_are_proven(tmp_path: Path) -> None:
    """Right rows pass to 1e-9; one row too far along, or a swap of two, does not."""
    case = Case(tmp_path, IN21K, "reference", Edits(head="in1k"))
    right = case.result()
    assert "pass" == case.check(right).status
    shifted = list(case.plan.rows or ())
    shifted[7] += 1
    wrong = right | {"head.fc.weight": case.source["head.weight"][shifted]}
    assert ("fail", True) == (case.check(wrong).status, "head.fc" in case.check(wrong).detail)
    swapped = right["head.fc.bias"].clone()
    swapped[[3, 4]] = swapped[[4, 3]]
    assert "fail" == case.check(right | {"head.fc.bias": swapped}).status


def test_resized_filters_are_proven(tmp_path: Path) -> None:
    """Right filters pass to 1e-6; corners not aligned, or real and imaginary swapped, do not."""
    case = Case(tmp_path, 10, "reference", Edits(resolution=96))
    right = case.result()
    assert "pass" == case.check(right).status
    name = "stages.2.blocks.9.gnconv.dwconv.complex_weight"
    source = case.source[str(translate(name, "reference", "official"))]
    loose = torch.nn.functional.interpolate(
        source.permute(3, 0, 1, 2), right[name].shape[1:3], mode="bilinear", align_corners=False
    ).permute(1, 2, 3, 0)
    for wrong in (loose, right[name].flip(-1), right[name] * 1.0001):
        check = case.check(right | {name: wrong.contiguous()})
        assert "fail" == check.status
        assert "stages.2.blocks.9" in check.detail


def test_rounded_weights_are_proven(tmp_path: Path) -> None:
    """Weights rounded to nearest pass to 1e-9; one cut off instead does not."""
    case = Case(tmp_path, 10, "official", Edits(dtype="bfloat16"))
    right = case.result()
    assert "pass" == case.check(right).status
    name = "stages.1.blocks.2.mlp.fc1.weight"
    source = case.source[str(translate(name, "reference", "official"))]
    cut = (source.view(torch.int32) >> 16 << 16).view(torch.float32).bfloat16()
    assert "fail" == case.check(right | {name: cut}).status
    # What was not rounded at all is not what the file should hold either.
    assert "fail" == case.check(right | {name: source}).status


def test_what_only_left_something_out_computes_the_same(tmp_path: Path) -> None:
    """Without a classifier the features are compared, of a backbone the last map."""
    cases: tuple[tuple[Target, Edits, str], ...] = (
        ("openmmlab", Edits(head="none"), "head.norm"),
        ("backbone", Edits(), "stages.3.blocks.1"),
    )
    for target, edits, last in cases:
        case = Case(tmp_path, 10, target, edits)
        check = case.check(case.result())
        assert ("pass", True) == (check.status, f"{last} " in check.detail)
        name = "stages.3.blocks.1.gamma2"
        wrong = case.result()[name] * 1.001
        assert "fail" == case.check(case.result() | {name: wrong}).status


def test_drift_is_that_of_the_outputs(tmp_path: Path) -> None:
    """Measured again here from the two loaded models."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8-gf64")
    report = run(path, tmp_path, dtype="bfloat16", forward=True)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = load_model(path)(images), load_model(output(report))(images)
    drift = drift_in(report)
    largest = ((after - before).abs().max() / before.abs().max()).item()
    assert pytest.approx(largest, rel=1e-3) == drift["largest"]
    assert 1e-4 < drift["largest"] < 0.1
    same = (before.argmax(1) == after.argmax(1)).sum().item()
    shared = sum(
        len({*a.tolist()} & {*b.tolist()})
        for a, b in zip(before.topk(5)[1], after.topk(5)[1], strict=True)
    )
    assert (same, shared, 20) == (drift["top1_same"], drift["top5_shared"], drift["top5_of"])
    assert any("rounded to bfloat16: on 4 seeded 64×64 images" in note for note in report.notes)
    assert drift == json.loads(output(report).with_suffix(".json").read_text())["drift"]


def test_disagreement_is_not_hidden(tmp_path: Path) -> None:
    """Logits in another order show in the counts."""
    case = Case(tmp_path, 10, "reference", Edits(dtype="float16"))
    result = case.result()
    result["head.fc.bias"] = result["head.fc.bias"] * 0 + torch.arange(10).half() * 100
    drift = case.drift(result)
    assert 1 < drift.largest
    assert 5 * drift.images == drift.top5_of
    agreement = (drift.top1_same, drift.top5_shared)
    clean = case.drift(case.result())
    assert agreement < (clean.top1_same, clean.top5_shared)
    assert (clean.images, 5 * clean.images) == (clean.top1_same, clean.top5_shared)


@pytest.mark.parametrize(
    ("layout", "edits", "output_name"),
    [
        ("backbone", {"dtype": "float16"}, "features"),
        ("reference", {"dtype": "float16", "head": "none"}, "features"),
        ("openmmlab", {"dtype": "bfloat16", "resolution": 96, "head": "in1k"}, "logits"),
    ],
)
def test_drift_of_edited_results(
    tmp_path: Path, layout: Target, edits: dict[str, Any], output_name: str
) -> None:
    """Only the rounding is measured: the other edits are made on both sides."""
    path = small.write(tmp_path / "in.pth", "openmmlab-zip", "w8-gf64", num_classes=IN21K)
    report = run(path, tmp_path, layout, "pth", forward=True, **edits)
    drift = drift_in(report)
    assert output_name == drift["output"]
    assert 1e-5 < drift["largest"] < 0.05
    assert ("logits" == output_name) == (drift["top5_of"] == 20)
    assert "pass" == detail(report, "forward").status


def test_a_wider_type_is_exact(tmp_path: Path) -> None:
    """Nothing was rounded, so nothing is measured and the outputs are the same."""
    weights = {key: tensor.half() for key, tensor in small.tensors("w8-gf64").items()}
    torch.save(weights, tmp_path / "in.pth")
    report = run(tmp_path / "in.pth", tmp_path, dtype="float32", forward=True)
    assert told(report)["drift"] is None
    assert any("in a wider type, exactly" in note for note in report.notes)
    assert "pass" == detail(report, "forward").status


def test_without_the_forward_check_the_drift_is_said_to_be_unknown(tmp_path: Path) -> None:
    """Not measured is not small."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    report = run(path, tmp_path, dtype="float16")
    assert told(report)["drift"] is None
    assert any("was not measured: --no-forward" in note for note in report.notes)
    assert "not checked" == detail(report, "forward").status


def test_at_the_new_size_the_logits_are_the_models_own(tmp_path: Path) -> None:
    """What the source's model computes at 96 pixels by itself, the resized one computes too."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8-gf64")
    report = run(path, tmp_path, resolution=96)
    images = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    with torch.inference_mode():
        own, resized = (load_model(file).double()(images) for file in (path, output(report)))
    assert (own - resized).abs().max() <= 1e-6 * own.abs().max()


def test_rounding_in_torch_is_rounding_once() -> None:
    """A float64 just above a tie goes up."""
    tie = 1 + 2.0**-8
    values = torch.tensor([tie, tie + 2.0**-40, tie - 2.0**-40], dtype=torch.float64)
    assert [1.0, 1 + 2.0**-7, 1.0] == rounded(values, "bfloat16").double().tolist()
    assert [1.0, 1.0, 1.0] == values.bfloat16().double().tolist()


@pytest.mark.parametrize(
    ("layout", "edits"),
    [
        ("reference", Edits(dtype="bfloat16")),
        ("reference", Edits(head="none")),
        ("reference", Edits(resolution=96)),
        ("backbone", Edits()),
    ],
    ids=["dtype", "head", "resolution", "backbone"],
)
def test_edits_do_not_hide_what_overflows_in_float32(
    tmp_path: Path, layout: Target, edits: Edits
) -> None:
    """Weights that only float64 can compute with fail when edited too, and nothing is written."""
    weights = small.tensors("w8-gf64" if edits.resolution else "w8")
    weights["stages.0.0.pwconv1.weight"] *= 1e38
    torch.save(weights, tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", Request(tmp_path / "out", layout, edits=edits))
    row = detail(report, "forward")
    assert ("fail", True) == (row.status, "float32 gives no finite output" in row.detail)
    assert report.output is None
    json.dumps(report.to_json(), allow_nan=False)


def test_a_drift_that_is_no_number_is_null_in_json() -> None:
    """JSON has no NaN; the sentence says what happened."""
    drift = Drift("bfloat16", "float32", 4, 224, 0, "logits", float("nan"), float("inf"))
    assert not drift.finite
    told = json.loads(json.dumps(drift.to_json(), allow_nan=False))
    assert (None, None) == (told["largest"], told["rms"])
    assert "not finite" in drift.sentence
