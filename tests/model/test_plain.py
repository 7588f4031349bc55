"""The second implementation: independent, textbook, and asking for one weight at a time."""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fixtures import small
from hornet_convert.family.layouts import LAYOUTS, Layout
from hornet_convert.model import plain


def images(*shape: int) -> Tensor:
    """Seeded images."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def test_shares_no_code_with_the_package() -> None:
    """It imports the standard library and torch, and nothing of ours."""
    tree = ast.parse(Path(plain.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level
            imported.add((node.module or "").split(".")[0])
    assert "torch" in imported
    assert set() == imported - {"torch"} - sys.stdlib_module_names


@pytest.mark.parametrize("name", small.NAMES)
@torch.no_grad()
def test_every_layout_gives_the_same_bits(name: str) -> None:
    """The three layouts name the same weights."""
    image = images(1, 3, 64, 64)
    outputs: list[list[Tensor]] = []
    names: list[list[str]] = []
    for layout in LAYOUTS:
        steps = list(plain.steps(small.tensors(name, layout), layout, image))
        names.append([step.name for step in steps])
        outputs.append([step.output for step in steps])
    assert names[0] == names[1] == names[2]
    for item, two, three in zip(*outputs, strict=True):
        assert torch.float64 == item.dtype
        assert torch.equal(item, two)
        assert torch.equal(item, three)


@torch.no_grad()
def test_steps() -> None:
    """Stem, downsamplings, blocks and head, in the order of the computation, with their shapes."""
    steps = list(plain.steps(small.tensors("w8-gf"), "official", images(2, 3, 70, 33)))
    expected = ["stem"]
    for stage, depth in enumerate((2, 3, 18, 2)):
        expected += [f"stages.{stage}.downsample"] * (stage > 0)
        expected += [f"stages.{stage}.blocks.{block}" for block in range(depth)]
    expected += ["head.norm", "head.fc"]
    assert expected == [step.name for step in steps]
    shapes = {step.name: tuple(step.output.shape) for step in steps}
    assert (2, 8, 17, 8) == shapes["stem"]
    assert (2, 32, 4, 2) == shapes["stages.2.blocks.17"]
    assert (2, 64, 2, 1) == shapes["stages.3.downsample"]
    assert (2, 64) == shapes["head.norm"]
    assert (2, 10) == shapes["head.fc"]


@pytest.mark.parametrize(
    ("dropped", "last"),
    [(("head.",), "head.norm"), (("head.", "norm."), "stages.3.blocks.1")],
)
@torch.no_grad()
def test_without_head(dropped: tuple[str, ...], last: str) -> None:
    """What the checkpoint does not have is not run."""
    weights = {
        key: tensor for key, tensor in small.tensors("w8").items() if not key.startswith(dropped)
    }
    *_, step = plain.steps(weights, "official", images(1, 3, 32, 32))
    assert last == step.name


class Recorder(Mapping[str, Tensor]):
    """Weights that keep a record of what is asked for."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Tensor:
        self.asked.append(name)
        return self._weights[name].clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


@pytest.mark.parametrize("name", ["w8", "w8-gf"])
@torch.no_grad()
def test_weights_are_asked_for_once_and_in_turn(name: str) -> None:
    """A lazy mapping serves each tensor once, when its part is run."""
    weights = Recorder(small.tensors(name, "reference"))
    served: list[str] = []
    for step in plain.steps(weights, "reference", images(1, 3, 32, 32)):
        fresh = weights.asked[len(served) :]
        prefix = {"stem": "stem.", "head.norm": "head.norm.", "head.fc": "head.fc."}
        assert fresh
        assert all(key.startswith(prefix.get(step.name, f"{step.name}.")) for key in fresh)
        served += fresh
    assert sorted(weights) == sorted(served)


def test_large_arrays_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the pieces does not change the result."""
    weights, image = small.tensors("w8"), images(1, 3, 64, 64)
    *_, (_, whole) = plain.steps(weights, "official", image)
    monkeypatch.setattr(plain, "PIXELS_AT_ONCE", 30)
    monkeypatch.setattr(plain, "WEIGHTS_AT_ONCE", 100)
    monkeypatch.setattr(plain, "ELEMENTS_AT_ONCE", 77)
    *_, (_, pieces) = plain.steps(weights, "official", image)
    assert torch.allclose(whole, pieces, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_tensor_is_named(layout: Layout) -> None:
    """What a block needs and does not find is a KeyError with its name."""
    weights = small.tensors("w8", layout)
    key = next(key for key in weights if key.endswith("1.gnconv.proj_out.bias"))
    del weights[key]
    with pytest.raises(KeyError, match=key):
        list(plain.steps(weights, layout, images(1, 3, 32, 32)))
