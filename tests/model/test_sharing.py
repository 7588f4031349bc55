"""Models in folders, as the Hub's libraries lay them out: written, read, held to their config."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fixtures import containers, small
from hornet_convert import HorNet, create_model, data_config, load_model, load_state_dict
from hornet_convert.api.checkpoints import verify
from hornet_convert.errors import (
    CheckFailedError,
    DiskError,
    FileRefusedError,
    MalformedError,
    NotACheckpointError,
    UsageError,
)
from hornet_convert.family.pretrained_cfg import hub_config
from hornet_convert.files import writing


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def same(item: nn.Module, other: nn.Module) -> bool:
    """Whether two models have the same parameters, to the last bit and by the same names."""
    a, b = item.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("name", "num_classes", "dtype"),
    [("w8", 10, torch.float32), ("w8-gf64", None, torch.bfloat16)],
)
def test_what_is_saved_comes_back(
    name: str, num_classes: int | None, dtype: torch.dtype, tmp_path: Path
) -> None:
    """By any of the three ways; `verify` accepts the file, and other libraries read it."""
    model = create_model(name, num_classes, seed=1, layer_scale_init=0.1, dtype=dtype)
    folder = tmp_path / "a" / "model"
    model.save_pretrained(folder)
    assert {"config.json", "model.safetensors"} == {path.name for path in folder.iterdir()}
    found = HorNet.from_pretrained(folder, dtype=dtype)
    assert not found.training
    assert same(model, found)
    assert same(model, load_model(folder, dtype=dtype))
    assert same(model, load_model(folder / "model.safetensors", dtype=dtype))
    assert set(model.state_dict()) == set(load_state_dict(str(folder)))
    plain = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, plain[key]) for key, value in model.state_dict().items())
    report = verify(folder / "model.safetensors", forward=False)
    assert "pass" == {row.code: row.status for row in report.checks}["fingerprint"]
    assert report
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) & 0o044


def test_the_config_says_what_timm_wants_to_know() -> None:
    """Its name of the model, the classes, and the preprocessing."""
    model = create_model("tiny-gf", 3, device="meta")
    config = json.loads(json.dumps(hub_config(model.architecture, model.num_classes)))
    assert ("hornet_tiny_gf", 3, 512) == (
        config["architecture"], config["num_classes"], config["num_features"],
    )  # fmt: skip
    told = config["pretrained_cfg"]
    for key, value in json.loads(json.dumps(data_config("tiny-gf"))).items():
        assert value == told[key]
    assert ("stem.0", "head.fc", 3) == (
        told["first_conv"], told["classifier"], told["num_classes"],
    )  # fmt: skip
    assert {told["first_conv"], told["classifier"]} <= set(dict(model.named_modules()))


def test_saving_again_replaces_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    """The same model gives the same bytes; a model card stays."""
    (tmp_path / "README.md").write_text("mine")
    create_model("w8", 10, seed=1).save_pretrained(tmp_path)
    first = (tmp_path / "model.safetensors").read_bytes()
    create_model("w8", 4, seed=2).save_pretrained(tmp_path)
    assert 4 == load_model(tmp_path).num_classes
    create_model("w8", 10, seed=1).save_pretrained(tmp_path)
    assert first == (tmp_path / "model.safetensors").read_bytes()
    assert "mine" == (tmp_path / "README.md").read_text()


def test_what_is_no_hornet_any_more_is_not_saved(tmp_path: Path) -> None:
    """An adapter's extra parameters, another head: said, and nothing is written."""
    model: Any = create_model("w8", 10, seed=1)
    model.head.fc.adapter = nn.Linear(2, 2)
    with pytest.raises(CheckFailedError, match=r"head\.fc\.adapter\.weight.*Merge"):
        model.save_pretrained(tmp_path)
    assert [] == list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="`folder`"):
        create_model("w8", seed=1).save_pretrained(tmp_path / "file")


def test_a_disk_that_does_not_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is read again, and gets its name only if it is the same."""
    usual = writing.write_all

    def forgetful(fd: int, data: memoryview, offset: int) -> None:
        usual(fd, memoryview(bytes(len(data))) if len(data) == 40 else data, offset)

    monkeypatch.setattr("hornet_convert.model.save.write_all", forgetful)
    model = create_model("w8", 10, seed=1)
    nn.init.ones_(model.get_parameter("head.fc.bias"))
    with pytest.raises(DiskError, match="did not keep"):
        model.save_pretrained(tmp_path)
    assert [] == list(tmp_path.iterdir())


def written(folder: Path, name: str, **config: object) -> Path:
    """A folder with the weights of a small model under a name, and a config."""
    folder.mkdir(exist_ok=True)
    weights = small.tensors("w8", "openmmlab" if name.endswith(".bin") else "reference")
    if name.endswith(".index.json"):
        names, table = list(weights), dict[str, str]()
        for number, part in enumerate((names[::2], names[1::2])):
            shard = f"model-{number}.safetensors"
            save_file({key: weights[key] for key in part}, folder / shard)
            table |= dict.fromkeys(part, shard)
        (folder / name).write_text(json.dumps({"weight_map": table}))
    elif name.endswith(".safetensors"):
        save_file(weights, folder / name)
    else:
        with (folder / name).open("wb") as file:
            containers.save_zip(OrderedDict(weights), file)
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"]
)
def test_folders_of_other_libraries(name: str, tmp_path: Path) -> None:
    """Whole, in shards, or pickled, in any layout, with a config or without."""
    expected = small.tensors("w8", "reference")
    for config in ({}, {"architecture": "hornet_w8", "num_classes": 10, "other": [1]}):
        model = HorNet.from_pretrained(written(tmp_path / name, name, **config))
        found: dict[str, Tensor] = model.state_dict()
        assert all(torch.equal(value, found[key]) for key, value in expected.items())
    if name.endswith(".json"):
        report = verify(tmp_path / name / name, forward=False)
        assert "read from the 2 files that the index lists" in report.notes


def test_safetensors_goes_first(tmp_path: Path) -> None:
    """A pickle beside it is not even opened; one that would run something runs nothing."""
    folder = written(tmp_path / "x", "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"rubbish")
    assert 10 == load_model(folder).num_classes
    (folder / "model.safetensors").unlink()
    torch.save({"head.weight": Evil(tmp_path / "sprung")}, folder / "pytorch_model.bin")
    with pytest.raises(FileRefusedError):
        HorNet.from_pretrained(folder)
    assert not (tmp_path / "sprung").exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"architecture": "hornet_tiny_gf.in1k"}, "found: hornet_tiny_gf.in1k with 10 classes"),
        ({"architecture": "hornet_tiny_7x7"}, "found: hornet_tiny_7x7 with 10 classes"),
        ({"architecture": "hornet_w8", "num_classes": 7}, "found: hornet_w8 with 7 classes"),
        ({"num_classes": 0}, "with no classes"),
    ],
)
def test_a_config_of_another_model(config: dict[str, object], text: str, tmp_path: Path) -> None:
    """Refused, with both named; the file alone can still be loaded."""
    folder = written(tmp_path / "x", "model.safetensors", **config)
    with pytest.raises(CheckFailedError, match=text) as caught:
        load_model(folder)
    assert "w8 with 10 classes, as the weights are" == caught.value.expected
    assert 10 == load_model(folder / "model.safetensors").num_classes


def test_folders_that_are_none(tmp_path: Path) -> None:
    """No weights, a config that is no JSON, a distributed checkpoint, nothing: each by its name."""
    with pytest.raises(NotACheckpointError, match=r"model\.safetensors or "):
        load_model(tmp_path)
    folder = written(tmp_path / "x", "model.safetensors")
    (folder / "config.json").write_text("{")
    with pytest.raises(MalformedError, match=r"config\.json is malformed"):
        load_model(folder)
    (tmp_path / ".metadata").write_bytes(b"")
    with pytest.raises(FileRefusedError, match=r"torch\.distributed\.checkpoint"):
        load_model(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        load_model(tmp_path / "nothing")
    with pytest.raises(UsageError, match="create_model"):
        HorNet.from_pretrained("tiny-gf")


def test_a_class_of_ones_own(tmp_path: Path) -> None:
    """What is derived from HorNet comes back as what it is."""

    class Mine(HorNet):
        """With something beside."""

        def twice(self, x: Tensor) -> Tensor:
            return torch.mul(self(x), 2)

    Mine("w8", 10).save_pretrained(tmp_path)
    model = Mine.from_pretrained(tmp_path, num_classes=2)
    assert (1, 2) == model.twice(torch.zeros(1, 3, 32, 32)).shape


def test_another_head_device_and_dtype(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A fresh classifier where it does not fit, by a seed, and the log tells; the rest is kept."""
    path = small.write(tmp_path / "x.pth", "openmmlab-legacy", "w8-gf")
    ours = load_model(path)
    images = torch.randn(2, 3, 32, 32)
    with caplog.at_level(logging.INFO, "hornet_convert"):
        for classes in (10, 0, None):
            assert classes or 64 == load_model(path, num_classes=classes)(images).shape[1]
        assert [] == caplog.messages
        model = load_model(path, num_classes=3, seed=4)
        assert ["a fresh classifier: 3 classes, the file has 10"] == caplog.messages
    assert not model.training
    assert (2, 3) == model(images).shape
    assert torch.equal(ours.forward_features(images), model.forward_features(images))
    again = load_model(path, 3, seed=4, dtype=torch.bfloat16)
    assert torch.equal(
        model.get_parameter("head.fc.weight").bfloat16(), again.get_parameter("head.fc.weight")
    )
    assert {torch.bfloat16, torch.float32} == {each.dtype for each in again.parameters()}
    assert {"meta"} == {each.device.type for each in load_model(path, device="meta").parameters()}
    with pytest.raises(ValueError, match="num_classes"):
        load_model(path, num_classes=-1)
