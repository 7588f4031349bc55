"""Files that are no ordinary ones: huge filters, no classes, empty tensors, decimal names."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from fixtures import small
from hornet_convert.api.checkpoints import verify
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.state_dict import StateDict
from hornet_convert.checks.identity import Identity
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.checks.verify import against
from hornet_convert.comparison.compare import compare
from hornet_convert.conversion.expected import TYPES, Contents, Expected
from hornet_convert.conversion.readback import Wanted
from hornet_convert.errors import MalformedError
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.file_names import digits_in
from hornet_convert.model.forward import forward_check, prove
from hornet_convert.report.trace import Probe
from tests.conversion.run import row


def saved(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    """A bare state dict."""
    torch.save(weights, path)
    return path


def damaged(path: Path, key: str = "head.weight") -> Path:
    """The small model with one bit of one tensor turned, which the zip's CRC tells."""
    weights = small.tensors("w8")
    data = bytearray(saved(path, weights).read_bytes())
    data[data.index(weights[key].numpy().tobytes()) + 2] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["w8-gf1056", "w8-gf16000"])
def test_images_that_only_the_file_asks_for_have_a_limit(name: str) -> None:
    """No weight is read, none computed, edited or not; with a size the check is made."""
    architecture = Architecture.from_name(name)
    nothing: Any = None
    result = Checkpoint(Path("x"), "safetensors", 0, nothing, nothing, {}, {})
    file = ModelFile(nothing, StateDict({}), Identity("reference", architecture, 10))
    unchecked = forward_check(file)
    assert unchecked.status == "not checked"
    assert "--image-size" in unchecked.detail
    assert forward_check(file, Probe(image_size=64)).status == "fail"
    shapes = architecture.shapes(None).items()
    rows = {
        key: Expected(key, key, nothing, TYPES["float32"], shape)
        for key, shape in shapes
        if key == "stem.0.weight" or key.endswith("2.blocks.0.gnconv.dwconv.complex_weight")
    }
    asked = Wanted(nothing, nothing, Contents("reference", rows))
    assert prove(file, asked, result).check.status == "not checked"


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        *((dtype, "not trained") for dtype in (torch.float32, torch.float16, torch.bfloat16)),
        (torch.float64, "not trained"),
        (torch.float8_e4m3fn, "all zero"),
        (torch.float8_e5m2, "all zero"),
    ],
)
def test_untrained_layer_scales_are_seen_in_every_precision(
    tmp_path: Path, dtype: torch.dtype, text: str
) -> None:
    """1e-6 rounded to 16 bits is still the initial value; in 8 bits it is zero."""
    weights = {
        key: torch.full_like(tensor, 1e-6).to(dtype) if ".gamma" in key else tensor
        for key, tensor in small.tensors("w8").items()
    }
    values = row(verify(saved(tmp_path / "in.pth", weights), forward=False), "values")
    assert values.status == "fail"
    assert text in values.detail


def test_a_damaged_file_is_equal_to_none(tmp_path: Path) -> None:
    """Not even to its own copy: what its weights were cannot be told."""
    a = damaged(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(a.read_bytes())
    found = compare(a, tmp_path / "b.pth")
    assert found.as_json()["status"] == "fail"
    assert not found.as_json()["equal"]
    assert ("head.fc.weight",) == found.a.damaged == found.b.damaged
    for letter in "AB":
        assert f"{letter} is damaged" in found.sentence


def test_a_damaged_reference_is_refused(tmp_path: Path) -> None:
    """It cannot make a file authentic, and the message names what is wrong with it."""
    bad = damaged(tmp_path / "bad.pth")
    with pytest.raises(MalformedError, match=r"CRC mismatch in head\.weight") as caught:
        against(str(bad), tmp_path / "subject.pth")
    assert str(bad) == caught.value.where


def test_an_empty_tensor_is_not_damaged(tmp_path: Path) -> None:
    """A storage of no bytes does not hide its neighbour's, whose CRC is right or wrong."""
    weights = {f"t{n}": torch.arange(float(n % 3)) for n in range(12)}
    whole = saved(tmp_path / "a.pth", weights)
    assert compare(whole, whole)
    no_bytes = saved(tmp_path / "b.pth", {key: torch.empty(0) for key in weights})
    assert compare(no_bytes, no_bytes)
    data = bytearray(whole.read_bytes())
    data[data.index(torch.arange(2.0).numpy().tobytes()) + 7] ^= 1
    whole.write_bytes(data)
    assert 1 == len(compare(whole, whole).a.damaged)


def test_a_classifier_of_no_classes_fails(tmp_path: Path) -> None:
    """As a tensor of the wrong shape; nothing is computed."""
    weights = small.tensors("w8")
    for key in ("head.weight", "head.bias"):
        weights[key] = weights[key][:0]
    report = verify(saved(tmp_path / "in.pth", weights))
    tensors = row(report, "tensors")
    assert tensors.status == "fail"
    assert "head.fc.weight is 0×64" in tensors.detail
    assert report.num_classes == 0


@pytest.mark.parametrize("complex_side", ["a", "b"])
def test_complex_and_real_numbers_differ(tmp_path: Path, complex_side: str) -> None:
    """Whatever their values: a real number's imaginary part is zero."""
    real = {"weight": torch.arange(6.0)}
    made = {"weight": torch.arange(6.0) + 2j}
    a, b = (made, real) if complex_side == "a" else (real, made)
    found = compare(saved(tmp_path / "a.pth", a), saved(tmp_path / "b.pth", b))
    difference = found.changed[0].difference
    assert difference.kind == "other"
    assert (difference.numel, difference.different) == (12, 6)
    assert difference.largest_absolute == 2.0


def test_decimal_digits_in_a_name_are_not_taken_for_a_digest() -> None:
    """A date claims nothing; the file's own digits and published ones do, and so does hex."""
    sha256 = hashlib.sha256(b"file").hexdigest()
    for name in ("hornet-20220915.pth", "x-1234567890.pt"):
        assert digits_in(name, sha256) is None
    assert digits_in("x-20220915.pth", "20220915" + sha256[8:]) == "20220915"
    assert digits_in("x-80894290.pth", sha256) == "80894290"
    assert digits_in("x-deadbeef.pth", sha256) == "deadbeef"


def test_what_other_programs_write_into_metadata_is_not_ours(tmp_path: Path) -> None:
    """A text called `fingerprint`, or `edits`, in a safetensors header says nothing here."""
    path = tmp_path / "in.safetensors"
    metadata = {"fingerprint": "sha1:0", "edits": "float16", "model": "tiny"}
    path.write_bytes(safetensors.torch.save(small.tensors("w8"), metadata))
    report = verify(path, forward=False)
    assert report.to_json()["verdict"] == "consistent"
    assert row(report, "fingerprint").status == "not checked"
    assert not any("edited" in note for note in report.notes)
    ours = {"hornet_convert.fingerprint": "0" * 64}
    path.write_bytes(safetensors.torch.save(small.tensors("w8"), ours))
    assert row(verify(path, forward=False), "fingerprint").status == "fail"


def test_zero_biases_do_not_contradict_the_sentence_on_zeros(tmp_path: Path) -> None:
    """No weight is all zero, and which biases are is said beside it; without any, nothing is."""
    weights = small.tensors("w8")
    assert "bias" not in row(verify(saved(tmp_path / "in.pth", weights)), "values").detail
    weights["norm.bias"] = torch.zeros(64)
    text = row(verify(saved(tmp_path / "in.pth", weights), forward=False), "values").detail
    assert "no weight all zero (1 bias is: head.norm.bias)" in text


def test_verify_does_not_say_what_is_beside_the_point(tmp_path: Path) -> None:
    """No row on reading back what nobody wrote, nothing of CRCs where no tensor is a HorNet's."""
    sound = saved(tmp_path / "in.pth", small.tensors("w8"))
    strange = saved(tmp_path / "strange.pth", {"layer.weight": torch.ones(3)})
    for path in (sound, strange):
        report = verify(path, forward=False)
        assert "readback" not in {check.code for check in report.checks}
    container = row(verify(strange, forward=False), "container")
    assert container.status == "not checked"  # it records CRCs; what it lacks is a HorNet's tensor
    assert "none of the tensors in this zip file is a HorNet's" in container.detail
