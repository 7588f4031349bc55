"""From any form of file to the one safetensors file, proven before it gets its name."""

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.numpy
import torch

from fixtures import small
from hornet_convert.api.checkpoints import convert, verify
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Request
from hornet_convert.errors import DiskError, UnknownModelError
from hornet_convert.family.layouts import LAYOUTS, Layout
from hornet_convert.files.writing import Temporary
from hornet_convert.report.report import Report
from tests.conversion.run import output, row
from tests.documents import provenance


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small HorNet in the authors' form."""
    return small.write(tmp_path / "in.pth", "official-zip", "w8")


def converted(
    tmp_path: Path, weights: dict[str, torch.Tensor], layout: Layout = "reference"
) -> Report:
    """What becomes of a bare state dict."""
    torch.save(weights, tmp_path / "in.pth")
    return convert(tmp_path / "in.pth", Request(tmp_path / "out", layout), forward=False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_form_gives_the_same_bytes(tmp_path: Path, layout: Layout) -> None:
    """Whatever container, wrapper and layout the weights come in, the result is the same."""
    names = set()
    for form in small.FORMS:
        path = small.write(tmp_path / form, form, "w8-gf")
        report = convert(path, Request(tmp_path / "out", layout), forward=False)
        assert report, report.checks
        names.add(output(report).name)
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
    assert row(report, "forward").status == "pass"
    assert row(report, "readback").status == "pass"
    assert name == report.model


def test_the_result_is_named_by_its_own_hash(tmp_path: Path, ckpt: Path) -> None:
    """The eight digits in the name are those of the file, and verify finds them so."""
    result = output(convert(ckpt, Request(tmp_path), forward=False))
    digest = hashlib.sha256(result.read_bytes()).hexdigest()
    assert f"hornet-w8_10c-{digest[:8]}.safetensors" == result.name
    report = verify(result, forward=False)
    assert row(report, "checksum").status == "pass"
    assert row(report, "fingerprint").status == "pass"


def test_metadata_and_keys_are_sorted(tmp_path: Path, ckpt: Path) -> None:
    """Nothing in the file depends on the source's order, date or place."""
    data = output(convert(ckpt, Request(tmp_path), forward=False)).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.pop("__metadata__")
    ours = ("fingerprint", "layout", "model")
    assert list(metadata) == ["format", *(f"hornet_convert.{name}" for name in ours)]
    assert list(header) == sorted(header)
    ends = [entry["data_offsets"] for entry in header.values()]
    assert ends == sorted(ends)


def test_provenance_stands_beside_the_result(tmp_path: Path) -> None:
    """The record names the source, its digest, the checks and the versions."""
    path = small.write(tmp_path / "in.pth", "openmmlab-legacy", "w8")
    report = convert(path, Request(tmp_path / "out"), forward=False)
    statement = provenance(output(report).with_suffix(".json").read_text())
    record = checks_in(statement)
    assert output(report).name == record["file"]
    assert report.sha256 == record["source"]["sha256"]
    assert ["state_dict"] == record["source"]["wrapper"]
    assert [check.code for check in report.checks] == [c["code"] for c in record["checks"]]
    assert {"hornet-convert", "numpy", "python", "safetensors"} <= statement["predicate"][
        "runDetails"
    ]["builder"]["version"].keys()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_follows_the_umask(tmp_path: Path, ckpt: Path, umask: int, mode: int) -> None:
    """The result may be read by whom the user's umask lets."""
    before = os.umask(umask)
    try:
        result = output(convert(ckpt, Request(tmp_path / "out"), forward=False))
    finally:
        os.umask(before)
    for file in (result, result.with_suffix(".json")):
        assert mode == stat.S_IMODE(file.stat().st_mode)


def test_the_same_result_twice_is_done_at_once(tmp_path: Path, ckpt: Path) -> None:
    """A second run finds its result there and leaves it alone."""
    first = output(convert(ckpt, Request(tmp_path), forward=False))
    before = first.stat()
    second = convert(ckpt, Request(tmp_path), forward=False)
    assert output(second) == first
    assert first.stat().st_ino == before.st_ino
    assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert any("already existed" in note for note in second.notes)


def test_another_file_under_the_name_is_refused_without_force(tmp_path: Path, ckpt: Path) -> None:
    """A damaged copy is neither overwritten silently nor taken for the result."""
    result = output(convert(ckpt, Request(tmp_path), forward=False))
    good = result.read_bytes()
    result.write_bytes(b"something else")
    with pytest.raises(DiskError, match="another file") as caught:
        convert(ckpt, Request(tmp_path), forward=False)
    assert "--force" in (caught.value.hint or "")
    assert b"something else" == result.read_bytes()
    convert(ckpt, Request(tmp_path, force=True), forward=False)
    assert good == result.read_bytes()


def nan(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with one number that is none."""
    return tensor.index_fill(0, torch.tensor(3), torch.nan)


@pytest.mark.parametrize(
    ("key", "change", "code", "text"),
    [
        ("stages.2.7.norm1.weight", nan, "values", "stages.2.blocks.7.norm1.weight"),
        ("stages.1.2.gamma2", lambda t: t * 0 + 1e-6, "values", "stages.1.blocks.2.gamma2"),
        ("stages.0.1.norm2.weight", torch.zeros_like, "values", "all zero: stages.0.blocks.1"),
        ("norm.weight", lambda t: t.long(), "tensors", "norm.weight is int64"),
        ("norm.bias", lambda t: t[:7], "tensors", "head.norm.bias is 7, should be 64"),
    ],
    ids=["NaN", "untrained", "zero", "integers", "shape"],
)
def test_wrong_tensors_fail_and_leave_nothing(
    tmp_path: Path,
    key: str,
    change: Callable[[torch.Tensor], torch.Tensor],
    code: str,
    text: str,
) -> None:
    """The check that is meant fails, and names the tensor and what is wrong with it."""
    weights = small.tensors("w8")
    report = converted(tmp_path, weights | {key: change(weights[key])})
    check = row(report, code)
    assert check.status == "fail"
    assert text in check.detail
    assert report.output is None
    assert not list((tmp_path / "out").glob("*"))


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
    report = convert(tmp_path / "in.pth", Request(tmp_path / "out"), forward=False)
    text = row(report, "keys").detail
    assert row(report, "keys").status == "fail"
    named = "3 missing, stages.2.blocks.3, mlp.fc1.weight, mlp.fc2.bias, head.norm, surprise, gamma"
    for offender in named.split(", "):
        assert offender in text
    assert row(report, "forward").status == "not checked"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    """Half, bfloat16 and double weights come out as they went in."""
    weights = {key: tensor.to(dtype) for key, tensor in small.tensors("w8").items()}
    report = converted(tmp_path, weights, "official")
    result = safetensors.torch.load_file(output(report))
    assert all(torch.equal(result[key], weights[key]) for key in weights)


def test_a_missing_head_is_accepted_and_said(tmp_path: Path) -> None:
    """A checkpoint without a classifier converts to one without a classifier."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8", num_classes=None)
    report = convert(path, Request(tmp_path))
    assert report, report.checks
    assert report.num_classes is None
    assert "no classifier" in row(report, "keys").detail
    assert "hornet-w8_0c-" in output(report).name


def test_averaged_weights_are_mentioned_and_taken_when_asked(tmp_path: Path) -> None:
    """With `model_ema` beside `model`, either can be had, and the user is told."""
    path = small.write(tmp_path / "in.pth", "training-zip", "w8")
    plain = convert(path, Request(tmp_path), forward=False)
    averaged = convert(path, Request(tmp_path, ema=True), forward=False)
    assert plain.ema == "present, not taken"
    assert averaged.ema == "taken"
    assert output(plain) != output(averaged)
    assert any("--ema" in note for note in plain.notes)


def test_the_model_asked_for_is_held_to(tmp_path: Path, ckpt: Path) -> None:
    """`--model` makes another model a failure, and an unknown name an error."""
    assert convert(ckpt, Request(tmp_path, model="w8"), forward=False)
    report = convert(ckpt, Request(tmp_path, model="tiny"), forward=False)
    assert row(report, "model").status == "fail"
    assert report.output is None
    with pytest.raises(UnknownModelError):
        convert(ckpt, Request(tmp_path, model="tinny"))


@pytest.mark.parametrize("form", ["official-zip", "official-legacy"])
def test_a_flipped_byte_in_a_zip_is_found(tmp_path: Path, form: small.Form) -> None:
    """The container's CRC tells, though torch.load would not look; in legacy nothing can tell."""
    path = small.write(tmp_path / "in", form, "w8")
    data = bytearray(path.read_bytes())
    needle = small.arrays("w8")["stages.2.3.pwconv1.weight"].tobytes()[:64]
    data[data.index(needle) + 1] ^= 1
    path.write_bytes(data)
    report = convert(path, Request(tmp_path / "out"), forward=False)
    container = row(report, "container")
    if form == "official-legacy":
        assert container.status == "not checked"
        assert report.output is not None
    else:
        assert container.status == "fail"
        assert "stages.2.3.pwconv1.weight" in container.detail
        assert report.output is None


def test_views_and_aliases_are_written_rightly(tmp_path: Path) -> None:
    """Tensors that share a storage, or lie in it transposed, come out as torch sees them."""
    weights = small.tensors("w8")
    pair = torch.stack([weights["norm.weight"], weights["norm.bias"]])
    weights["norm.weight"], weights["norm.bias"] = pair[0], pair[1]
    weights["stages.1.0.gamma2"] = weights["stages.1.0.gamma1"]
    weights["stages.0.0.pwconv1.weight"] = weights["stages.0.0.pwconv1.weight"].t().contiguous().t()
    for legacy in (False, True):
        torch.save(weights, tmp_path / "in.pth", _use_new_zipfile_serialization=not legacy)
        report = convert(tmp_path / "in.pth", Request(tmp_path / "out", "official"), forward=False)
        result = safetensors.torch.load_file(output(report))
        assert all(torch.equal(result[key], weights[key]) for key in weights)


def test_leftovers_of_a_killed_run_are_swept(tmp_path: Path, ckpt: Path) -> None:
    """A temporary file that nobody holds goes; one that is being written stays."""
    abandoned = tmp_path / ".hornet-convert-0123456789abcdef.tmp"
    abandoned.write_bytes(b"half a file")
    alive = Temporary(tmp_path)
    convert(ckpt, Request(tmp_path), forward=False)
    assert not abandoned.exists()
    assert alive.path.exists()
    alive.close()


def test_a_file_in_place_of_the_folder_is_a_disk_error(tmp_path: Path, ckpt: Path) -> None:
    """The result's folder cannot be made: exit code 5, the place named."""
    with pytest.raises(DiskError) as caught:
        convert(ckpt, Request(ckpt / "out"), forward=False)
    assert 5 == caught.value.exit_code
