"""The folder: what is in it, that it is a model again everywhere, and what it never replaces."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ed25519

from fixtures import small
from hornet_convert import HorNet, load_model, load_state_dict
from hornet_convert.api.publish import meant, publish
from hornet_convert.cli import run
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Edits, Onnx, Request
from hornet_convert.errors import DiskError, NotACheckpointError, UnknownModelError, UsageError
from hornet_convert.family import zoo
from hornet_convert.files.reading import sha256_of
from tests.documents import provenance
from tests.publishing.folders import NAMES, files
from tests.usage.pictures import picture
from tests.verification.test_statement import sign

Capture = pytest.CaptureFixture[str]


def test_what_is_in_it(made: Path) -> None:
    """All files, and nothing else; the record is about each of the others."""
    found = files(made)
    assert NAMES == set(found)
    record = provenance(found["model.json"])
    told = {each["name"]: each["digest"]["sha256"] for each in record["subject"]}
    assert told == {name: sha256_of(made / name)[0] for name in NAMES if name != "model.json"}
    assert checks_in(record)["file"] == "model.safetensors"
    config = json.loads(found["config.json"])
    assert (config["architecture"], config["num_classes"]) == ("hornet_w8_gf64", 10)
    assert b"MIT License\n\nCopyright (c) 2021 Yongming Rao\n\nPermission is" in found["LICENSE"]


def test_it_is_a_model_again(made: Path, capsys: Capture) -> None:
    """By every way in, with the very weights, and `verify` finds nothing wrong."""
    weights = small.tensors("w8-gf64", "reference")
    for model in (HorNet.from_pretrained(made), load_model(made)):
        state = model.state_dict()
        assert state.keys() == weights.keys()
        assert all(torch.equal(weights[name], state[name]) for name in weights)
    assert load_state_dict(made, "official").keys() == small.tensors("w8-gf64").keys()
    assert run(["verify", "--ckpt", str(made), "-v"]) == 0
    assert "according to the record beside it" in re.sub(r"\s+", " ", capsys.readouterr().out)
    assert run(["inspect", str(made)]) == 0
    assert run(["verify", "--ckpt", str(made / "onnx/model.onnx"), "--no-forward"]) == 0
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64), np.float32)
    session = onnxruntime.InferenceSession(made / "onnx/model.onnx")
    [logits] = session.run(None, {"images": images})
    with torch.no_grad():
        assert np.allclose(logits, model(torch.from_numpy(images)), atol=1e-5)


def test_every_command_takes_the_folder(made: Path, source: Path, tmp_path: Path) -> None:
    """As the weights in it: also as what is compared with, but not with itself."""
    picture(1).save(tmp_path / "a.png")
    for command in (
        ["compare", str(source), str(made)],
        ["verify", "--ckpt", str(source), "--no-forward", "--against", str(made)],
        ["convert", "--ckpt", str(made), "--no-forward", "--out", str(tmp_path)],
        ["publish", str(made), "--no-forward", "--out", str(tmp_path / "again")],
        ["predict", str(tmp_path / "a.png"), "--ckpt", str(made)],
        ["predict", str(tmp_path / "a.png"), "--ckpt", str(made), "--engine", "onnxruntime"],
    ):
        assert run(command) == 0, command
    assert run(["verify", "--ckpt", str(made), "--against", str(made)]) == 2
    weights = str(made / "model.safetensors")
    assert run(["verify", "--ckpt", weights, "--against", str(made)]) == 2


def test_a_signed_record_vouches_for_it(made: Path, tmp_path: Path) -> None:
    """That of the repository speaks of all files, and of the weights first."""
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    key = sign(folder / "model.safetensors", ed25519.Ed25519PrivateKey.generate())
    command = ["verify", "--ckpt", str(folder), "--no-forward", "--require", "authentic"]
    assert run([*command, "--signed-by", str(key)]) == 0
    assert run(command) == 1


def test_a_config_of_another_model_fails(made: Path, tmp_path: Path, capsys: Capture) -> None:
    """The folder is then not what `from_pretrained` would load."""
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_classes": 10', '"num_classes": 11'))
    assert run(["verify", "--ckpt", str(folder), "--no-forward"]) == 1
    shown = capsys.readouterr()
    assert "config.json and the weights are not of the same model" in shown.err
    assert "verdict   failed" in shown.out


def test_the_same_again(source: Path, made: Path, tmp_path: Path) -> None:
    """The same bytes elsewhere; in the same folder it says that it is there, and writes nothing."""
    request = Request(tmp_path / "other", onnx=Onnx(single_file=True))
    publish(source, request)
    assert files(made) == files(request.out)
    before = {path: path.stat().st_mtime_ns for path in request.out.rglob("*")}
    report = publish(source, request)
    assert "the model was there already, the same" in report.notes
    assert before.items() >= {p: p.stat().st_mtime_ns for p in before if p.is_file()}.items()


@pytest.mark.parametrize("name", ["model.safetensors", "README.md", "model.json", "config.json"])
def test_other_files_are_left_alone(source: Path, tmp_path: Path, name: str) -> None:
    """They are named, and nothing is written; --force replaces them, and no others."""
    (tmp_path / name).write_text("{}")
    (tmp_path / "mine.txt").write_text("mine")
    before = files(tmp_path)
    with pytest.raises(DiskError, match="with `out`, or") as caught:
        publish(source, Request(tmp_path), forward=False)
    assert caught.value.found == name
    assert before == files(tmp_path)
    assert publish(source, Request(tmp_path, force=True), forward=False)
    after = files(tmp_path)
    assert (NAMES - {"onnx/model.onnx"}) | {"mine.txt"} == set(after)
    assert b"{}" != after[name]


def test_a_card_that_somebody_wrote_at_is_left_alone(source: Path, tmp_path: Path) -> None:
    """One of ours is made anew without --force, but not over words of others, nor other weights."""
    assert publish(source, Request(tmp_path), forward=False)
    assert publish(source, Request(tmp_path, onnx=Onnx(single_file=True)), forward=False)
    with pytest.raises(DiskError, match=r"model\.safetensors"):
        publish(source, Request(tmp_path, edits=Edits(head="none")), forward=False)
    card = tmp_path / "README.md"
    card.write_text(card.read_text() + "\nMore about it.\n")
    with pytest.raises(DiskError, match=r"found: README\.md\."):
        publish(source, Request(tmp_path), forward=False)


def nan(path: Path) -> None:
    """A checkpoint that no check of values passes."""
    weights = small.tensors("w8")
    weights["head.bias"][0] = torch.nan
    torch.save({"model": weights}, path)


def short(path: Path) -> None:
    """One that misses a tensor."""
    weights = small.tensors("w8")
    del weights["norm.weight"]
    torch.save({"model": weights}, path)


@pytest.mark.parametrize("damage", [nan, short])
def test_what_fails_is_not_written(
    tmp_path: Path, damage: Callable[[Path], None], capsys: Capture
) -> None:
    """Nor pushed: no Hub is asked, which here would be an error."""
    damage(tmp_path / "bad.pth")
    out = tmp_path / "out"
    command = ["publish", str(tmp_path / "bad.pth"), "--out", str(out), "--push", "org/bad"]
    assert run([*command, "--no-forward"]) == 1
    assert "verdict   failed" in capsys.readouterr().out
    assert not out.exists() or files(out) == {}


def test_a_graph_that_fails_is_not_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the repository would not be what was asked for."""
    monkeypatch.setattr("hornet_convert.onnx.graph.FILTER_SCALE", 0.3334)
    report = publish(source, Request(tmp_path / "out", onnx=Onnx(single_file=True)))
    assert not report
    assert report.output is None
    assert files(tmp_path) == {}


def test_a_name_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file goes before a model, a model before a folder of its name."""
    monkeypatch.chdir(tmp_path)
    assert meant("HorNet-T") == zoo.find("tiny")
    Path("tiny").mkdir()
    assert meant("tiny") == zoo.find("tiny")
    with pytest.raises(NotACheckpointError, match="without weights"):
        meant("./tiny/.")
    Path("small").touch()
    assert meant("small") == Path("small")
    with pytest.raises(UsageError, match="no such file"):
        meant("there/is/none.pth")
    with pytest.raises(UnknownModelError, match="tiny"):
        meant("tinny")


@pytest.mark.parametrize(
    "request_",
    [
        Request(Path("x"), "openmmlab"),
        Request(Path("x"), format="pth"),
        Request(Path("x"), onnx=Onnx()),
        Request(Path("x"), onnx=Onnx(single_file=True, features=True)),
    ],
)
def test_what_no_repository_is(source: Path, request_: Request) -> None:
    """Other layouts, containers and graphs are refused before anything is read."""
    with pytest.raises(UsageError, match="repository"):
        publish(source, request_)


def test_backbones_have_no_final_norm(tmp_path: Path) -> None:
    """So they are no whole model; a norm is not made up."""
    path = tmp_path / "backbone.pth"
    weights = small.tensors("w8", num_classes=None)
    torch.save({k: v for k, v in weights.items() if not k.startswith("norm.")}, path)
    with pytest.raises(UsageError, match="which is a backbone"):
        publish(path, Request(tmp_path / "out"), forward=False)


def test_without_a_classifier(source: Path, tmp_path: Path) -> None:
    """Features, as the card and both configurations say."""
    report = publish(source, Request(tmp_path, edits=Edits(head="none")), forward=False)
    assert report
    card = (tmp_path / "README.md").read_text()
    assert "pipeline_tag: image-feature-extraction" in card
    assert "no classifier: it gives 64 features" in card
    assert HorNet.from_pretrained(tmp_path).num_classes == 0
