"""Forward equivalence passes right weights only, and names where wrong ones begin."""

import gc
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from torch import Tensor

from fixtures import small
from hornet_convert.errors import CheckFailedError
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.layouts import LAYOUTS, Layout
from hornet_convert.model import equivalence
from hornet_convert.model.equivalence import AHEAD, compare_forward, hasten
from hornet_convert.model.layers import GlobalLocalFilter, Mlp, gnConv
from hornet_convert.report.trace import TOLERANCE, Deviation, Trace

Tensors = dict[str, Tensor]
SIDE = 64


def compare(
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    name: str = "w8-gf",
    layout: Layout = "official",
    *,
    num_classes: int | None = small.NUM_CLASSES,
    float32: bool = False,
) -> Trace:
    """The comparison on a small image."""
    architecture = Architecture.from_name(name)
    return compare_forward(
        source, layout, target, architecture, num_classes, image_size=SIDE, float32=float32
    )


def first_diverging(result: Trace) -> str | None:
    """The name of the first part that deviates too far."""
    at = result.first_diverging
    return None if at is None else result.parts[at].module


@pytest.mark.parametrize("name", small.NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_right_weights_pass(name: str, layout: Layout) -> None:
    """The same weights agree to float64's precision, part by part, in every layout."""
    target = small.tensors(name, "reference")
    result = compare(small.tensors(name, layout), target, name, layout, float32=True)
    assert result.passed
    assert result.first_diverging is None
    assert 1 + 3 + 25 + 2 == len(result.parts)
    assert all(part.relative < TOLERANCE / 1000 for part in result.parts)
    assert [0, 1, 2, 3] == [part.stage for part in result.stages]
    assert "stages.2.blocks.17" == result.stages[2].module
    assert "head.fc" == result.output.module
    assert result.float32 is not None
    assert 0 < result.float32.relative < 2e-6


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 8 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
    ],
    ids=["can't", "not enough", "class", "python"],
)
def test_memory_that_runs_out_is_no_fault_of_the_weights(side: str, error: Exception) -> None:
    """It is raised as MemoryError, not as a check that failed."""
    weights = small.tensors("w8-gf", "reference")

    class Failing(Mapping[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            if name == "stages.1.blocks.0.norm1.weight":
                raise error
            return weights[name]

        def __iter__(self) -> Iterator[str]:
            return iter(weights)

        def __len__(self) -> int:
            return len(weights)

    source, target = (Failing(), weights) if side == "source" else (weights, Failing())
    with pytest.raises(MemoryError):
        compare(source, target, layout="reference", float32=True)


def test_native_resolution_and_repeatable() -> None:
    """The image has the architecture's size unless one is given; seed and batch are as asked."""
    weights = small.tensors("w8-gf64", "reference")
    architecture = Architecture.from_name("w8-gf64")

    def run(seed: int = 0, batch: int = 1, size: tuple[int, int] | None = None) -> Trace:
        return compare_forward(
            weights, "reference", weights, architecture, 10,
            image_size=size, seed=seed, batch=batch,
        )  # fmt: skip

    first = run()
    assert (64, 64) == first.image_size
    assert first == run()
    assert first.parts != run(seed=1).parts
    assert 2 == run(batch=2).batch
    oblong = run(size=(33, 70))
    assert oblong.passed
    assert (33, 70) == oblong.image_size


def swap(item: str, other: str) -> Callable[[Tensors], None]:
    """Exchange two tensors."""

    def damage(weights: Tensors) -> None:
        weights[item], weights[other] = weights[other], weights[item]

    return damage


def change(name: str, by: Callable[[Tensor], Tensor]) -> Callable[[Tensors], None]:
    """Replace a tensor by a function of it."""

    def damage(weights: Tensors) -> None:
        weights[name] = by(weights[name])

    return damage


def one_element(tensor: Tensor) -> Tensor:
    """The same with the middle element 1 % larger."""
    changed = tensor.clone()
    changed.view(-1)[changed.numel() // 2] *= 1.01
    return changed


DAMAGES = {
    "stem": change("stem.0.weight", lambda t: t.flip(-1)),
    "stages.0.blocks.0": swap("stages.0.blocks.0.gamma1", "stages.0.blocks.0.gamma2"),
    "stages.1.downsample": change("stages.1.downsample.1.weight", lambda t: t.transpose(-1, -2)),
    "stages.2.blocks.0": change("stages.2.blocks.0.gnconv.pws.1.bias", one_element),
    "stages.2.blocks.3": swap(
        "stages.2.blocks.3.gnconv.dwconv.pre_norm.weight",
        "stages.2.blocks.3.gnconv.dwconv.post_norm.weight",
    ),
    "stages.2.blocks.8": change("stages.2.blocks.8.gnconv.dwconv.complex_weight", one_element),
    "stages.2.blocks.12": change("stages.2.blocks.12.mlp.fc2.weight", lambda t: t.half().float()),
    "head.norm": change("head.norm.weight", lambda t: t * 1.01),
    "head.fc": change("head.fc.bias", one_element),
}


@pytest.mark.parametrize(("module", "damage"), DAMAGES.items())
def test_damage_is_caught_and_placed(module: str, damage: Callable[[Tensors], None]) -> None:
    """Any change to the target fails, and the first part named is the damaged one."""
    target = small.tensors("w8-gf", "reference")
    damage(target)
    result = compare(small.tensors("w8-gf"), target)
    assert not result.passed
    assert module == first_diverging(result)
    assert result.output.relative > TOLERANCE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_what_is_no_number_never_passes(value: float, side: str) -> None:
    """NaN and infinities fail, also where both sides have the same."""
    source, target = small.tensors("w8-gf", "reference"), small.tensors("w8-gf", "reference")
    for weights in {"source": [source], "target": [target], "both": [source, target]}[side]:
        weights["stages.1.blocks.1.mlp.fc1.bias"][3] = value
    result = compare(source, target, layout="reference", float32=True)
    assert not result.passed
    assert "stages.1.blocks.1" == first_diverging(result)
    assert math.inf == result.output.relative


def test_an_output_of_zeros_shows_nothing() -> None:
    """Two dead networks are not equivalent: nothing was compared."""
    weights = {
        key: torch.zeros_like(tensor) for key, tensor in small.tensors("w8", "reference").items()
    }
    result = compare(weights, weights, "w8", "reference")
    assert not result.passed
    assert "stem" == first_diverging(result)


def test_overflow_in_float32_does_not_pass() -> None:
    """Weights whose float32 forward gives no numbers fail when it is asked for."""
    weights = small.tensors("w8", "reference")
    weights["head.norm.weight"] *= 1e38
    weights["head.fc.weight"] *= 1e6
    assert compare(weights, weights, "w8", "reference").passed
    assert not compare(weights, weights, "w8", "reference", float32=True).passed


@pytest.mark.parametrize(("absolute", "largest"), [(math.nan, 1.0), (0.0, math.inf), (0.0, 0.0)])
def test_relative_deviation_of_nothing_is_infinite(absolute: float, largest: float) -> None:
    """What cannot be judged does not look good."""
    assert math.inf == Deviation("stem", absolute, largest).relative


def test_nothing_compared_is_no_pass() -> None:
    """An empty comparison does not pass."""
    assert not Trace((), (32, 32), 0, 1).passed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_what_is_hastened_computes_the_same(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden layers in pieces, depthwise convolutions as sums of shifted maps."""
    monkeypatch.setattr(equivalence, "HIDDEN_AT_ONCE", 8 * 4 * 50)
    x = torch.randn(3, 8, 13, 11, dtype=dtype, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    for layer in (Mlp(8), gnConv(8, 2), GlobalLocalFilter(8, (4, 3))):
        layer.to(dtype)
        expected = layer(x)
        hasten(layer)
        tolerance = 1e-13 if dtype == torch.float64 else 1e-6
        assert torch.allclose(expected, layer(x), rtol=0, atol=tolerance)


def test_without_classifier() -> None:
    """Without a classifier the features are compared, with or without one in the source."""
    target = small.tensors("w8-gf", "reference", num_classes=None)
    for classes in (None, small.NUM_CLASSES):
        source = small.tensors("w8-gf", num_classes=classes)
        # Same numbers: the classifier is the only tensor that depends on it.
        result = compare(source, target, num_classes=None)
        assert result.passed
        assert "head.norm" == result.output.module


def without_head(weights: Tensors) -> Tensors:
    """All but the final norm and the classifier."""
    return {key: weights[key] for key in weights if not key.startswith(("head.", "norm."))}


def test_backbone() -> None:
    """Without a final norm on either side the last map is compared."""
    source, target = small.tensors("w8-gf"), small.tensors("w8-gf", "reference")
    result = compare(without_head(source), without_head(target), num_classes=None)
    assert result.passed
    assert "stages.3.blocks.1" == result.output.module


@pytest.mark.parametrize("key", ["stages.2.5.norm1.weight", "norm.weight", "stages.2.17.gamma2"])
def test_source_with_missing_tensors(key: str) -> None:
    """A source that does not have all parts cannot pass."""
    source = small.tensors("w8-gf")
    del source[key]
    with pytest.raises(CheckFailedError):
        compare(source, small.tensors("w8-gf", "reference"))


@pytest.mark.parametrize(("stage", "depth"), [(0, 2), (2, 18), (3, 2)])
@pytest.mark.parametrize("head", [True, False])
def test_source_with_more_blocks(stage: int, depth: int, head: bool) -> None:
    """Nor can one with a block too many, at the very end or before."""
    source, target = small.tensors("w8-gf"), small.tensors("w8-gf", "reference")
    first, extra = f"stages.{stage}.0.", f"stages.{stage}.{depth}."
    for key in [*source]:
        if key.startswith(first):
            source[extra + key.removeprefix(first)] = source[key]
    if not head:
        source, target = without_head(source), without_head(target)
    with pytest.raises(CheckFailedError, match="other parts") as caught:
        compare(source, target, num_classes=small.NUM_CLASSES if head else None)
    assert f"stages.{stage}.blocks.{depth}" == caught.value.found


def test_target_with_missing_or_misshapen_tensors() -> None:
    """The tensor and the part are named."""
    source = small.tensors("w8-gf")
    target = small.tensors("w8-gf", "reference")
    misshapen = target | {"stages.1.blocks.2.gamma1": torch.ones(1)}
    with pytest.raises(CheckFailedError, match="gamma1") as caught:
        compare(source, misshapen)
    assert "stages.1.blocks.2" == caught.value.where
    del target["head.fc.bias"]
    with pytest.raises(CheckFailedError, match=r"no tensor 'head\.fc\.bias'"):
        compare(source, target)


class Fresh(Mapping[str, Tensor]):
    """Weights that are copied when asked for; counts the bytes of copies still alive."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self.alive = 0
        self.peak = 0
        self._lock = threading.RLock()  # the runs are threads; a finalizer may run in any of them

    def __getitem__(self, name: str) -> Tensor:
        # A tensor keeps the array it is a view of alive for as long as its storage is in use.
        copy = self._weights[name].numpy().copy()
        with self._lock:
            self.alive += copy.nbytes
            self.peak = max(self.peak, self.alive)
        weakref.finalize(copy, self._gone, copy.nbytes)
        return torch.from_numpy(copy)

    def _gone(self, nbytes: int) -> None:
        with self._lock:
            self.alive -= nbytes

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def test_one_part_in_memory_at_a_time() -> None:
    """No run holds on to the weights of more than one block; the target has two runs."""
    weights = small.tensors("w16-gf", "reference")
    blocks: dict[str, int] = {}
    for key, tensor in weights.items():
        part = ".".join(key.split(".")[:4])
        blocks[part] = blocks.get(part, 0) + tensor.nbytes
    source, target = Fresh(weights), Fresh(weights)
    gc.collect()
    assert compare(source, target, "w16-gf", "reference", float32=True).passed
    assert source.peak <= max(blocks.values())
    assert target.peak <= 2 * max(blocks.values())
    assert sum(blocks.values()) > 2 * max(blocks.values())


def test_number_of_threads_is_restored() -> None:
    """What the comparison sets it sets back, also when it cannot be done."""
    weights = small.tensors("w8", "reference")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        assert compare(weights, weights, "w8", "reference").passed
        assert 5 == torch.get_num_threads()
        with pytest.raises(CheckFailedError):
            compare({}, weights, "w8", "reference")
        assert 5 == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


class Asked(Mapping[str, Tensor]):
    """Weights that tell when they are asked for."""

    def __init__(self, weights: Mapping[str, Tensor], on_ask: Callable[[str], None]) -> None:
        self._weights, self._on_ask = weights, on_ask

    def __getitem__(self, name: str) -> Tensor:
        self._on_ask(name)
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def test_the_source_does_not_wait_for_the_model() -> None:
    """It goes on while the model stands still, as far as is allowed and no further."""
    weights = small.tensors("w8", "reference")
    asked: list[str] = []
    fourth = threading.Event()

    def of_source(name: str) -> None:
        asked.append(name)
        if name.startswith("stages.1.downsample."):
            fourth.set()

    def of_target(name: str) -> None:
        if name == "stem.0.weight":
            assert fourth.wait(timeout=600)
            assert not any(name.startswith("stages.1.blocks.") for name in asked)

    source, target = Asked(weights, of_source), Asked(weights, of_target)
    assert len(["stem", "block", "block", "downsample"]) == AHEAD
    assert compare(source, target, "w8", "reference").passed
