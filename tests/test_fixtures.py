"""The seeded weights and the files made of them."""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from fixtures import golden, seeded, small, zoo
from hornet_convert.family.layouts import Layout, remap


@pytest.mark.parametrize(
    ("model", "key", "shape", "first", "last"),
    [
        ("tiny", "head.weight", (1000, 512), 0.050807710736989975, -0.06158268824219704),
        ("tiny", "stages.0.0.gamma1", (64,), 0.29826003313064575, 0.3487451672554016),
        ("tiny", "norm.bias", (512,), -0.10178136825561523, -0.1496301293373108),
        ("tiny", "norm.weight", (512,), 1.1331063508987427, 1.0456289052963257),
        (
            "small-gf",
            "stages.3.1.gnconv.dwconv.complex_weight",
            (744, 7, 4, 2),
            0.7796730995178223,
            1.3183387517929077,
        ),
        (
            "small-gf",
            "stages.3.1.gnconv.dwconv.post_norm.weight",
            (1488,),
            1.9104516506195068,
            2.089587688446045,
        ),
        (
            "small",
            "stages.1.2.gnconv.dwconv.weight",
            (336, 1, 7, 7),
            -0.32427874207496643,
            -0.21961569786071777,
        ),
    ],
)
def test_weights_are_those_of_the_golden_outputs(
    model: str, key: str, shape: tuple[int, ...], first: float, last: float
) -> None:
    """A weight of every kind has the numbers that the golden outputs were computed with."""
    array = seeded.tensor(model, key, shape)
    assert shape == array.shape
    assert np.float32 == array.dtype
    assert [first, last] == [float(array.flat[0]), float(array.flat[-1])]


def test_image_is_that_of_the_golden_outputs() -> None:
    """The images too, whose last pixel depends on their size."""
    assert -0.0005065379664301872 == float(seeded.image("tiny", (1, 3, 2, 2)).flat[-1])


@pytest.mark.parametrize("name", small.NAMES)
@pytest.mark.parametrize("form", small.FORMS)
def test_small_files_hold_the_small_weights(name: str, form: small.Form, tmp_path: Path) -> None:
    """Every form of every small model gives its tensors back, to torch's own reader."""
    path = small.write(tmp_path / "file", form, name)
    kind, _, ending = form.partition("-")
    layouts: dict[str, Layout] = {"reference": "reference", "openmmlab": "openmmlab"}
    layout = layouts.get(ending if kind == "safetensors" else kind, "official")
    if kind == "safetensors":
        found = safetensors.torch.load_file(path)
    else:
        document = torch.load(path, weights_only=False)
        wrapper = {"openmmlab": "state_dict"}.get(kind, "model")
        found = document if kind == "bare" else document[wrapper]
        assert found._metadata[""] == {"version": 1}
        if kind in ("official", "training", "module"):
            assert isinstance(document["args"], argparse.Namespace)
        if kind == "module":
            found = {key.removeprefix("module."): tensor for key, tensor in found.items()}
        if kind == "training":
            ema = small.tensors(name, label=f"{name}/ema")
            assert same(ema, document["model_ema"])
            assert not same(ema, found)
    assert same(small.tensors(name, layout), found)


def same(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> bool:
    """Whether names and all bits are equal."""
    return expected.keys() == found.keys() and all(
        torch.equal(tensor, found[key]) for key, tensor in expected.items()
    )


@pytest.mark.full_size
def test_zoo_builds_once_and_lists_the_true_digests(tmp_path: Path) -> None:
    """Both forms hold the same tensors; a second run changes nothing; damage is mended."""
    official = zoo.build(tmp_path / "a", "tiny", "official")
    openmmlab = zoo.build(tmp_path / "b", "tiny", "openmmlab")
    assert b"PK\x03\x04" == official.read_bytes()[:4]
    assert b"PK\x03\x04" != openmmlab.read_bytes()[:4]

    weights = torch.load(official, weights_only=False)["model"]
    renamed = remap(weights, "official", "openmmlab").names
    assert golden.layout("tiny", "official") == {
        key: tuple(tensor.shape) for key, tensor in weights.items()
    }
    assert same(
        {renamed[key]: tensor for key, tensor in weights.items()},
        torch.load(openmmlab, weights_only=False)["state_dict"],
    )

    for path in (official, openmmlab):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        row = {"model": "tiny", "file": path.name, "size": path.stat().st_size, "sha256": digest}
        assert f"hornet-tiny_3rdparty_in1k_20220915-{digest[:8]}.pth" == path.name
        assert {"files": [row]} == json.loads((path.parent / "index.json").read_text())

    before = official.stat()
    assert official == zoo.build(tmp_path / "a", "tiny", "official")
    assert before.st_mtime_ns == official.stat().st_mtime_ns

    with official.open("r+b") as file:
        file.seek(-(1 << 20), 2)
        file.write(b"\xff")
    assert official == zoo.build(tmp_path / "a", "tiny", "official")
    assert official.name[-12:-4] == hashlib.sha256(official.read_bytes()).hexdigest()[:8]
