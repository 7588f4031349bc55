"""Files that are no ordinary ones: huge filters, no classes, empty tensors, decimal names."""

import hashlib
from pathlib import Path

import pytest
import torch

from fixtures import small
from hornet_convert.comparison.compare import compare
from hornet_convert.conversion.plan import Plan
from hornet_convert.conversion.result_name import history
from hornet_convert.errors import MalformedError
from hornet_convert.family.architecture import Architecture
from hornet_convert.model.check import forward_check
from hornet_convert.model.edited import edited_check
from hornet_convert.verification.digest_checks import reference_by_name
from hornet_convert.verification.identity import Identity
from hornet_convert.verification.references import against
from hornet_convert.verification.report import Check, Report
from hornet_convert.verification.trace import Probe
from hornet_convert.verification.verify import verify

SHA = hashlib.sha256(b"file").hexdigest()


def row(report: Report, code: str) -> Check:
    """One check."""
    return next(check for check in report.checks if check.code == code)


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
    unread: dict[str, torch.Tensor] = {}
    unchecked = forward_check(unread, "reference", unread, architecture, 10)
    assert ("not checked", True) == (unchecked.status, "--image-size" in unchecked.detail)
    probe = Probe(image_size=64)
    assert "fail" == forward_check(unread, "reference", unread, architecture, 10, probe).status
    identity = Identity("reference", architecture, 10)
    made = Plan("reference", {}, architecture, None, ("no-head",))
    assert "not checked" == edited_check(unread, identity, unread, made).status


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_untrained_layer_scales_are_seen_in_every_precision(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    """1e-6 rounded to 16 bits is still the initial value."""
    weights = {
        key: (torch.full_like(tensor, 1e-6) if ".gamma" in key else tensor).to(dtype)
        for key, tensor in small.tensors("w8").items()
    }
    values = row(verify(saved(tmp_path / "in.pth", weights), forward=False), "values")
    assert ("fail", True) == (values.status, "not trained" in values.detail)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_untrained_layer_scales_in_8_bits_do_not_pass(tmp_path: Path, dtype: torch.dtype) -> None:
    """There 1e-6 is zero."""
    weights = {
        key: torch.full_like(tensor, 1e-6).to(dtype) if ".gamma" in key else tensor
        for key, tensor in small.tensors("w8").items()
    }
    values = row(verify(saved(tmp_path / "in.pth", weights), forward=False), "values")
    assert ("fail", True) == (values.status, "all zero" in values.detail)


def test_a_damaged_file_is_equal_to_none(tmp_path: Path) -> None:
    """Not even to its own copy: what its weights were cannot be told."""
    a = damaged(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(a.read_bytes())
    found = compare(a, tmp_path / "b.pth")
    assert not found
    assert ("fail", False) == (found.as_json()["status"], found.as_json()["equal"])
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
    assert ("fail", True) == (tensors.status, "head.fc.weight is 0×64" in tensors.detail)
    assert ("fail", 0) == (report.status, report.num_classes)


@pytest.mark.parametrize("complex_side", ["a", "b"])
def test_complex_and_real_numbers_differ(tmp_path: Path, complex_side: str) -> None:
    """Whatever their values: a real number's imaginary part is zero."""
    real = {"weight": torch.arange(6.0)}
    made = {"weight": torch.arange(6.0) + 2j}
    a, b = (made, real) if complex_side == "a" else (real, made)
    found = compare(saved(tmp_path / "a.pth", a), saved(tmp_path / "b.pth", b))
    difference = found.changed[0].difference
    assert ("other", 12, 6, 2.0) == (
        difference.kind,
        difference.numel,
        difference.different,
        difference.largest_absolute,
    )


def test_decimal_digits_in_a_name_are_not_taken_for_a_digest() -> None:
    """A date claims nothing; the file's own digits and published ones do, and so does hex."""
    for name in ("hornet-20220915.pth", "x-1234567890.pt"):
        assert reference_by_name(name, SHA) is None
    claimed = reference_by_name("x-20220915.pth", "20220915" + SHA[8:])
    assert claimed is not None
    assert "20220915" == claimed.digits
    other = reference_by_name("x-deadbeef.pth", SHA)
    assert other is not None
    assert "deadbeef" == other.digits


def test_edits_in_metadata_are_in_ascii_digits() -> None:
    """Digits of other scripts are not of our making."""
    assert ("224to384px",) == history({"edits": "224to384px"}, ())
    assert () == history({"edits": "\u0662\u0662\u0664to384px"}, ())
