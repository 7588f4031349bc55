"""Files with several sets of weights: never a silent choice, --key and --ema decide."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import inspect, verify
from hornet_convert.cli import run
from tests.documents import only

Capture = pytest.CaptureFixture[str]

GOOD = small.tensors("w8")
OTHER = small.tensors("w8", label="other")


def saved(folder: Path, tree: Any) -> str:
    """The path of a checkpoint with some tree in it."""
    path = folder / "x.pth"
    torch.save(tree, path)
    return str(path)


@pytest.mark.parametrize(
    "tree",
    [
        {"model": GOOD, "state_dict": OTHER},
        {"state_dict": GOOD, "model": {"net": OTHER}},
        {"model": GOOD, "state_dict": Counter(OTHER)},
        {"model": GOOD, "weights": OTHER},
        {"model": GOOD, "copies": [{"of": {f"module.{k}": v for k, v in OTHER.items()}}]},
        {"model": GOOD, "state_dict": small.tensors("w8", "openmmlab", label="other")},
    ],
)
def test_two_sets_are_refused_until_a_key_decides(
    tree: Any, tmp_path: Path, capsys: Capture
) -> None:
    """Exit 4 with the way to both, though one of them is authentic; then the one that was named."""
    path = saved(tmp_path, tree)
    trusted = str(small.write(tmp_path / "trusted.pth", "bare-zip", "w8"))
    options = ["--against", trusted, "--require", "authentic", "--no-forward", "--json"]
    options += ["--cache", str(tmp_path / "cache")]
    out = ["--out", str(tmp_path / "out")]
    for command in (["verify"], ["convert", *out]):
        assert 4 == run([*command, "--ckpt", path, *options])
        error = only(capsys.readouterr().out)["error"]
        assert "ambiguous" == error["code"]
        assert "--key" in error["hint"]
        assert all(f"'{name}" in error["found"] for name in tree)
    assert 0 == run(["inspect", path, "--json"])
    assert "several sets" in only(capsys.readouterr().out)["problem"]
    good = next(key for key, value in tree.items() if value is GOOD)
    for command in (["verify"], ["convert", *out]):
        assert 0 == run([*command, "--ckpt", path, "--key", good, *options])
        document = only(capsys.readouterr().out)
        assert "authentic" == document["verdict"]
        assert f"the weights lie under {good!r}" in document["notes"]
    assert 0 == run(["inspect", path, "--key", good, "--json"])
    assert [good] == only(capsys.readouterr().out)["wrapper"]
    assert 2 == run(["verify", "--ckpt", path, "--key", "nowhere", *options])
    assert f"'{good}'" in only(capsys.readouterr().out)["error"]["found"]
    assert 2 == run(["verify", "--ckpt", path, "--key", good, "--ema", *options])
    if tree.get("weights") is OTHER:
        assert 1 == run(["verify", "--ckpt", path, "--key", "weights", *options])


def test_mmengine_files_are_told_apart(tmp_path: Path) -> None:
    """There `state_dict` is the average, which the report says, and how the raw ones are had."""
    raw = {f"module.{name}": tensor for name, tensor in OTHER.items()} | {"steps": torch.tensor(9)}
    meta = {"mmengine_version": "0.10.7", "epoch": 300}
    path = saved(tmp_path, {"meta": meta, "state_dict": GOOD, "ema_state_dict": raw})
    good = verify(small.write(tmp_path / "good.pth", "bare-zip", "w8"), forward=False).fingerprint
    for ema in (False, True):
        report = verify(path, ema=ema, forward=False)
        assert good == report.fingerprint
        assert "taken" == report.ema
        assert "averaged weights (EMA) lie under 'state_dict' and were taken" in report.notes
        assert any("--key ema_state_dict" in note for note in report.notes)
    assert ("ema_state_dict",) == inspect(path).raw_wrapper
    report = verify(path, key="ema_state_dict", forward=False)
    assert good != report.fingerprint
    assert "present, not taken" == report.ema
    assert any("'state_dict' and were not taken" in note for note in report.notes)
