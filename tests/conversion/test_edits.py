"""Heads, resolutions, element types: what comes out, what it is called, what is refused."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import convert
from hornet_convert.checkpoint.metadata import ours
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Edits, Request
from hornet_convert.errors import UsageError
from hornet_convert.family import labels, zoo
from hornet_convert.family.file_names import FORMATS, MAX_EDITS, history, stem
from tests.conversion.run import load, output, row, run, told
from tests.documents import provenance

IN21K = labels.IN21K_CLASSES


@pytest.fixture(scope="module")
def in21k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the head of the large published models."""
    path = tmp_path_factory.mktemp("in21k") / "in.pth"
    return small.write(path, "openmmlab-legacy", "w8-gf64", num_classes=IN21K)


def checkpoint(tmp_path: Path, name: str, num_classes: int | None = 10) -> Path:
    """A small HorNet in the authors' form."""
    return small.write(tmp_path / f"{name}.pth", "official-zip", name, num_classes=num_classes)


def saved(tmp_path: Path, weights: dict[str, torch.Tensor]) -> Path:
    """A bare state dict."""
    torch.save(weights, tmp_path / "in.pth")
    return tmp_path / "in.pth"


@pytest.mark.parametrize("head", ["in1k", 1000])
def test_the_1000_rows_of_imagenet_1k(tmp_path: Path, in21k: Path, head: str | int) -> None:
    """Row i of the new head is the row that the authors' map gives for class i."""
    report = run(in21k, tmp_path, "official", head=head)
    wanted = small.tensors("w8-gf64", num_classes=IN21K)
    rows = list(labels.in1k_rows(IN21K) or ())
    assert 1000 == len(set(rows))
    for key in ("head.weight", "head.bias"):
        wanted[key] = wanted[key][rows]
    result = load(output(report))
    assert wanted.keys() == result.keys()
    assert all(torch.equal(wanted[key], result[key]) for key in wanted)
    assert told(report)["num_classes"] == 1000
    assert told(report)["edits"] == ["in1k-head"]
    assert output(report).name.startswith("hornet-w8-gf64_1000c-in1k-head-")


def test_a_transposed_head_is_selected_rightly(tmp_path: Path) -> None:
    """Rows are rows of the tensor, however its storage lies."""
    weights = small.tensors("w8", num_classes=IN21K)
    head = weights["head.weight"]
    weights["head.weight"] = head.t().contiguous().t()
    result = load(output(run(saved(tmp_path, weights), tmp_path, "official", head="in1k")))
    assert torch.equal(head[list(labels.in1k_rows(IN21K) or ())], result["head.weight"])


@pytest.mark.parametrize(
    ("head", "num_classes"),
    [("in1k", 1000), ("in1k", 21841), ("in1k", None), (1000, 21841), (5, 10)],
)
def test_heads_that_cannot_be_had(tmp_path: Path, head: str | int, num_classes: int | None) -> None:
    """No weights are made up: the message says what there is and what is needed."""
    path = checkpoint(tmp_path, "w8", num_classes)
    with pytest.raises(UsageError, match=f"`head={json.dumps(head)}`") as caught:
        run(path, tmp_path / "out", head=head)
    assert f"--head {head}" in caught.value.message
    found = "no classifier" if num_classes is None else str(num_classes)
    assert found in (caught.value.found or "")
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("head", ["none", "keep", 10])
def test_a_head_left_out_or_kept(tmp_path: Path, head: str | int) -> None:
    """`none` gives features; a number that is there changes nothing."""
    path = checkpoint(tmp_path, "w8")
    report = run(path, tmp_path, "official", head=head)
    wanted = small.tensors("w8")
    if head == "none":
        del wanted["head.weight"], wanted["head.bias"]
        assert output(report).name.startswith("hornet-w8_0c-no-head-")
    assert wanted.keys() == load(output(report)).keys()
    assert (["no-head"] if head == "none" else []) == told(report)["edits"]


@pytest.mark.parametrize("resolution", [32, 96, 224])
def test_filters_are_resized_as_the_model_resizes_them(tmp_path: Path, resolution: int) -> None:
    """Values as torch interpolates them; nothing else changes; name and metadata say so."""
    report = run(checkpoint(tmp_path, "w8-gf64"), tmp_path, "official", resolution=resolution)
    result, source = load(output(report)), small.tensors("w8-gf64")
    for key, tensor in source.items():
        if not key.endswith("complex_weight"):
            assert torch.equal(tensor, result[key])
            continue
        side = resolution // (4 << int(key.split(".")[1]))
        planes = torch.nn.functional.interpolate(
            tensor.double().permute(3, 0, 1, 2),
            (side, side // 2 + 1),
            mode="bilinear",
            align_corners=True,
        )
        expected = planes.permute(1, 2, 3, 0).float()
        assert torch.allclose(expected, result[key], rtol=2e-7, atol=1e-9)
    assert told(report)["model"] == ("w8-gf" if resolution == 224 else f"w8-gf{resolution}")
    assert told(report)["edits"] == [f"64to{resolution}px"]
    # Not the name of a model made for that size.
    assert output(report).name.startswith(f"hornet-w8-gf64_10c-64to{resolution}px-")
    with open_checkpoint(output(report)) as result_file:
        assert ours(result_file.metadata)["edits"] == f"64to{resolution}px"


def test_resized_filters_have_the_precision_they_need(tmp_path: Path) -> None:
    """Filters stored in half precision become float32 when resized, float64 ones stay."""
    for dtype, expected in ((torch.float16, torch.float32), (torch.float64, torch.float64)):
        weights = {key: tensor.to(dtype) for key, tensor in small.tensors("w8-gf64").items()}
        result = load(output(run(saved(tmp_path, weights), tmp_path, "official", resolution=96)))
        found = {result[key].dtype for key in weights if key.endswith("complex_weight")}
        assert {expected} == found
        assert result["norm.weight"].dtype == dtype


@pytest.mark.parametrize(
    ("num_classes", "edits", "text"),
    [
        (10, {"resolution": 64}, "sized for 64 already"),
        (10, {"dtype": "float32"}, "float32 already"),
        (None, {"head": "none"}, "no classifier to leave out"),
    ],
)
def test_what_is_so_already_is_no_edit(
    tmp_path: Path, num_classes: int | None, edits: dict[str, Any], text: str
) -> None:
    """The result is the one without the option, and a note says why."""
    path = checkpoint(tmp_path, "w8-gf64", num_classes)
    plain, asked = run(path, tmp_path), run(path, tmp_path, **edits)
    assert output(plain) == output(asked)
    assert any(text in note for note in asked.notes)


@pytest.mark.parametrize("source", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_type_to_every_type(tmp_path: Path, source: torch.dtype, dtype: str) -> None:
    """Rounded as torch rounds, but for the filters, which are float32."""
    weights = {key: tensor.to(source) for key, tensor in small.tensors("w8-gf64").items()}
    report = run(saved(tmp_path, weights), tmp_path, "official", dtype=dtype)
    result = load(output(report))
    for key, tensor in weights.items():
        goal = torch.float32 if key.endswith("complex_weight") else getattr(torch, dtype)
        assert goal == result[key].dtype
        assert torch.equal(tensor.to(goal), result[key])
    # Already float32 everywhere: nothing to do. Else at least the filters change.
    unchanged = (source, dtype) == (torch.float32, "float32")
    assert ([] if unchanged else [dtype]) == told(report)["edits"]


def test_numbers_that_would_become_infinite_are_a_failure(tmp_path: Path) -> None:
    """float16 ends at 65504: tensors and numbers are named, nothing is written."""
    weights = small.tensors("w8")
    weights["stages.2.5.pwconv1.weight"][3, 2] = 1e6
    weights["stages.2.5.pwconv1.weight"][0, 0] = -7e4
    path = saved(tmp_path, weights)
    request = Request(tmp_path / "out", edits=Edits(dtype="float16"))
    report = convert(path, request, forward=False)
    values = row(report, "values")
    assert values.status == "fail"
    assert report.output is None
    assert "2 numbers are too large for float16" in values.detail
    assert "stages.2.blocks.5.mlp.fc1.weight" in values.detail
    assert [] == list((tmp_path / "out").iterdir())
    assert run(path, tmp_path / "out", dtype="bfloat16")


def test_numbers_that_become_zero_are_counted(tmp_path: Path) -> None:
    """They are reported, not refused."""
    weights = small.tensors("w8")
    weights["stages.2.5.pwconv1.weight"][:3, 2] = 1e-9
    report = run(saved(tmp_path, weights), tmp_path, dtype="float16")
    assert any("560 tensors rounded to float16, 3 numbers to zero" in n for n in report.notes)


def test_rounding_and_back_is_not_taken_for_the_original(tmp_path: Path) -> None:
    """A float32 file made of float16 says what it went through."""
    path = checkpoint(tmp_path, "w8")
    half = run(path, tmp_path, dtype="float16")
    wide = run(output(half), tmp_path, dtype="float32")
    assert ["float16", "float32"] == told(wide)["edits"]
    assert "hornet-w8_10c-float16-float32-" in output(wide).name
    assert run(path, tmp_path).fingerprint != told(wide)["fingerprint"]


@pytest.mark.parametrize("edits", [{"dtype": "bfloat16"}, {"resolution": 96}])
def test_8_bit_numbers_are_not_computed_with(tmp_path: Path, edits: dict[str, Any]) -> None:
    """They are copied as they are, or refused by name."""
    tensors = small.tensors("w8-gf64")
    weights = {key: tensor.to(torch.float8_e5m2) for key, tensor in tensors.items()}
    path = saved(tmp_path, weights)
    with pytest.raises(UsageError, match="float8_e5m2"):
        run(path, tmp_path / "out", **edits)
    assert not (tmp_path / "out").exists()
    for container in FORMATS:
        result = load(output(run(path, tmp_path, "official", container)), "official")
        for key, tensor in weights.items():
            assert torch.equal(tensor.view(torch.uint8), result[key].view(torch.uint8))


def test_everything_at_once(tmp_path: Path) -> None:
    """Averaged weights, another size, another type, no head, in OpenMMLab's `.pth`."""
    path = small.write(tmp_path / "in.pth", "training-zip", "w8-gf64", num_classes=IN21K)
    edits: dict[str, Any] = {"head": "in1k", "resolution": 96, "dtype": "bfloat16"}
    report = run(path, tmp_path, "openmmlab", "pth", ema=True, **edits)
    assert ["64to96px", "in1k-head", "bfloat16"] == told(report)["edits"]
    assert output(report).name.startswith("hornet-w8-gf64_1000c-64to96px-in1k-head-bfloat16-")
    result = load(output(report), "openmmlab")
    averaged = small.tensors("w8-gf64", "openmmlab", num_classes=IN21K, label="w8-gf64/ema")
    assert averaged.keys() == result.keys()
    rows = list(labels.in1k_rows(IN21K) or ())
    assert torch.equal(averaged["head.fc.bias"][rows].bfloat16(), result["head.fc.bias"])
    record = checks_in(provenance(output(report).with_suffix(".json").read_text()))
    source = record["source"]
    assert source["fingerprint"] == report.fingerprint
    assert record["fingerprint"] == told(report)["fingerprint"] != report.fingerprint
    assert (record["model"], source["model"], source["ema"]) == ("w8-gf96", "w8-gf64", "taken")
    assert (record["format"], record["num_classes"]) == ("pth", 1000)
    # The verdict is on the source alone.
    assert source["verdict"] == "consistent"
    assert "verdict" not in record


def test_a_backbone_lists_what_starts_fresh(tmp_path: Path) -> None:
    """In the notes and in the record beside it."""
    report = run(checkpoint(tmp_path, "w8"), tmp_path, "backbone", head="none")
    record = checks_in(provenance(output(report).with_suffix(".json").read_text()))
    assert ["norm0", "norm1", "norm2", "norm3"] == record["starts_fresh"]
    assert any("norm0, norm1, norm2, norm3" in note for note in report.notes)


def test_only_unedited_weights_have_the_published_name() -> None:
    """The row's stem for its weights as they are; for anything else our own."""
    published = zoo.BY_NAME["large-gf"]
    architecture = published.architecture
    assert published.stem == stem(architecture, IN21K, (), published)
    edited = stem(architecture, 1000, ("in1k-head",), published)
    assert "hornet-large-gf_1000c-in1k-head" == edited
    resized = zoo.BY_NAME["large-gf384"].architecture
    assert "hornet-large-gf_10459c-224to384px" == stem(resized, IN21K, ("224to384px",), published)
    for tokens in itertools.permutations(("in1k-head", "float16", "224to384px"), 2):
        with pytest.raises(UsageError):
            zoo.find(stem(resized, 1000, tokens, published))


def test_averaged_weights_of_a_published_file_have_our_own_name(tmp_path: Path) -> None:
    """The published file's name stands for its plain weights."""
    path = small.write(tmp_path / "in.pth", "training-zip", "w8")
    tiny = zoo.BY_NAME["tiny"]
    for ema, expected in ((False, tiny.stem), (True, "hornet-w8_10c")):
        report = convert(path, Request(tmp_path, row=tiny, ema=ema), forward=False)
        assert output(report).name.startswith(f"{expected}-")


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31m",
        "float16 ../../x",
        "224to384px" * 200,
        "no-head  float16",
        "",
        "float16 float32 " * 5 + "float16",
        "\u0662\u0662\u0664to384px",
    ],
)
def test_strange_metadata_tells_of_nothing(text: str) -> None:
    """What is not of our making does not get into names."""
    assert () == history(text, ())
    assert ("float16",) == history(text, ("float16",))


def test_a_history_ends() -> None:
    """Too many edits are refused before the name grows beyond what file systems take."""
    many = ["float16", "float32"] * (MAX_EDITS // 2)
    assert tuple(many) == history(" ".join(many), ())
    with pytest.raises(UsageError, match="too often"):
        history(" ".join(many), ("float16",))
