"""From any form of file to the one safetensors file, proven before it gets its name."""

import json
import os
import stat
from pathlib import Path

import pytest
import safetensors.numpy
import torch

from fixtures import small
from hornet_convert.conversion.convert import Request, convert
from hornet_convert.errors import DiskError, UnknownModelError, UsageError
from hornet_convert.family.layouts import LAYOUTS, Layout
from hornet_convert.verification.report import Report


def statuses(report: Report) -> dict[str, str]:
    """Status by check code."""
    return {check.code: check.status for check in report.checks}


def details(report: Report) -> dict[str, str]:
    """Detail by check code."""
    return {check.code: check.detail for check in report.checks}


def written(report: Report) -> Path:
    """The result's path."""
    assert report.output is not None, report
    return Path(report.output)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_form_gives_the_same_bytes(tmp_path: Path, layout: Layout) -> None:
    """Whatever container, wrapper and layout the weights come in, the result is the same."""
    names = set()
    for form in small.FORMS:
        path = small.write(tmp_path / form, form, "w8-gf")
        report = convert(path, Request(tmp_path / "out", layout, forward=False))
        assert report, report.checks
        names.add(written(report).name)
    assert 1 == len(names)
    result = safetensors.numpy.load_file(tmp_path / "out" / names.pop())
    wanted = small.arrays("w8-gf", layout)
    assert wanted.keys() == result.keys()
    assert all((wanted[key] == result[key]).all() for key in wanted)


@pytest.mark.parametrize("name", small.NAMES)
def test_the_forward_check_runs_on_what_was_written(tmp_path: Path, name: str) -> None:
    """With torch at hand every check that has something to compare with passes."""
    path = small.write(tmp_path / "in.pth", "openmmlab-legacy", name)
    report = convert(path, Request(tmp_path))
    assert "pass" == statuses(report)["forward"]
    assert "pass" == statuses(report)["readback"]
    assert name == report.model


def test_the_result_is_named_by_its_own_hash(tmp_path: Path) -> None:
    """The eight digits in the name are those of the file, and verify finds them so."""
    import hashlib

    from hornet_convert.verification.verify import verify

    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    result = written(convert(path, Request(tmp_path, forward=False)))
    digest = hashlib.sha256(result.read_bytes()).hexdigest()
    assert f"hornet-w8_10c-{digest[:8]}.safetensors" == result.name
    report = verify(result, forward=False)
    assert ("pass", "pass") == (statuses(report)["checksum"], statuses(report)["fingerprint"])


def test_metadata_and_keys_are_sorted(tmp_path: Path) -> None:
    """Nothing in the file depends on the source's order, date or place."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    data = written(convert(path, Request(tmp_path, forward=False))).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.pop("__metadata__")
    assert ["fingerprint", "format", "layout", "model"] == list(metadata)
    assert list(header) == sorted(header)
    ends = [entry["data_offsets"] for entry in header.values()]
    assert ends == sorted(ends)


def test_provenance_stands_beside_the_result(tmp_path: Path) -> None:
    """The record names the source, its digest, the checks and the versions."""
    path = small.write(tmp_path / "in.pth", "openmmlab-legacy", "w8")
    report = convert(path, Request(tmp_path / "out", forward=False))
    record = json.loads(written(report).with_suffix(".json").read_text())
    assert written(report).name == record["file"]
    assert report.sha256 == record["source"]["sha256"]
    assert ["state_dict"] == record["source"]["wrapper"]
    assert [check.code for check in report.checks] == [c["code"] for c in record["checks"]]
    assert {"hornet-convert", "numpy", "python", "safetensors"} <= record["versions"].keys()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_follows_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    """The result may be read by whom the user's umask lets."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    before = os.umask(umask)
    try:
        result = written(convert(path, Request(tmp_path / "out", forward=False)))
    finally:
        os.umask(before)
    for file in (result, result.with_suffix(".json")):
        assert mode == stat.S_IMODE(file.stat().st_mode)


def test_the_same_result_twice_is_done_at_once(tmp_path: Path) -> None:
    """A second run finds its result there and leaves it alone."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    first = written(convert(path, Request(tmp_path, forward=False)))
    before = first.stat()
    second = convert(path, Request(tmp_path, forward=False))
    assert written(second) == first
    assert (before.st_ino, before.st_mtime_ns) == (first.stat().st_ino, first.stat().st_mtime_ns)
    assert any("was there already" in note for note in second.notes)


def test_another_file_under_the_name_is_refused_without_force(tmp_path: Path) -> None:
    """A damaged copy is neither overwritten silently nor taken for the result."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    result = written(convert(path, Request(tmp_path, forward=False)))
    good = result.read_bytes()
    result.write_bytes(b"something else")
    with pytest.raises(DiskError, match="another file") as caught:
        convert(path, Request(tmp_path, forward=False))
    assert "--force" in (caught.value.hint or "")
    assert b"something else" == result.read_bytes()
    convert(path, Request(tmp_path, forward=False, force=True))
    assert good == result.read_bytes()


def test_a_failed_check_leaves_nothing(tmp_path: Path) -> None:
    """A tensor with a NaN fails the values and nothing is written."""
    weights = small.tensors("w8")
    weights["stages.2.7.norm1.weight"] = weights["stages.2.7.norm1.weight"].clone()
    weights["stages.2.7.norm1.weight"][3] = torch.nan
    torch.save(weights, tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", Request(tmp_path / "out", forward=False))
    assert ("fail", None) == (statuses(report)["values"], report.output)
    assert "stages.2.blocks.7.norm1.weight" in details(report)["values"]
    assert [] == list((tmp_path / "out").iterdir())


def test_missing_and_strange_keys_are_all_listed(tmp_path: Path) -> None:
    """Every offender is named at once, collapsed by block; nothing is written."""
    weights = small.tensors("w8")
    del (
        weights["stages.2.3.pwconv1.weight"],
        weights["stages.2.3.pwconv2.bias"],
        weights["norm.bias"],
    )
    weights["stages.0.1.surprise.weight"] = torch.ones(3)
    weights["gamma"] = torch.ones(3)
    torch.save({"model": weights}, tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", Request(tmp_path / "out", forward=False))
    said = details(report)["keys"]
    assert "fail" == statuses(report)["keys"]
    for offender in (
        "3 missing",
        "stages.2.blocks.3",
        "mlp.fc1.weight",
        "mlp.fc2.bias",
        "head.norm",
        "surprise",
        "gamma",
    ):
        assert offender in said
    assert "not checked" == statuses(report)["forward"]
    assert not (tmp_path / "out").exists()


def test_wrong_shapes_are_named_with_both_shapes(tmp_path: Path) -> None:
    """The message says which tensor, what it is, and what it should be."""
    weights = small.tensors("w8-gf")
    weights["stages.3.0.gnconv.dwconv.complex_weight"] = torch.randn(62, 7, 5, 2)
    torch.save(weights, tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", Request(tmp_path, forward=False))
    assert "fail" == statuses(report)["tensors"]
    assert "62×7×5×2, should be 62×7×4×2" in details(report)["tensors"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    """Half, bfloat16 and double weights come out as they went in."""
    weights = {key: tensor.to(dtype) for key, tensor in small.tensors("w8").items()}
    torch.save(weights, tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", Request(tmp_path, "official", forward=False))
    result = safetensors.torch.load_file(written(report))
    assert all(torch.equal(result[key], weights[key]) for key in weights)


def test_integer_weights_fail(tmp_path: Path) -> None:
    """A tensor that is no floating-point number is named."""
    weights = small.tensors("w8")
    weights["norm.weight"] = torch.arange(64)
    torch.save(weights, tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", Request(tmp_path, forward=False))
    assert "norm.weight is int64" in details(report)["tensors"]
    assert not report


def test_fresh_layer_scales_are_not_passed_off_as_trained(tmp_path: Path) -> None:
    """A model saved before training has its layer scales at 1e-6."""
    weights = small.tensors("w8")
    weights["stages.1.2.gamma2"] = torch.full((16,), 1e-6)
    torch.save(weights, tmp_path / "in.pth")
    report = convert(tmp_path / "in.pth", Request(tmp_path, forward=False))
    assert "fail" == statuses(report)["values"]
    assert "stages.1.blocks.2.gamma2" in details(report)["values"]


def test_a_missing_head_is_accepted_and_said(tmp_path: Path) -> None:
    """A checkpoint without a classifier converts to one without a classifier."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8", num_classes=None)
    report = convert(path, Request(tmp_path))
    assert report, report.checks
    assert report.num_classes is None
    assert "no classifier" in details(report)["keys"]
    assert "hornet-w8_0c-" in written(report).name


def test_averaged_weights_are_mentioned_and_taken_when_asked(tmp_path: Path) -> None:
    """With `model_ema` beside `model`, either can be had, and the user is told."""
    path = small.write(tmp_path / "in.pth", "training-zip", "w8")
    plain = convert(path, Request(tmp_path, forward=False))
    averaged = convert(path, Request(tmp_path, forward=False, ema=True))
    assert ("present, not taken", "taken") == (plain.ema, averaged.ema)
    assert written(plain) != written(averaged)
    assert any("--ema" in note for note in plain.notes)


def test_averaged_weights_that_are_not_there_are_a_usage_error(tmp_path: Path) -> None:
    """Asking for what the file does not hold is refused."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    with pytest.raises(UsageError):
        convert(path, Request(tmp_path, ema=True))


def test_the_model_asked_for_is_held_to(tmp_path: Path) -> None:
    """`--model` makes another model a failure, and an unknown name an error."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    assert convert(path, Request(tmp_path, model="w8", forward=False))
    report = convert(path, Request(tmp_path, model="tiny", forward=False))
    assert "fail" == statuses(report)["model"]
    assert report.output is None
    with pytest.raises(UnknownModelError):
        convert(path, Request(tmp_path, model="tinny"))


def test_a_flipped_byte_in_a_zip_is_found(tmp_path: Path) -> None:
    """The container's CRC tells, though torch.load would not look; in legacy nothing can tell."""
    cases: tuple[tuple[small.Form, str], ...] = (
        ("official-zip", "fail"),
        ("official-legacy", "not checked"),
    )
    for form, verdict in cases:
        path = small.write(tmp_path / form, form, "w8")
        data = bytearray(path.read_bytes())
        needle = small.arrays("w8")["stages.2.3.pwconv1.weight"].tobytes()[:64]
        data[data.index(needle) + 1] ^= 1
        path.write_bytes(data)
        report = convert(path, Request(tmp_path / "out", forward=False))
        assert verdict == statuses(report)["container"]
        assert ("fail" == verdict) == (report.output is None)
        if verdict == "fail":
            assert "stages.2.3.pwconv1.weight" in details(report)["container"]


def test_views_and_aliases_are_written_rightly(tmp_path: Path) -> None:
    """Tensors that share a storage, or lie in it transposed, come out as torch sees them."""
    weights = small.tensors("w8")
    pair = torch.stack([weights["norm.weight"], weights["norm.bias"]])
    weights["norm.weight"], weights["norm.bias"] = pair[0], pair[1]
    weights["stages.1.0.gamma2"] = weights["stages.1.0.gamma1"]
    weights["stages.0.0.pwconv1.weight"] = weights["stages.0.0.pwconv1.weight"].t().contiguous().t()
    for legacy in (False, True):
        torch.save(weights, tmp_path / "in.pth", _use_new_zipfile_serialization=not legacy)
        report = convert(tmp_path / "in.pth", Request(tmp_path / "out", "official", forward=False))
        result = safetensors.torch.load_file(written(report))
        assert all(torch.equal(result[key], weights[key]) for key in weights)


def test_leftovers_of_a_killed_run_are_swept(tmp_path: Path) -> None:
    """A temporary file that nobody holds goes; one that is being written stays."""
    from hornet_convert.conversion.publish import Temporary

    abandoned = tmp_path / ".hornet-convert-0123456789abcdef.tmp"
    abandoned.write_bytes(b"half a file")
    alive = Temporary(tmp_path)
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    convert(path, Request(tmp_path, forward=False))
    assert (False, True) == (abandoned.exists(), alive.path.exists())
    alive.close()


def test_a_file_in_place_of_the_folder_is_a_disk_error(tmp_path: Path) -> None:
    """The result's folder cannot be made: exit code 5, the place named."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    with pytest.raises(DiskError) as caught:
        convert(path, Request(path / "out", forward=False))
    assert 5 == caught.value.exit_code
