"""Two checkpoints side by side: what is the same, what is not, what the difference looks like."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fixtures import small
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME, DTYPES
from hornet_convert.cli import run
from hornet_convert.comparison.compare import compare
from hornet_convert.comparison.difference import Comparer
from hornet_convert.comparison.outcome import Comparison, Reshaped
from hornet_convert.errors import FileRefusedError, UsageError
from hornet_convert.numbers.casting import CASTABLE
from hornet_convert.numbers.elements import numbers
from tests.documents import only

Capture = pytest.CaptureFixture[str]
Weights = dict[str, torch.Tensor]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Seeded normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def weights() -> Weights:
    """A few tensors of no HorNet."""
    return {
        "block.0.weight": random(20, 30),
        "block.0.bias": random(20, seed=1),
        "block.1.weight": random(30, 20, seed=2),
        "block.1.bias": random(30, seed=3),
        "head.weight": random(10, 30, seed=4),
    }


def compared(tmp_path: Path, a: Weights, b: Weights) -> Comparison:
    """Two state dicts, saved and compared."""
    torch.save(a, tmp_path / "a.pth")
    torch.save(b, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    return compare(tmp_path / "a.pth", tmp_path / "b.pth")


@pytest.mark.parametrize("form", small.FORMS)
def test_the_same_weights_are_equal_in_any_form(tmp_path: Path, form: small.Form) -> None:
    """Container, wrapper, layout and prefix make no difference, and the fingerprints agree."""
    a = small.write(tmp_path / "a", "official-zip", "w8")
    b = small.write(tmp_path / "b", form, "w8")
    found = compare(a, b)
    assert found
    assert found.look == "equal"
    assert found.same == 560
    assert found.a.fingerprint == found.b.fingerprint is not None


def test_a_hornet_is_compared_under_its_reference_names(tmp_path: Path) -> None:
    """Across layouts, the tensor that differs is the one named."""
    a = small.write(tmp_path / "a.pth", "official-zip", "w8")
    changed = small.tensors("w8", "openmmlab")
    changed["backbone.stages.2.7.gnconv.projs.1.bias"][3] *= 1.01
    torch.save({"state_dict": changed}, tmp_path / "b.pth")
    found = compare(a, tmp_path / "b.pth")
    assert ["stages.2.blocks.7.gnconv.pws.1.bias"] == [change.name for change in found.changed]
    assert ["stages.2.blocks.7"] == [block.block for block in found.blocks]
    assert "1 number differs, in stages.2.blocks.7.gnconv.pws.1.bias" in found.sentence


def test_missing_added_and_reshaped_are_listed(tmp_path: Path, weights: Weights) -> None:
    """Nothing that is on one side only is passed over."""
    other = dict(weights)
    del other["block.0.bias"]
    other["block.2.bias"] = random(4)
    other["head.weight"] = random(37, 30)
    found = compared(tmp_path, weights, other)
    assert found.missing == ("block.0.bias",)
    assert found.added == ("block.2.bias",)
    assert found.reshaped == (Reshaped("head.weight", (10, 30), (37, 30)),)
    assert found.same == 3
    for text in ("1 only in A: block.0.bias", "1 only in B", "1 of another shape", "3 tensors are"):
        assert text in found.sentence


def _rounded(dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: tensor.to(dtype).to(tensor.dtype)


LOOKS: list[tuple[str, str, Callable[[torch.Tensor], torch.Tensor]]] = [
    ("precision", "B is A rounded to float16", _rounded(torch.float16)),
    ("precision", "B is A rounded to bfloat16", _rounded(torch.bfloat16)),
    ("precision", "B is A rounded to float16", lambda t: t.half()),
    ("precision", "B is A rounded to bfloat16", lambda t: t.bfloat16()),
    ("type", "float32 in A, float64 in B", lambda t: t.double()),
    ("last digits", "other last digits", lambda t: t * (1 + 1e-7)),
    ("scale", "times 1.01", lambda t: t * 1.01),
    ("scale", "times -1", lambda t: -t),
    ("scale", "times 0", torch.zeros_like),
    ("ema", "an averaged (EMA) twin", lambda t: t + 0.02 * random(*t.shape, seed=9)),
    ("other", "Other weights in 5 tensors", lambda t: random(*t.shape, seed=9)),
    ("other", "Other weights in 5 tensors", lambda t: t + random(*t.shape, seed=9)),
]


@pytest.mark.parametrize(("look", "text", "change"), LOOKS)
def test_what_a_difference_looks_like(
    tmp_path: Path,
    weights: Weights,
    look: str,
    text: str,
    change: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """Rounding, type, scale, average and other weights are told apart, each in a sentence."""
    found = compared(tmp_path, weights, {key: change(t) for key, t in weights.items()})
    assert look == found.look, found.sentence
    assert text in found.sentence
    assert not found


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_the_side_that_was_rounded_is_named(tmp_path: Path, weights: Weights, name: str) -> None:
    """A may be the rounded one as well."""
    rounded = {key: tensor.to(getattr(torch, name)) for key, tensor in weights.items()}
    assert f"A is B rounded to {name}" in compared(tmp_path, rounded, weights).sentence


def test_a_model_rounded_but_for_its_filters_is_a_change_of_precision(tmp_path: Path) -> None:
    """Filters stay in float32 at any precision: they are the same, and the rest is rounded."""
    whole = small.tensors("w8-gf")
    rounded = {k: t if k.endswith("complex_weight") else t.half() for k, t in whole.items()}
    found = compared(tmp_path, whole, rounded)
    assert found.look == "precision"
    assert found.same == 20


def test_a_scaled_tensor_among_equal_ones_is_named(tmp_path: Path, weights: Weights) -> None:
    """Factors of its own for each tensor are told from one factor for all."""
    other = weights | {"block.0.weight": weights["block.0.weight"] * 3}
    assert "block.0.weight of B is that of A times 3" in compared(tmp_path, weights, other).sentence
    other |= {"block.1.weight": weights["block.1.weight"] / 2}
    assert "a factor of its own, 0.5 to 3" in compared(tmp_path, weights, other).sentence


def test_swapped_tensors_are_recognised(tmp_path: Path) -> None:
    """What is A's tensor under another name is said to be that."""
    whole = small.tensors("w8")
    swapped = dict(whole)
    item, two = "stages.2.4.norm1.weight", "stages.2.4.norm2.weight"
    swapped[item], swapped[two] = whole[two], whole[item]
    found = compared(tmp_path, whole, swapped)
    assert found.look == "moved"
    assert len(found.changed) == 2
    prefix = "stages.2.blocks.4"
    assert f"{prefix}.norm1.weight of B is {prefix}.norm2.weight of A" in found.sentence


def test_equal_tensors_are_not_taken_for_moved(tmp_path: Path, weights: Weights) -> None:
    """That a bias became zero, like two others, does not say where it came from."""
    zeros = weights | {"block.2.bias": torch.zeros(20), "block.3.bias": torch.zeros(20)}
    found = compared(tmp_path, zeros, zeros | {"block.0.bias": torch.zeros(20)})
    assert [None] == [change.same_as for change in found.changed]


def test_another_classifier_is_told_from_other_weights(tmp_path: Path) -> None:
    """A fine-tuned head on the same backbone."""
    whole = small.tensors("w8")
    other = whole | {"head.weight": random(10, 64), "head.bias": random(10)}
    assert "Another classifier (head.fc)" in compared(tmp_path, whole, other).sentence


def test_changes_of_several_kinds_are_counted(tmp_path: Path, weights: Weights) -> None:
    """No kind is passed off as another."""
    other = dict(weights)
    other["block.0.weight"] = weights["block.0.weight"] * 2
    other["block.1.weight"] = random(30, 20, seed=9)
    found = compared(tmp_path, weights, other)
    assert "mixed" == found.look
    assert "1 scaled" in found.sentence
    assert "1 other weights" in found.sentence


def test_signs_of_zero_and_not_a_number_are_compared_bit_by_bit(
    tmp_path: Path, weights: Weights
) -> None:
    """NaN equals itself, 0 does not equal -0, and a NaN that came in is counted."""
    weights["block.0.bias"][:2] = torch.tensor([torch.nan, 0.0])
    assert compared(tmp_path, weights, weights)
    minus = weights | {"block.0.bias": weights["block.0.bias"].clone()}
    minus["block.0.bias"][1] = -0.0
    assert [1] == [c.difference.different for c in compared(tmp_path, weights, minus).changed]
    broken = weights | {"block.1.bias": weights["block.1.bias"].clone()}
    broken["block.1.bias"][4] = torch.inf
    found = compared(tmp_path, weights, broken)
    [change] = found.changed
    assert change.difference.different == 1
    assert change.difference.not_finite == 1
    json.dumps(found.as_json(), allow_nan=False)


@pytest.mark.parametrize("code", sorted(DTYPES))
def test_every_element_type_is_compared(code: str) -> None:
    """One changed element is found in any type, also where numpy has none."""
    dtype = DTYPES[code]
    raw = np.random.default_rng(0).integers(0, 2, 64 * dtype.itemsize, np.uint8)
    other = raw.copy()
    other[-1] ^= 1  # the highest byte of the last element
    comparer = Comparer(dtype, dtype)
    comparer.update(raw, other)
    assert 1 == comparer.result().different
    assert 64 * (2 if dtype.kind == "complex" else 1) == comparer.result().numel


@pytest.mark.parametrize("name", sorted(n for n, d in BY_TORCH_NAME.items() if d.kind != "complex"))
def test_values_are_those_of_torch(name: str) -> None:
    """Every pattern of one and two bytes, and seeded ones of more, decoded as torch does."""
    dtype = BY_TORCH_NAME[name]
    raw = np.random.default_rng(0).integers(0, 256, 1 << 12, np.uint8)
    if dtype.kind == "bool":
        raw &= 1
    elif dtype.itemsize == 1:
        raw = np.arange(256, dtype=np.uint8)
    elif dtype.itemsize == 2:
        raw = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)
    torch_dtype: torch.dtype = getattr(torch, name)
    wanted = torch.from_numpy(raw.copy()).view(torch_dtype).double().numpy()
    np.testing.assert_array_equal(wanted, numbers(raw, dtype))
    assert dtype.kind == "float" or dtype.code not in CASTABLE


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_pieces_do_not_matter(pieces: int) -> None:
    """The outcome is that of the whole, however the tensor is cut."""
    a = random(999).numpy()
    b = a + random(999, seed=1).numpy() * 0.01
    comparer = Comparer(DTYPES["F32"], DTYPES["F32"])
    for x, y in zip(np.array_split(a, pieces), np.array_split(b, pieces), strict=True):
        comparer.update(x.view(np.uint8), y.view(np.uint8))
    many = comparer.result()
    assert many.different == (a != b).sum()
    assert many.largest_absolute == np.abs(a.astype(float) - b).max()
    assert many.kind == "ema"
    exact = np.corrcoef(a.astype(float), b.astype(float))[0, 1]
    assert many.correlation == pytest.approx(exact, abs=1e-12)
    norm = np.linalg.norm(a.astype(float) - b) / np.linalg.norm(a.astype(float))
    assert many.distance == pytest.approx(norm, rel=1e-9)


def test_averaged_weights_of_b_can_be_taken(tmp_path: Path) -> None:
    """`--ema` compares with the averaged weights, and says so if there are none."""
    a = small.write(tmp_path / "a.pth", "official-zip", "w8", label="w8/ema")
    b = small.write(tmp_path / "b.pth", "training-zip", "w8", label="w8")
    assert not compare(a, b)
    assert compare(a, b, ema=True)
    with pytest.raises(UsageError):
        compare(b, a, ema=True)


def test_names_that_clash_are_kept_apart(tmp_path: Path) -> None:
    """A key that is spelt like the reference name of another one is not merged with it."""
    whole = small.tensors("w8")
    double = whole | {"head.fc.weight": random(3, 3), "stem.0.weight": random(2)}
    found = compared(tmp_path, whole, double)
    assert found.same == 560
    assert len(found.added) == 2


def test_on_the_command_line(tmp_path: Path, weights: Weights, capsys: Capture) -> None:
    """0 for equal, 1 for different, 4 for what is no checkpoint; one document with --json."""
    torch.save(weights, tmp_path / "a.pth")
    torch.save({key: -tensor for key, tensor in weights.items()}, tmp_path / "b.pth")
    a, b = str(tmp_path / "a.pth"), str(tmp_path / "b.pth")
    for other, code in ((a, 0), (b, 1)):
        assert code == run(["compare", a, other, "--json"])
        document = only(capsys.readouterr().out)
        assert (code == 0) == document["equal"]
        assert ("pass" if code == 0 else "fail") == document["status"]
    members = {"a", "b", "missing", "added", "reshaped", "changed", "blocks", "sentence"}
    assert members <= document.keys()
    assert 1 == run(["compare", a, b, "--tensors"])
    shown = capsys.readouterr().out
    assert "DIFFERENT A change of scale" in shown
    assert "600 of 600" in shown
    (tmp_path / "page").write_text("<html></html>")
    with pytest.raises(FileRefusedError):
        compare(tmp_path / "a.pth", tmp_path / "page")
    assert 4 == run(["compare", a, str(tmp_path / "page"), "--json"])
