"""Files from other people's training: what stands before and beside the weights is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.distributed.checkpoint.state_dict_saver import save

from fixtures import small
from hornet_convert.api.checkpoints import convert, inspect, verify
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.cli import run
from hornet_convert.conversion.request import Request
from hornet_convert.errors import FileRefusedError, UnsupportedError, UsageError
from hornet_convert.family import zoo
from hornet_convert.model.load import load_model, load_state_dict
from tests.documents import only

Capture = pytest.CaptureFixture[str]
Tensors = dict[str, torch.Tensor]

OFFICIAL = small.tensors("w8-gf")
OPENMMLAB = small.tensors("w8-gf", "openmmlab")
FINGERPRINT = "fingerprint"


def saved(folder: Path, tree: Any, name: str = "x.pth") -> Path:
    """The path of a checkpoint with some tree in it."""
    path = folder / name
    torch.save(tree, path)
    return path


def before(prefix: str, weights: Tensors) -> Tensors:
    """The weights with something before their names."""
    return {prefix + name: value for name, value in weights.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """The fingerprint of the weights that all of these files hold."""
    path = saved(tmp_path_factory.mktemp("plain"), OFFICIAL)
    return verify(path, forward=False).fingerprint


@pytest.mark.parametrize("weights", [OFFICIAL, OPENMMLAB, small.tensors("w8-gf", "reference")])
@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.", "module.", "model.", "net.", "module._orig_mod.", "_orig_mod.module.",
        "model.net.", "_fsdp_wrapped_module.",
    ],
)  # fmt: skip
def test_what_trainers_put_before_the_names(
    prefix: str, weights: Tensors, plain: str, tmp_path: Path
) -> None:
    """Any stack is taken off, in any layout, and said."""
    report = verify(saved(tmp_path, {"state_dict": before(prefix, weights)}), forward=False)
    assert report
    assert report.fingerprint == plain
    assert any("prefix" in note and "removed" in note for note in report.notes)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"backbone.{name}",
        lambda name: f"model.backbone._orig_mod.{name}",
        lambda name: name.replace("stages.0.", "stages.0._checkpoint_wrapped_module."),
    ],
)
def test_names_that_are_wrapped_further_in(
    rename: Callable[[str], str], plain: str, tmp_path: Path
) -> None:
    """A compiled backbone, a checkpointed stage."""
    path = saved(tmp_path, {rename(name): value for name, value in OFFICIAL.items()})
    assert verify(path, forward=False).fingerprint == plain


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_real_wrapper(plain: str, tmp_path: Path) -> None:
    """A model of ours, compiled and in a larger module, as torch names its parameters."""

    class Trained(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = torch.compile(model)

    model = Trained(load_model(saved(tmp_path, OFFICIAL)))
    state = {"epoch": 3, "state_dict": model.state_dict(), "pytorch-lightning_version": "2.5"}
    report = verify(saved(tmp_path, state, "y.pth"), forward=False)
    assert report.fingerprint == plain
    assert any("pytorch-lightning_version" in note for note in report.notes)


def detector(weights: Tensors, norms: str) -> Tensors:
    """A detector around the weights: norms after each stage, a neck, heads."""
    widths = (8, 16, 32, 64)
    extra = {
        **{f"{norms}{n}.weight": torch.ones(width) for n, width in enumerate(widths)},
        **{f"{norms}{n}.bias": torch.zeros(width) for n, width in enumerate(widths)},
        "neck.lateral_convs.0.conv.weight": torch.ones(4, 8, 1, 1),
        "rpn_head.rpn_conv.weight": torch.ones(4, 4, 3, 3),
        "roi_head.bbox_head.0.fc_cls.weight": torch.ones(3, 4),
    }
    return {**extra, **weights}


@pytest.mark.parametrize("form", ["authors", "mmpretrain"])
@pytest.mark.parametrize("layout", ["backbone", "openmmlab"])
def test_the_backbone_of_a_trained_detector(
    form: str, layout: str, tmp_path: Path, capsys: Capture
) -> None:
    """It is taken out, and what is left out is said."""
    headless = ("head.", "norm.", "backbone.norm3.")
    if form == "authors":
        weights = {n: v for n, v in OFFICIAL.items() if not n.startswith(headless)}
        tree = detector(before("backbone.", weights), "backbone.norm")
    else:
        weights = {n: v for n, v in OPENMMLAB.items() if not n.startswith(headless)}
        tree = detector(weights, "backbone.norm")
    path = saved(tmp_path, {"meta": {}, "state_dict": tree})
    report = verify(path, forward=False)
    assert report, report.first_failure
    assert any("neck.*" in note for note in report.notes)
    out = ["--out", str(tmp_path / "out"), "--format", "pth", "--json"]
    assert run(["convert", "--ckpt", str(path), "--layout", layout, *out]) == 0
    document = only(capsys.readouterr().out)
    assert any("norms that a detector has after each stage" in each for each in document["notes"])
    result = torch.load(document["output"], weights_only=True)
    names = result.get("state_dict", result)
    assert not any(name.startswith(("neck", "rpn_head", "roi_head", "head")) for name in names)
    inner = {name.removeprefix("backbone."): value for name, value in names.items()}
    for name, value in weights.items():
        inside = name.removeprefix("backbone.")
        if inside in inner:
            assert torch.equal(value, inner[inside])
    assert "stages.0.0.gnconv.proj_in.weight" in inner


def test_a_prefix_of_ones_own(plain: str, tmp_path: Path, capsys: Capture) -> None:
    """Of a student and a teacher the one that is named, in every command and function."""
    other = small.tensors("w8-gf", label="other")
    tree = before("student.backbone.", OFFICIAL) | before("teacher.backbone.", other)
    path = saved(tmp_path, tree)
    assert not verify(path, forward=False)
    assert (
        run(["verify", "--ckpt", str(path), "--no-forward", "--prefix", "student", "--json"]) == 1
    )
    capsys.readouterr()
    for prefix in ("student.backbone", "student.backbone."):
        options = ["--prefix", prefix, "--no-forward", "--json"]
        assert run(["verify", "--ckpt", str(path), *options]) == 0
        assert only(capsys.readouterr().out)["fingerprint"] == plain
        out = ["--out", str(tmp_path / "out")]
        assert run(["convert", "--ckpt", str(path), *options, *out]) == 0
        document = only(capsys.readouterr().out)
        assert "teacher.*" in " ".join(document["notes"])
    assert inspect(path, prefix="teacher.backbone").model == "w8-gf"
    assert load_model(path, prefix="student.backbone").num_classes == small.NUM_CLASSES
    found = load_state_dict(path, "official", prefix="student.backbone")
    assert torch.equal(found["norm.weight"], OFFICIAL["norm.weight"])
    with pytest.raises(UsageError, match="names that begin with student, teacher"):
        verify(path, prefix="nobody", forward=False)


def test_a_choice_by_prefix_has_no_published_name(tmp_path: Path) -> None:
    """As one by --key or --ema has none: the published name means the file's plain weights."""
    path = saved(tmp_path, before("student.", OFFICIAL) | before("teacher.", OFFICIAL))
    row = zoo.BY_NAME["tiny-gf"]
    report = convert(path, Request(tmp_path / "out", row=row, prefix="student"), forward=False)
    assert report, report.first_failure
    assert "3rdparty" not in Path(report.output or "").name


def shards(folder: Path, weights: Tensors) -> Path:
    """Two safetensors files and their index, as the Hub's libraries write them."""
    names = list(weights)
    parts = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for file, inside in parts.items():
        tensors = {name: weights[name] for name in inside}
        safetensors.torch.save_file(tensors, folder / file, {"format": "pt"})
    table = {name: file for file, inside in parts.items() for name in inside}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": table}))
    return index


def test_several_safetensors_files(plain: str, tmp_path: Path, capsys: Capture) -> None:
    """An index and its files are one checkpoint, for every command."""
    index = shards(tmp_path, OFFICIAL)
    report = verify(index, forward=False)
    assert report
    assert report.fingerprint == plain
    assert run(["convert", "--ckpt", str(index), "--out", str(tmp_path / "out"), "--json"]) == 0
    document = only(capsys.readouterr().out)
    assert document["fingerprint"] == plain
    assert "read from the 2 files that the index lists" in document["notes"]
    weights = load_model(index).state_dict()
    assert torch.equal(weights["head.norm.weight"], OFFICIAL["norm.weight"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda folder, table: (folder / "model-2-of-2.safetensors").unlink(), 2),
        (lambda folder, table: table.popitem(), 4),
        (lambda folder, table: table.update(extra="model-1-of-2.safetensors"), 4),
        (lambda folder, table: table.update(extra="../model-1-of-2.safetensors"), 4),
        (lambda folder, table: table.update({next(iter(table)): "model-2-of-2.safetensors"}), 4),
    ],
    ids=["no-file", "unlisted", "listed-only", "outside", "elsewhere"],
)
def test_an_index_that_does_not_fit_its_files(
    change: Callable[[Path, dict[str, str]], None], code: int, tmp_path: Path, capsys: Capture
) -> None:
    """Refused, with the file named."""
    index = shards(tmp_path, OFFICIAL)
    document = json.loads(index.read_text())
    change(tmp_path, document["weight_map"])
    index.write_text(json.dumps(document))
    assert run(["verify", "--ckpt", str(index), "--no-forward"]) == code
    assert "safetensors" in capsys.readouterr().err


class Whole(torch.nn.Linear):
    """A module that is pickled as a whole."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.distributed:UserWarning")
def test_what_is_something_else_is_named(tmp_path: Path) -> None:
    """TorchScript, .pt2, distributed checkpoints, modules, optimisers: each with a way out."""
    module = torch.nn.Linear(2, 2)
    script, program, folder = (tmp_path / name for name in ("script.pt", "program.pt2", "dcp"))
    traced = torch.jit.trace(module, torch.ones(1, 2))  # type: ignore[no-untyped-call]
    torch.jit.save(traced, script)
    torch.export.save(torch.export.export(module, (torch.ones(1, 2),)), program)
    save(module.state_dict(), checkpoint_id=folder, no_dist=True)
    whole = saved(tmp_path, Whole(2, 2), "whole.pth")
    only = saved(tmp_path, {"optimizer": torch.optim.Adam(module.parameters()).state_dict()}, "o")
    for path, text in {
        script: "TorchScript",
        program: r"exported program \(\.pt2\)",
        folder: "torch.distributed.checkpoint",
        whole: "whole pickled module",
        only: "only an optimizer's state",
    }.items():
        with pytest.raises(FileRefusedError, match=text) as raised:
            verify(path, forward=False)
        assert raised.value.hint
        if path in (script, program, folder):
            with pytest.raises(UnsupportedError):
                open_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("w8-gf64", "dict(type='GF', h=4, w=3), dict(type='GF', h=2, w=2)"),
        ("w8", "kernel_size=7)])"),
    ],
)
def test_the_arch_that_openmmlab_needs(
    name: str, filters: str, tmp_path: Path, capsys: Capture
) -> None:
    """Mmpretrain's names stand for other filters: the dict that fits is in the notes."""
    path = small.write(tmp_path / "x.pth", "bare-zip", name)
    out = ["--out", str(tmp_path / "out"), "--no-forward", "--json"]
    assert run(["convert", "--ckpt", str(path), "--layout", "openmmlab", *out]) == 0
    (note,) = [n for n in only(capsys.readouterr().out)["notes"] if "arch=" in n]
    assert "arch=dict(base_dim=8, depths=[2, 3, 18, 2], orders=[2, 3, 4, 5], dw_cfg=[" in note
    assert filters in note
