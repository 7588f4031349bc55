"""`--format onnx`: what is written, under which names, and what has to be proved before."""

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hornet_convert.onnx.make
import hornet_convert.onnx.model
from fixtures import small
from hornet_convert.api.checkpoints import convert
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checks.checks import SENTENCES
from hornet_convert.checks.model_file import examine
from hornet_convert.cli import run
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Edits, Onnx, Request
from hornet_convert.errors import DiskError, UsageError
from hornet_convert.family.architecture import order_widths
from hornet_convert.files.reading import sha256_of
from hornet_convert.model.reference import cases
from hornet_convert.onnx import fourier, graph
from hornet_convert.onnx.fourier import rows_forward
from hornet_convert.onnx.runtime import runtime_check
from hornet_convert.report.report import Report
from tests.documents import provenance


def made(source: Path, out: Path, *, forward: bool = False, **more: Any) -> Report:
    """Convert to ONNX; keywords are those of `Onnx`, `Edits` and the request."""
    onnx_words = {name: more.pop(name) for name in ("single_file", "features") if name in more}
    edits = {name: more.pop(name) for name in ("head", "resolution", "dtype") if name in more}
    request = Request(out, edits=Edits(**edits), onnx=Onnx(**onnx_words), **more)
    return convert(source, request, forward=forward)


def status(report: Report, code: str) -> str:
    """The status of a row."""
    return next(check.status for check in report.checks if check.code == code)


def test_the_model_lies_beside_its_weights(model: Path) -> None:
    """Both have the digits of the weights' SHA-256; the initialisers lie in that very file."""
    weights = model.with_suffix(".safetensors")
    sha256, _ = sha256_of(weights)
    assert model.name == f"hornet-w8-gf64_10c-{sha256[:8]}.onnx"
    proto = onnx.load(model, load_external_data=False)
    assert len(model.read_bytes()) < 400_000
    header = json.loads(
        weights.read_bytes()[8 : 8 + int.from_bytes(weights.read_bytes()[:8], "little")]
    )
    start = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    for each in proto.graph.initializer:
        place = {entry.key: entry.value for entry in each.external_data}
        first, last = header[each.name]["data_offsets"]
        assert {
            "location": weights.name,
            "offset": str(start + first),
            "length": str(last - first),
        } == place


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"single_file": True},
        {"features": True},
        {"head": "none", "dtype": "float16"},
        {"dtype": "bfloat16", "single_file": True, "resolution": 96},
        {"layout": "openmmlab", "resolution": 96},
        {"layout": "backbone", "features": True},
    ],
)
def test_what_is_asked_for_is_proved(source: Path, tmp_path: Path, words: dict[str, Any]) -> None:
    """ONNX Runtime computes what the second computation does in float64, and verify agrees."""
    report = made(source, tmp_path, forward=True, **words)
    assert report, report.checks
    assert (status(report, "graph"), status(report, "runtime")) == ("pass", "pass")
    assert report.output is not None
    assert run(["verify", "--ckpt", report.output, "--no-forward"]) == 0
    output = Path(report.output)
    beside = output.with_suffix(".json" if words.get("single_file") else ".onnx.json")
    statement = provenance(beside.read_text())
    assert statement["subject"] == [
        {"name": output.name, "digest": {"sha256": report.output_sha256}}
    ]
    record = checks_in(statement)
    assert record["file"] == Path(report.output).name
    assert record["sha256"] == report.output_sha256 == sha256_of(Path(report.output))[0]
    assert "runtime" in [check["code"] for check in record["checks"]]


def test_images_of_any_size_without_filters(tmp_path: Path) -> None:
    """The proof has one that is no square."""
    plain = small.write(tmp_path / "w8.pth", "official-zip", "w8")
    report = made(plain, tmp_path, forward=True)
    [row] = [check for check in report.checks if check.code == "runtime"]
    assert row.status == "pass"
    assert "1×3×96×160" in row.detail


def test_the_page_tells_of_it(source: Path, tmp_path: Path) -> None:
    """Each row with its sentence."""
    page = tmp_path / "page.html"
    command = ["convert", "--ckpt", str(source), "--out", str(tmp_path), "--format", "onnx"]
    assert run([*command, "--no-forward", "--report", str(page)]) == 0
    for code in ("graph", "runtime"):
        assert SENTENCES[code] in html.unescape(page.read_text())


def test_one_file(single: Path) -> None:
    """Nothing but the model and its record is left, and its digits are its own."""
    assert {single.name, f"{single.stem}.json"} == {path.name for path in single.parent.iterdir()}
    assert single.stem.endswith(sha256_of(single)[0][:8])
    onnx.checker.check_model(single, full_check=True)


def test_the_same_again_is_the_same(source: Path, model: Path) -> None:
    """And another file under its name is replaced by force only."""
    before = model.read_bytes()
    again = made(source, model.parent)
    assert f"{model.name} already existed, identical" in again.notes
    model.write_bytes(b"something else")
    with pytest.raises(DiskError, match="another file has the result's name"):
        made(source, model.parent)
    assert made(source, model.parent, force=True)
    assert before == model.read_bytes()
    Path(f"{model}.json").write_text("notes")
    with pytest.raises(DiskError, match="the name of the result's record"):
        made(source, model.parent)


def _once(side: int) -> Any:
    """Frequencies that count once, and not for their conjugates."""
    cos, sin = fourier._waves(side)
    half = side // 2 + 1
    return np.concatenate([cos[:half].T, -sin[:half].T], 1)


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (graph, "FILTER_SCALE", 0.33334),
        (graph, "EPS", 1.01e-5),
        (graph, "order_widths", lambda dim, order: order_widths(dim, order)[::-1]),
        (fourier, "columns_back", _once),
        (fourier, "rows_forward", lambda side: np.roll(rows_forward(side), 1, 0)),
    ],
)
def test_a_wrong_graph_gets_no_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    module: Any, name: str, wrong: Any,
) -> None:  # fmt: skip
    """Where ONNX Runtime computes something else, the row fails and there is no model."""
    monkeypatch.setattr(module, name, wrong)
    report = made(source, tmp_path, forward=True)
    assert (status(report, "graph"), status(report, "runtime")) == ("pass", "fail")
    assert report.exit_code == 1
    assert not list(tmp_path.glob("*.onnx"))
    assert list(tmp_path.glob("*.safetensors"))


def test_a_tensor_in_anothers_place_gets_no_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the graph is wrongly built a second time, and nothing is computed."""
    right, pair = hornet_convert.onnx.model._initialiser, ("head.norm.weight", "head.norm.bias")

    def swapped(name: str, tensor: Tensor, location: str | None) -> onnx.TensorProto:
        proto = right(name, tensor, location)
        if name in pair:
            proto.name = pair[1 - pair.index(name)]
        return proto

    monkeypatch.setattr(hornet_convert.onnx.model, "_initialiser", swapped)
    report = made(source, tmp_path)
    assert (status(report, "graph"), status(report, "runtime")) == ("fail", "not checked")
    assert not list(tmp_path.glob("*.onnx"))


def test_without_onnxruntime_it_is_not_checked(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says how to install it."""
    monkeypatch.setattr("hornet_convert.onnx.runtime.missing", lambda library: f"{library} is away")
    report = made(source, tmp_path, forward=True)
    [row] = [check for check in report.checks if check.code == "runtime"]
    assert row.detail.startswith("not checked, because onnxruntime is away")
    assert report.output is not None


def test_without_the_forward_check_it_is_not_run(model: Path) -> None:
    """The record says so."""
    record = checks_in(provenance(Path(f"{model}.json").read_text()))
    [row] = [check for check in record["checks"] if check["code"] == "runtime"]
    assert row["status"] == "not checked"
    assert "--no-forward" in row["detail"]


def test_images_that_are_too_large_are_not_computed_unasked(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters in a file can be for any size: a small file must not ask for hours."""
    monkeypatch.setattr("hornet_convert.model.reference.LARGEST_UNASKED", 32)
    with open_checkpoint(model) as checkpoint:
        file = examine(checkpoint)
        assert "for images of 64×64, more than 32" in str(cases(file, features=False))
        assert isinstance(cases(file, features=False, asked=True), list)


def test_the_runtime_row_sees_one_number_in_a_weight(model: Path) -> None:
    """The expected outputs are computed from the weights as they should be."""
    with open_checkpoint(model) as checkpoint:
        expected = cases(examine(checkpoint), features=False)
        gamma = examine(checkpoint).by_reference_name["stages.0.blocks.0.gamma1"]
    assert not isinstance(expected, str)
    assert runtime_check(model, expected).status == "pass"
    weights = model.with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[gamma.storage.offset : gamma.storage.offset + 4] = np.float32(0.5).tobytes()
    weights.write_bytes(data)
    assert runtime_check(model, expected).status == "fail"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--single-file"], "--single-file was given without --format onnx"),
        (["--features", "--format", "pth"], "--features was given without --format onnx"),
        (["--format", "onnx", "--layout", "backbone"], "no final norm"),
    ],
)
def test_what_cannot_be(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    """Exit code 2, before anything is written."""
    out = tmp_path / "out"
    assert run(["convert", "--ckpt", str(source), "--out", str(out), *arguments]) == 2
    assert text in capsys.readouterr().err
    assert not out.exists()


def test_without_onnx_it_is_said_before_anything(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setattr("hornet_convert.onnx.libraries.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"onnx, which is not installed.*\[onnx\]"):
        made(source, tmp_path)


def test_too_large_for_one_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A protobuf message ends at 2 GiB; nothing is left of the attempt."""
    monkeypatch.setattr(hornet_convert.onnx.model, "LARGEST", 1_000_000)
    with pytest.raises(UsageError, match="too large for one ONNX file"):
        made(source, tmp_path, single_file=True)
    assert list(tmp_path.iterdir()) == []
