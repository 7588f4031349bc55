"""`--engine onnxruntime`: the same answers without torch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures import small
from hornet_convert.api.checkpoints import convert
from hornet_convert.cli import run
from hornet_convert.conversion.request import Edits, Onnx, Request
from hornet_convert.errors import UsageError
from hornet_convert.images.onnx_engine import OnnxEngine
from hornet_convert.images.predict import predict
from hornet_convert.images.torch_engine import TorchEngine
from hornet_convert.model.load import load_model
from tests.documents import parsed

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("name", "form"),
    [("w8", "official-legacy"), ("w8-gf64", "openmmlab-zip"), ("w8", "safetensors-official")],
)
def test_both_engines_compute_the_same(tmp_path: Path, name: str, form: small.Form) -> None:
    """From a checkpoint in any form; filters for 64 pixels see 64 pixels."""
    path = small.write(tmp_path / "a.ckpt", form, name)
    item, two = TorchEngine(load_model(path)), OnnxEngine(path)
    side = item.architecture.resolution
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    np.testing.assert_allclose(item.logits(pixels), two.logits(pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("single_file", [False, True])
def test_an_onnx_model_and_its_weights_are_checkpoints(
    tmp_path: Path, dtype: str, single_file: bool
) -> None:
    """Both engines take them, whatever the element type."""
    path = small.write(tmp_path / "a.pth", "official-zip", "w8-gf64")
    edits, onnx = Edits(dtype=dtype), Onnx(single_file=single_file)  # type: ignore[arg-type]
    report = convert(path, Request(tmp_path, edits=edits, onnx=onnx), forward=False)
    assert report.output is not None
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    item, two = TorchEngine(load_model(report.output)), OnnxEngine(report.output)
    np.testing.assert_allclose(item.logits(pixels), two.logits(pixels), rtol=1e-4, atol=1e-5)


def documents(capsys: Capture, arguments: list[str]) -> list[Any]:
    """What a command says with each engine, as JSON."""
    found = []
    for engine in ("torch", "onnxruntime"):
        capsys.readouterr()
        assert run([*arguments, "--engine", engine, "--json"]) == 0
        found.append(parsed(capsys.readouterr().out))
    return found


def test_predict_and_eval_answer_alike(capsys: Capture, ckpt: Path, pictures: Path) -> None:
    """The same classes in the same order, and the same tally."""
    text = documents(capsys, ["predict", str(pictures), "--ckpt", str(ckpt)])
    classes = [
        [[p["class"] for p in image["predictions"]] for image in each["results"]] for each in text
    ]
    assert classes[0] == classes[1]
    assert [each["about"]["engine"] for each in text] == ["torch", "onnxruntime"]
    listing = pictures.parent / "list.csv"
    rows = zip(sorted(pictures.glob("*.[!t]*")), classes[0], strict=True)
    listing.write_text("".join(f"{path},{found[0]}\n" for path, found in rows))
    both = documents(capsys, ["eval", str(listing), "--ckpt", str(ckpt)])
    item, two = (each["results"][0] for each in both)
    assert item["top1"] == two["top1"]
    assert item["images"] == 5
    assert (item["engine"], two["engine"]) == ("torch", "onnxruntime")


def test_torch_is_not_loaded(ckpt: Path, pictures: Path) -> None:
    """Neither by predict nor by eval."""
    (listing := pictures.parent / "one.csv").write_text(f"{pictures / 'a.jpg'},3\n")
    code = (
        "import sys\nfrom hornet_convert.cli import run\n"
        f"for command in (['predict', {str(pictures)!r}], ['eval', {str(listing)!r}]):\n"
        f"    assert run([*command, '--ckpt', {str(ckpt)!r}, '--engine', 'onnxruntime']) == 0\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_what_onnxruntime_cannot_do_is_refused(ckpt: Path, pictures: Path, tmp_path: Path) -> None:
    """Another device, another size for filters, a model without a classifier."""
    image = str(pictures / "a.jpg")
    asked = ["predict", image, "--ckpt", str(ckpt), "--engine", "onnxruntime"]
    assert run([*asked, "--device", "cuda"]) == 2
    filters = OnnxEngine(small.write(tmp_path / "a.pth", "official-zip", "w8-gf64"))
    with pytest.raises(UsageError, match="no images of that size"):
        list(predict(filters, [image], resolution=96))
    with pytest.raises(UsageError, match="no classifier"):
        OnnxEngine(small.write(tmp_path / "b.pth", "official-zip", "w8", num_classes=None))


def test_without_the_library_it_is_said(
    ckpt: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """With the command that installs it."""
    monkeypatch.setattr("hornet_convert.onnx.libraries.find_spec", lambda name: None)
    image = str(pictures / "a.jpg")
    assert run(["predict", image, "--ckpt", str(ckpt), "--engine", "onnxruntime"]) == 2
    assert "pip install 'hornet-convert[onnx]'" in capsys.readouterr().err
