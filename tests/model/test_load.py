"""Weights and models from files: the tensors are views of the file, and every file loads."""

import json
import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import containers, small
from hornet_convert import create_model, load_model, load_state_dict
from hornet_convert.api.checkpoints import verify
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import CheckFailedError, DiskError, UsageError
from hornet_convert.family.layouts import LAYOUTS, Layout
from hornet_convert.model.load import load_for_training
from hornet_convert.model.weights import MappedWeights

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", small.FORMS)
def test_state_dict_is_what_the_reader_reads(
    form: small.Form, layout: Layout, tmp_path: Path
) -> None:
    """Bit for bit, in every container, wrapper and layout."""
    path = small.write(tmp_path / "file", form, "w8-gf")
    weights = load_state_dict(path, layout)
    expected = small.arrays("w8-gf", layout)
    assert set(expected) == set(weights)
    for name, tensor in weights.items():
        assert torch.float32 == tensor.dtype
        assert expected[name].tobytes() == tensor.numpy().tobytes()
    with open_checkpoint(path) as checkpoint:
        tensors = select_state_dict(checkpoint.root).tensors.values()
        read = [checkpoint.read(tensor).tobytes() for tensor in tensors]
    assert read == [tensor.numpy().tobytes() for tensor in weights.values()]


def test_state_dict_goes_into_a_model(tmp_path: Path) -> None:
    """As it is, as a dict, and without copying."""
    ckpt = small.write(tmp_path / "w8-gf.pth", "openmmlab-legacy", "w8-gf")
    weights = load_state_dict(ckpt)
    expected = load_model(ckpt)(IMAGES)
    for given, assign in ((dict(weights), False), (weights, False), (weights, True)):
        model = create_model("w8-gf", small.NUM_CLASSES, device="meta" if assign else "cpu")
        model.load_state_dict(given, assign=assign)
        assert torch.equal(expected, model(IMAGES))


def test_averaged_weights(tmp_path: Path) -> None:
    """Those of the averaged copy, only where there is one."""
    path = small.write(tmp_path / "a.pth", "training-zip", "w8")
    weights = load_state_dict(path, "official", ema=True)
    expected = small.tensors("w8", label="w8/ema")
    assert all(torch.equal(expected[name], tensor) for name, tensor in weights.items())
    with pytest.raises(UsageError):
        load_state_dict(small.write(tmp_path / "b.pth", "official-zip", "w8"), ema=True)


def test_a_changed_tensor_leaves_the_file_alone(tmp_path: Path) -> None:
    """Copy on write: training a loaded model changes no file."""
    path = small.write(tmp_path / "a.safetensors", "safetensors-reference", "w8")
    before = path.read_bytes()
    model = load_model(path)
    model(IMAGES).sum().backward()
    torch.optim.SGD(model.parameters(), 1.0).step()
    assert before == path.read_bytes()
    fresh = small.tensors("w8", "reference")["head.fc.bias"]
    assert not torch.equal(fresh, model.state_dict()["head.fc.bias"])
    assert torch.equal(fresh, load_state_dict(path)["head.fc.bias"])


def test_a_removed_file_can_still_be_used(tmp_path: Path) -> None:
    """The mapping keeps it."""
    path = small.write(tmp_path / "a.safetensors", "safetensors-reference", "w8")
    model, weights = load_model(path), load_state_dict(path)
    path.unlink()
    assert torch.equal(weights["head.fc.weight"], model.state_dict()["head.fc.weight"])
    assert (2, small.NUM_CLASSES) == model(IMAGES).shape


def test_nothing_is_copied_from_safetensors(tmp_path: Path) -> None:
    """Asked twice, a tensor is the same memory."""
    path = small.write(tmp_path / "a.safetensors", "safetensors-reference", "w8")
    weights = load_state_dict(path)
    assert all(weights[name].data_ptr() == weights[name].data_ptr() for name in weights)
    with pytest.raises(KeyError):
        weights["no such tensor"]
    assert "no such tensor" not in weights


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_the_mapping_is_lazy(tmp_path: Path) -> None:
    """A file of 1 GiB, nearly all of it a hole, is mapped without being read."""
    path = tmp_path / "a.safetensors"
    name, count = "head.fc.weight", 1 << 28
    row = {name: {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}
    header = json.dumps(row).encode().ljust(128)
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + 4 * count)
    before = _resident()
    weights = load_state_dict(path)
    assert (count,) == weights[name].shape
    assert 0.0 == float(weights[name][-1])
    assert _resident() - before < 1 << 27


def _resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _odd_tensors() -> dict[str, torch.Tensor]:
    """Views of every kind, and element types of every size."""
    numbers = torch.arange(1, 61, dtype=torch.float32)
    flat = torch.arange(300, dtype=torch.uint8)
    kinds = (torch.float64, torch.bfloat16, torch.int16, torch.bool, torch.complex64)
    return {
        "whole": numbers,
        "part of it": numbers[7:19],
        "transposed": numbers.view(3, 4, 5).permute(2, 0, 1),
        "expanded": numbers[:4, None].expand(4, 3),
        "every third": numbers[2::3],
        "a number": torch.tensor(3.5),
        "nothing": torch.empty(0, 4),
        "bytes": flat[3:17],
        "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        **{str(kind): (numbers[:7] - 1).to(kind) for kind in kinds},
        "complex, strided": torch.randn(4, 6, dtype=torch.complex128).T,
    }


@pytest.mark.parametrize("save", [containers.save_zip, containers.save_legacy])
def test_tensors_of_every_kind(save: containers.Save, tmp_path: Path) -> None:
    """Strided, expanded, shared, unaligned, big-endian: as torch and the reader see them."""
    expected = _odd_tensors()
    path = tmp_path / "file.pth"
    with path.open("wb") as file:
        save(OrderedDict(expected), file)
    with open_checkpoint(path) as checkpoint:
        tensors = select_state_dict(checkpoint.root).tensors
        weights = MappedWeights(checkpoint, tensors)
        swapped = {
            name: replace(tensor, storage=replace(tensor.storage, big_endian=True))
            for name, tensor in tensors.items()
        }
        other = MappedWeights(checkpoint, swapped)
        read = {name: checkpoint.read(tensor).tobytes() for name, tensor in swapped.items()}
    assert list(expected) == list(weights)
    for name, tensor in expected.items():
        assert tensor.dtype == weights[name].dtype
        assert torch.equal(tensor, weights[name])
        assert weights[name].is_contiguous()
        assert 0 == weights[name].data_ptr() % tensor.dtype.itemsize or tensor.numel() == 0
        found = other[name]
        assert (tensor.shape, tensor.dtype) == (found.shape, found.dtype)
        assert read[name] == found.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_tensors_of_one_storage_are_copied(tmp_path: Path) -> None:
    """Changing one never changes another."""
    path = tmp_path / "file.pth"
    with path.open("wb") as file:
        containers.save_zip(OrderedDict(_odd_tensors()), file)
    with open_checkpoint(path) as checkpoint:
        weights = MappedWeights(checkpoint, select_state_dict(checkpoint.root).tensors)
    part = weights["part of it"]
    weights["whole"].zero_()
    assert 8.0 == float(part[0])
    assert 1.0 == float(weights["whole"][0])


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    """Cut between opening and mapping: said, not crashed."""
    path = small.write(tmp_path / "a.safetensors", "safetensors-reference", "w8")
    with open_checkpoint(path) as checkpoint:
        tensors = select_state_dict(checkpoint.root).tensors
        os.truncate(path, 1000)
        with pytest.raises(DiskError, match="mapped"):
            MappedWeights(checkpoint, tensors)


def test_keys_of_something_else(tmp_path: Path) -> None:
    """What cannot be translated is named, and nothing is dropped."""
    path = tmp_path / "a.pth"
    weights = small.tensors("w8")
    for extra in ("stages.0.0.gamma3", "module.norm.weight"):
        with path.open("wb") as file:
            containers.save_zip(weights | {extra: torch.zeros(1)}, file)
        with pytest.raises(CheckFailedError, match=extra):
            load_state_dict(path)
    unknown: dict[str, Any] = {"layout": "timm"}
    with pytest.raises(UsageError, match="timm"):
        load_state_dict(path, **unknown)


def _write(path: Path, checkpoint: object) -> Path:
    with path.open("wb") as file:
        containers.save_zip(checkpoint, file)
    return path


@pytest.mark.parametrize("name", ["w8", "w8-gf"])
def test_a_backbone_becomes_a_model(name: str, tmp_path: Path) -> None:
    """What `verify` accepts can be loaded: without a classifier, its final norm fresh."""
    weights = {
        key: tensor for key, tensor in small.tensors(name).items() if not key.startswith("norm.")
    }
    backbone = {key: tensor for key, tensor in weights.items() if not key.startswith("head.")}
    path = _write(tmp_path / "backbone.pth", backbone)
    assert verify(path, forward=False)
    model = load_model(path)
    whole = load_model(small.write(tmp_path / "whole.pth", "official-zip", name))
    assert model.num_classes == 0
    assert torch.equal(whole.forward_features(IMAGES), model.forward_features(IMAGES))
    assert torch.equal(torch.ones(64), model.get_parameter("head.norm.weight"))
    assert torch.equal(torch.zeros(64), model.get_parameter("head.norm.bias"))
    assert (2, 64) == model(IMAGES).shape
    trained = load_for_training(path, 5, seed=1, dtype=torch.float64)
    assert (2, 5) == trained(IMAGES.double()).shape


def test_a_set_of_weights_is_chosen_by_its_key(tmp_path: Path) -> None:
    """Of two sets of weights in one file the one that is asked for."""
    item, two = small.tensors("w8"), small.tensors("w8", label="w8/other")
    path = _write(tmp_path / "two.pth", {"model": item, "state_dict": two})
    for key, expected in (("model", item), ("state_dict", two)):
        weights = load_state_dict(path, "official", key=key)
        assert torch.equal(expected["head.weight"], weights["head.weight"])
        model = load_model(path, key=key)
        assert torch.equal(expected["head.weight"], model.state_dict()["head.fc.weight"])
