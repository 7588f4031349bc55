"""The seeded weights and the files made of them."""

import argparse
import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from fixtures import golden, seeded, small, zoo
from hornet_convert.family.layouts import Layout, remap

D = "stages.3.1.gnconv.dwconv"
W = "stages.1.2.gnconv.dwconv.weight"


@pytest.mark.parametrize(
    ("model", "key", "shape", "first", "last"),
    [
        ("tiny", "head.weight", (1000, 512), 0.050807710736989975, -0.06158268824219704),
        ("tiny", "stages.0.0.gamma1", (64,), 0.29826003313064575, 0.3487451672554016),
        ("tiny", "norm.bias", (512,), -0.10178136825561523, -0.1496301293373108),
        ("tiny", "norm.weight", (512,), 1.1331063508987427, 1.0456289052963257),
        ("small-gf", f"{D}.complex_weight", (744, 7, 4, 2), 0.7796730995178223, 1.3183387517929077),
        ("small-gf", f"{D}.post_norm.weight", (1488,), 1.9104516506195068, 2.089587688446045),
        ("small", W, (336, 1, 7, 7), -0.32427874207496643, -0.21961569786071777),
    ],
)
def test_weights_are_those_of_the_golden_outputs(
    model: str, key: str, shape: tuple[int, ...], first: float, last: float
) -> None:
    """A weight of every kind has the numbers that the golden outputs were computed with."""
    array = seeded.tensor(model, key, shape)
    assert array.shape == shape
    assert array.dtype == np.float32
    assert [float(array.flat[0]), float(array.flat[-1])] == [first, last]


def same(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> bool:
    """Whether names and all bits are equal."""
    return expected.keys() == found.keys() and all(
        torch.equal(tensor, found[key]) for key, tensor in expected.items()
    )


@pytest.mark.parametrize("form", small.FORMS)
def test_small_files_hold_the_small_weights(form: small.Form, tmp_path: Path) -> None:
    """Every form gives its tensors back, to torch's own reader, in the publisher's wrapper."""
    kind, _, ending = form.partition("-")
    layouts: dict[str, Layout] = {"reference": "reference", "openmmlab": "openmmlab"}
    layout = layouts.get(ending if kind == "safetensors" else kind, "official")
    for name in small.NAMES:
        path = small.write(tmp_path / "file", form, name)
        if kind == "safetensors":
            found = safetensors.torch.load_file(path)
        else:
            document = torch.load(path, weights_only=False)
            wrapper = {"openmmlab": "state_dict"}.get(kind, "model")
            found = document if kind == "bare" else document[wrapper]
            assert found._metadata[""] == {"version": 1}
            if kind in ("official", "training", "module"):
                assert isinstance(document["args"], argparse.Namespace)
            if kind == "training":
                assert same(small.tensors(name, label=f"{name}/ema"), document["model_ema"])
            found = {key.removeprefix("module."): tensor for key, tensor in found.items()}
        assert same(small.tensors(name, layout), found)


@pytest.mark.full_size
def test_every_text_says_how_large_the_zoo_is() -> None:
    """Of `small` there are two sets of weights."""
    sets = (*golden.models(), zoo.WITH_TRAINING_STATE)
    shapes = [shape for model in sets for shape in golden.layout(model, "official").values()]
    told = f"{sum(map(math.prod, shapes)) * 4 / 1e9:.1f} GB"
    root = Path(__file__).parents[1]
    for name in ("Makefile", "CONTRIBUTING.md", "fixtures/README.md", "fixtures/zoo.py"):
        assert [told] == re.findall(r"[\d.]+ GB", (root / name).read_text())


def test_zoo_builds_once_and_lists_the_true_digests(tmp_path: Path) -> None:
    """Both forms hold the same tensors; a second run changes nothing; damage is mended."""
    official = zoo.build(tmp_path / "a", "tiny", "official")
    openmmlab = zoo.build(tmp_path / "b", "tiny", "openmmlab")
    for path, form in ((official, "official"), (openmmlab, "openmmlab")):
        data = path.read_bytes()
        assert data.startswith(b"PK\x03\x04") == (form == "official")
        digest = hashlib.sha256(data).hexdigest()
        assert path.name == f"hornet-tiny_3rdparty_in1k_20220915-{digest[:8]}.pth"
        row = {"model": "tiny", "file": path.name, "size": len(data), "sha256": digest}
        assert json.loads((path.parent / "index.json").read_text()) == {"files": [row]}

    weights = torch.load(official, weights_only=False)["model"]
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    assert shapes == golden.layout("tiny", "official")
    names = remap(weights, "official", "openmmlab").names
    renamed = {names[key]: tensor for key, tensor in weights.items()}
    assert same(renamed, torch.load(openmmlab, weights_only=False)["state_dict"])

    before = official.stat().st_mtime_ns
    assert zoo.build(tmp_path / "a", "tiny", "official") == official
    assert official.stat().st_mtime_ns == before
    with official.open("r+b") as file:
        file.seek(-(1 << 20), 2)
        file.write(b"\xff")
    assert zoo.build(tmp_path / "a", "tiny", "official") == official
    assert hashlib.sha256(official.read_bytes()).hexdigest().startswith(official.name[-12:-4])
