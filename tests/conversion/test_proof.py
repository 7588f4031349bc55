"""The forward check of edited results: proves right ones, catches wrong ones, measures rounding."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from fixtures import small
from hornet_convert import load_model
from hornet_convert.api.checkpoints import convert
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checks.model_file import examine
from hornet_convert.conversion.plan import plan
from hornet_convert.conversion.proof import Proof
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Edits, Request, Target
from hornet_convert.family import labels
from hornet_convert.family.layouts import translate
from hornet_convert.model.edited import Drift, measure_drift, rounded
from hornet_convert.report.report import Report
from tests.conversion.run import asked_of, output, proof_of, row, run, told
from tests.documents import provenance

IN21K = labels.IN21K_CLASSES
Tensors = dict[str, torch.Tensor]


def drift_in(report: Report) -> dict[str, Any]:
    """The measured drift."""
    drift = told(report)["drift"]
    assert isinstance(drift, dict)
    return drift


class Case:
    """A source, the plan of an edit of it, and the result made by hand, to be damaged."""

    def __init__(self, tmp_path: Path, num_classes: int, target: Target, edits: Edits) -> None:
        self.target, self.edits = target, edits
        self.weights = small.tensors("w8-gf64", num_classes=num_classes)
        self.path = tmp_path / "in.pth"
        small.write(self.path, "official-zip", "w8-gf64", num_classes=num_classes)
        with open_checkpoint(self.path) as checkpoint:
            file = examine(checkpoint)
            self.plan = plan(file.identity, file.tensors, edits, target)

    def source(self, name: str) -> torch.Tensor:
        """A tensor of the source by reference name."""
        return self.weights[str(translate(name, "reference", "official"))]

    def result(self) -> Tensors:
        """The right result by reference name, made by torch."""
        made = {}
        for part in self.plan.parts.values():
            tensor = self.weights[part.key]
            if part.rows is not None:
                tensor = tensor[list(part.rows)]
            if part.resized:
                planes = tensor.double().permute(3, 0, 1, 2)
                tensor = torch.nn.functional.interpolate(
                    planes, part.shape[1:3], mode="bilinear", align_corners=True
                ).permute(1, 2, 3, 0)
            made[part.name] = rounded(tensor, part.dtype.torch).contiguous()
        return made

    def proof(self, **damage: torch.Tensor) -> Proof:
        """What the forward check says of the result, with tensors replaced by reference name."""
        right = self.result() | damage
        path = self.path.with_name("result.safetensors")
        keys = {part.name: key for key, part in self.plan.parts.items()}
        named = {keys[name]: tensor.contiguous() for name, tensor in right.items()}
        path.write_bytes(safetensors.torch.save(named))
        return proof_of(self.path, path, self.edits, self.target)

    def status(self, **damage: torch.Tensor) -> str:
        """The status of that row."""
        return self.proof(**damage).check.status


def test_selected_rows_are_proven(tmp_path: Path) -> None:
    """Right rows pass to 1e-9; one row too far along, or a swap of two, does not."""
    case = Case(tmp_path, IN21K, "reference", Edits(head="in1k"))
    assert case.status() == "pass"
    shifted = list(case.plan.rows or ())
    shifted[7] += 1
    check = case.proof(**{"head.fc.weight": case.weights["head.weight"][shifted]}).check
    assert check.status == "fail"
    assert "head.fc" in check.detail
    swapped = case.result()["head.fc.bias"]
    swapped[[3, 4]] = swapped[[4, 3]]
    assert case.status(**{"head.fc.bias": swapped}) == "fail"


def test_resized_filters_are_proven(tmp_path: Path) -> None:
    """Right filters pass to 1e-6; corners not aligned, or real and imaginary swapped, do not."""
    case = Case(tmp_path, 10, "reference", Edits(resolution=96))
    assert case.status() == "pass"
    name = "stages.2.blocks.9.gnconv.dwconv.complex_weight"
    right = case.result()[name]
    loose = torch.nn.functional.interpolate(
        case.source(name).permute(3, 0, 1, 2), right.shape[1:3], mode="bilinear"
    ).permute(1, 2, 3, 0)
    for wrong in (loose, right.flip(-1), right * 1.0001):
        check = case.proof(**{name: wrong}).check
        assert check.status == "fail"
        assert "stages.2.blocks.9" in check.detail


def test_rounded_weights_are_proven(tmp_path: Path) -> None:
    """Weights rounded to nearest pass to 1e-9; cut off, or not rounded at all, they do not."""
    case = Case(tmp_path, 10, "official", Edits(dtype="bfloat16"))
    assert case.status() == "pass"
    name = "stages.1.blocks.2.mlp.fc1.weight"
    source = case.source(name)
    cut = (source.view(torch.int32) >> 16 << 16).view(torch.float32).bfloat16()
    assert case.status(**{name: cut}) == "fail"
    assert case.status(**{name: source}) == "fail"


@pytest.mark.parametrize(
    ("target", "edits", "last"),
    [("openmmlab", Edits(head="none"), "head.norm"), ("backbone", Edits(), "stages.3.blocks.1")],
)
def test_what_only_left_something_out_computes_the_same(
    tmp_path: Path, target: Target, edits: Edits, last: str
) -> None:
    """Without a classifier the features are compared, of a backbone the last map."""
    case = Case(tmp_path, 10, target, edits)
    check = case.proof().check
    assert check.status == "pass"
    assert f"{last} " in check.detail
    name = "stages.3.blocks.1.gamma2"
    assert case.status(**{name: case.result()[name] * 1.001}) == "fail"


def test_drift_is_that_of_the_outputs(tmp_path: Path) -> None:
    """Measured again here from the two loaded models."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8-gf64")
    report = run(path, tmp_path, dtype="bfloat16", forward=True)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = load_model(path)(images), load_model(output(report))(images)
    drift = drift_in(report)
    largest = ((after - before).abs().max() / before.abs().max()).item()
    assert drift["largest"] == pytest.approx(largest, rel=1e-3)
    assert 1e-4 < drift["largest"] < 0.1
    assert drift["top1_same"] == (before.argmax(1) == after.argmax(1)).sum().item()
    pairs = zip(before.topk(5)[1].tolist(), after.topk(5)[1].tolist(), strict=True)
    assert drift["top5_shared"] == sum(len({*a} & {*b}) for a, b in pairs)
    assert drift["top5_of"] == 20
    assert any("rounded to bfloat16: on 4 seeded 64×64 images" in note for note in report.notes)
    record = provenance(output(report).with_suffix(".json").read_text())
    assert drift == checks_in(record)["drift"]


def test_disagreement_is_not_hidden(tmp_path: Path) -> None:
    """Logits in another order show in the counts."""
    case = Case(tmp_path, 10, "reference", Edits(dtype="float16"))
    clean = measured(case, case.result())
    assert (clean.top1_same, clean.top5_shared) == (clean.images, 5 * clean.images)
    bias = case.result()["head.fc.bias"] * 0 + torch.arange(10).half() * 100
    drift = measured(case, case.result() | {"head.fc.bias": bias})
    assert drift.largest > 1
    assert (drift.top1_same, drift.top5_shared) < (clean.top1_same, clean.top5_shared)


def measured(case: Case, result: Tensors) -> Drift:
    """The drift of a result."""
    with open_checkpoint(case.path) as checkpoint:
        asked = asked_of(examine(checkpoint), case.edits, case.target)
        return measure_drift(case.weights, result, asked)


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
    assert drift["output"] == output_name
    assert 1e-5 < drift["largest"] < 0.05
    assert (drift["top5_of"] == 20) == (output_name == "logits")
    assert row(report, "forward").status == "pass"


def test_a_wider_type_is_exact(tmp_path: Path) -> None:
    """Nothing was rounded, so nothing is measured and the outputs are the same."""
    weights = {key: tensor.half() for key, tensor in small.tensors("w8-gf64").items()}
    torch.save(weights, tmp_path / "in.pth")
    report = run(tmp_path / "in.pth", tmp_path, dtype="float32", forward=True)
    assert told(report)["drift"] is None
    assert any("in a wider type, exactly" in note for note in report.notes)
    assert row(report, "forward").status == "pass"


def test_without_the_forward_check_the_drift_is_said_to_be_unknown(tmp_path: Path) -> None:
    """Not measured is not small."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    report = run(path, tmp_path, dtype="float16")
    assert told(report)["drift"] is None
    assert any("was not measured: --no-forward" in note for note in report.notes)
    assert row(report, "forward").status == "not checked"


def test_at_the_new_size_the_logits_are_the_models_own(tmp_path: Path) -> None:
    """What the source's model computes at 96 pixels by itself, the resized one computes too."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8-gf64")
    report = run(path, tmp_path, resolution=96)
    images = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    with torch.inference_mode():
        ours, resized = (load_model(file).double()(images) for file in (path, output(report)))
    assert (ours - resized).abs().max() <= 1e-6 * ours.abs().max()


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
    check = row(report, "forward")
    assert check.status == "fail"
    assert "float32 gives no finite output" in check.detail
    assert report.output is None
    json.dumps(report.to_json(), allow_nan=False)


def test_a_drift_that_is_no_number_is_null_in_json() -> None:
    """JSON has no NaN; the sentence says what happened."""
    drift = Drift("bfloat16", "float32", 4, 224, 0, "logits", float("nan"), float("inf"))
    assert not drift.finite
    document = json.loads(json.dumps(drift.to_json(), allow_nan=False))
    assert document["largest"] is None
    assert document["rms"] is None
    assert "not finite" in drift.sentence


@pytest.mark.parametrize(("edits", "measured"), [({}, False), ({"head": "none"}, True)])
def test_float32_is_tried_where_weights_were_edited(
    tmp_path: Path, edits: dict[str, Any], measured: bool
) -> None:
    """It says nothing about a file that is converted as it is."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    report = run(path, tmp_path / "out", forward=True, **edits)
    assert report.trace is not None
    assert (report.trace.float32 is not None) == measured
