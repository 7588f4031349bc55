"""Files that are met again and again are recognised, and said in a sentence with what to do."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import verify
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.state_dict import StateDict
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor, dense_strides
from hornet_convert.checks.findings import Findings
from hornet_convert.checks.identity import identify
from hornet_convert.checks.kinds import explained, recognise
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.checks.scan import Scan
from hornet_convert.family import zoo
from hornet_convert.family.architecture import Architecture, Shape
from hornet_convert.family.layouts import Layout, remap
from hornet_convert.report.check import failed, passed

NO_HASH = "0" * 64


def shapes(name: str, layout: Layout = "official", classes: int | None = 1000) -> dict[str, Shape]:
    """Shapes of a full-size model by key of a layout."""
    reference = Architecture.from_name(name).shapes(classes)
    names = remap(reference, "reference", layout).names
    return {names[key]: shape for key, shape in reference.items()}


def found(
    given: Mapping[str, Shape],
    *,
    untrained: Iterable[str] = (),
    sha256: str = NO_HASH,
    named: str = "",
) -> dict[str, str]:
    """What is recognised in a file of these names and shapes, whose name ends in these digits."""
    storage = Storage(0, 1 << 40)
    tensors = {
        key: Tensor(DTYPES["F32"], shape, dense_strides(shape), 0, storage)
        for key, shape in given.items()
    }
    nothing: Any = None  # no byte of it is read
    path = Path(f"x-{named}.pth")
    checkpoint = Checkpoint(path, "zip", 0, nothing, nothing, nothing, nothing)
    file = ModelFile(checkpoint, StateDict(tensors, (), "", False, None, ()), identify(tensors))
    vars(file)["untrained"] = tuple(untrained)
    return recognise(Findings(file, Scan(sha256)))


@pytest.mark.parametrize("row", zoo.MODELS, ids=lambda row: row.name)
@pytest.mark.parametrize("layout", ["reference", "official", "openmmlab"])
def test_a_published_model_is_nothing_special(row: zoo.Published, layout: Layout) -> None:
    """With its usual head or none, in any layout, by its current hash and name."""
    usual = {"in1k": [1000, None], "in21k": [10459, 21841, None]}[row.dataset]
    for classes in usual:
        given = shapes(row.name, layout, classes)
        assert {} == found(given, sha256=row.sha8 + NO_HASH[8:], named=row.sha8)


@pytest.mark.parametrize("row", [row for row in zoo.MODELS if row.superseded], ids=lambda r: r.name)
def test_superseded_publications_are_known_by_hash_and_by_name(row: zoo.Published) -> None:
    """The sentence says which file replaced it and how to get that."""
    for old in row.superseded:
        by_hash = found(shapes(row.name), sha256=old + NO_HASH[8:])
        by_name = found(shapes(row.name), named=old)
        for kinds, start in ((by_hash, "This is"), (by_name, "By its name this is")):
            assert kinds["checksum"].startswith(f"{start} OpenMMLab's publication of {row.label}")
            assert f"({row.sha8}): `hornet-convert fetch {row.name}`" in kinds["checksum"]


def test_digits_of_another_model_are_no_identification() -> None:
    """A hash that begins like tiny's on a file that holds base is suspicious."""
    kinds = found(shapes("base"), sha256=zoo.BY_NAME["tiny"].sha8 + NO_HASH[8:])
    assert "HorNet-T, and the file holds base" in kinds["checksum"]


def test_filters_of_any_other_wrong_size_are_not_taken_for_those() -> None:
    """The sizes are what the sentence is about."""
    given = shapes("large-gf384", classes=10459)
    key = next(key for key in given if key.endswith("complex_weight"))
    given[key] = (given[key][0], 20, 11, 2)
    assert {} == found(given)


@pytest.mark.parametrize(("name", "classes"), [("tiny", 37), ("base-gf", 10459), ("large", 1000)])
def test_another_head_is_said(name: str, classes: int) -> None:
    """A class count that is not the training data's: fine-tuned, or another head."""
    kinds = found(shapes(name, classes=classes))
    assert f"The head has {classes} classes" in kinds["model"]
    assert "--head none" in kinds["model"]


def test_a_head_on_a_model_that_is_not_published_is_not_judged() -> None:
    """Nobody knows how many classes it should have."""
    assert {} == found(shapes("w8-gf", classes=37))


def test_an_untrained_model_is_told_from_blocks_without_their_weights() -> None:
    """All layer scales at 1e-6 is a fresh model; some are a load that left keys out."""
    given = shapes("tiny", "reference")
    every = [key for key in given if key.endswith((".gamma1", ".gamma2"))]
    fresh = found(given, untrained=every)["values"]
    assert "before training" in fresh
    assert "fetch tiny" in fresh
    some = found(given, untrained=every[:3])["values"]
    assert "stages.0.blocks.0, stages.0.blocks.1" in some
    assert "strict=False" in some


def _backbone(name: str, layout: Layout) -> dict[str, Shape]:
    """Keys of a classification model without its head, with a norm after each stage."""
    final = ("backbone.norm3.", "norm.")
    given = {k: s for k, s in shapes(name, layout, None).items() if not k.startswith(final)}
    prefix = "backbone." if layout == "openmmlab" else ""
    for stage, width in enumerate(Architecture.from_name(name).widths):
        given |= {f"{prefix}norm{stage}.{p}": (width,) for p in ("weight", "bias")}
    return given


@pytest.mark.parametrize("row", zoo.MODELS, ids=lambda row: row.name)
@pytest.mark.parametrize("form", ["official", "official in a detector", "openmmlab"])
def test_backbones_of_detectors_are_known(row: zoo.Published, form: str) -> None:
    """In the authors' names, bare or within a detector, and in OpenMMLab's."""
    given = _backbone(row.name, "openmmlab" if form == "openmmlab" else "official")
    if form != "official":
        given = {f"backbone.{key.removeprefix('backbone.')}": s for key, s in given.items()}
        given |= {f"neck.convs.{n}.weight": (8, 8, 1, 1) for n in range(60)}
        given |= {f"roi_head.fcs.{n}.weight": (8, 8) for n in range(60)}
    text = found(given)["keys"]
    assert f"the backbone of {row.label} of a detector or segmenter" in text
    assert f"fetch {row.name}" in text
    assert ("beside neck, roi_head" in text) == (form != "official")


@pytest.mark.parametrize(
    "given",
    [
        {"norm0.weight": (8,), "conv.weight": (8, 8, 3, 3), "fc.weight": (8, 8)},
        {f"backbone.layers.{n}.norm1.weight": (8,) for n in range(40)} | {"norm0.weight": (8,)},
        {},
    ],
)
def test_other_networks_are_not_taken_for_backbones(given: dict[str, Shape]) -> None:
    """A norm0 alone makes no HorNet."""
    assert {} == found(given)


def test_a_failed_check_is_explained_and_the_rest_are_notes() -> None:
    """The sentence goes where the reader looks first, and is said once."""
    kinds = {"keys": "A backbone.", "checksum": "Superseded."}
    rows, notes = explained([failed("keys", "8 missing"), passed("checksum", "as said")], kinds)
    assert [row.detail for row in rows] == ["A backbone. In detail: 8 missing", "as said"]
    assert notes == ["Superseded."]


def test_verify_says_it(tmp_path: Path) -> None:
    """From the file to the sentence: a fresh model, one fresh block, a backbone."""
    weights = small.tensors("w8")
    scales = [key for key in weights if "gamma" in key]

    def checked(name: str) -> dict[str, str]:
        torch.save(weights, tmp_path / name)
        return {c.code: c.detail for c in verify(tmp_path / name, forward=False).checks}

    weights[scales[4]] = torch.full_like(weights[scales[4]], 1e-6)
    assert "strict=False" in checked("some.pth")["values"]
    weights |= {key: torch.full_like(weights[key], 1e-6) for key in scales}
    assert "before training" in checked("fresh.pth")["values"]
    weights = small.tensors("w8", num_classes=None)
    weights |= {f"norm{s}.{p}": torch.ones(8 << s) for s in range(4) for p in ("weight", "bias")}
    del weights["norm.weight"], weights["norm.bias"]
    assert "a backbone for detection or segmentation" in checked("backbone.pth")["keys"]


def test_the_wrong_filters_of_large_gf384(tmp_path: Path) -> None:
    """OpenMMLab's definition has 24×12 and 13×7: explained at once, with every shape after it."""
    weights = small.tensors("w8-gf384")
    for key, tensor in weights.items():
        if key.endswith("complex_weight"):
            size = {24: (24, 12), 12: (13, 7)}[tensor.shape[1]]
            weights[key] = torch.randn(tensor.shape[0], *size, 2)
    torch.save(weights, tmp_path / "in.pth")
    rows = {c.code: c.detail for c in verify(tmp_path / "in.pth", forward=False).checks}
    assert rows["tensors"].startswith("20 filters have the sizes 24×12 and 13×7")
    assert "fetch large-gf384" in rows["tensors"]
    assert "is 30×24×12×2, should be 30×24×13×2" in rows["tensors"]
