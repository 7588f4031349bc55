"""The reference model: names, sizes, precisions, training, and how it can be run."""

import pytest
import torch
from torch import Tensor

from fixtures import golden, small
from hornet_convert.family.architecture import Architecture
from hornet_convert.model import plain
from hornet_convert.model.blocks import Block
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.load import model_from_weights


def model(name: str, dtype: torch.dtype = torch.float32) -> HorNet:
    """A small HorNet with its seeded weights."""
    weights = small.tensors(name, "reference")
    return model_from_weights(Architecture.from_name(name), small.NUM_CLASSES, weights, dtype=dtype)


def images(*shape: int) -> Tensor:
    """Seeded images."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def deviation(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value expected."""
    difference = (found.double() - expected.double()).abs().max()
    return (difference / expected.double().abs().max()).item()


@pytest.mark.parametrize("name", [*golden.models(), *small.NAMES])
@pytest.mark.parametrize("num_classes", [7, None])
def test_state_dict_is_the_architectures(name: str, num_classes: int | None) -> None:
    """Names and shapes are the reference layout's; on the meta device nothing is allocated."""
    architecture = Architecture.from_name(name)
    state = HorNet(architecture, num_classes, device="meta").state_dict()
    assert architecture.shapes(num_classes) == {
        key: tuple(tensor.shape) for key, tensor in state.items()
    }
    assert {"meta"} == {tensor.device.type for tensor in state.values()}


def test_meta_by_context() -> None:
    """The default device is respected, and a meta model computes shapes."""
    with torch.device("meta"):
        built = HorNet(Architecture.from_name("large-gf384"), 5)
        assert (3, 5) == built(torch.empty(3, 3, 384, 384)).shape
    assert {"meta"} == {parameter.device.type for parameter in built.parameters()}


@pytest.mark.parametrize("name", ["w8", "w8-gf", "w8-gf64"])
@pytest.mark.parametrize("size", [(32, 32), (63, 95), (97, 34), (224, 224)])
@torch.no_grad()
def test_any_size(name: str, size: tuple[int, int]) -> None:
    """Any height and width from 32 up, odd ones too, where filters have to be resized."""
    image = images(2, 3, *size)
    *_, (_, expected) = plain.steps(small.tensors(name), "official", image)
    found = model(name)(image)
    assert (2, small.NUM_CLASSES) == found.shape
    assert torch.float32 == found.dtype
    assert deviation(found, expected) <= 2e-6
    exact = model(name, dtype=torch.float64)(image.double())
    assert deviation(exact, expected) <= 1e-12


@pytest.mark.parametrize("shape", [(1, 3, 31, 64), (1, 3, 64, 31), (3, 64, 64), (1, 1, 64, 64)])
def test_other_inputs_are_refused(shape: tuple[int, ...]) -> None:
    """What is no batch of RGB images of 32 pixels and more is a ValueError that says so."""
    with pytest.raises(ValueError, match=r"expected images \(N, 3, H, W\).*got \["):
        model("w8")(torch.zeros(shape))


@torch.no_grad()
def test_feature_maps() -> None:
    """Four maps at 1/4 to 1/32 of the size, doubling channels; the head starts from the last."""
    net, image = model("w8-gf"), images(2, 3, 96, 64)
    maps = net.feature_maps(image)
    assert [(2, 8 << stage, 24 >> stage, 16 >> stage) for stage in range(4)] == [
        tuple(found.shape) for found in maps
    ]
    assert torch.equal(maps[-1], net.forward_features(image))
    assert torch.equal(net(image), net.head(maps[-1]))


@torch.no_grad()
def test_without_classifier() -> None:
    """No classifier: pooled and normed features, those that the classifier would get."""
    name, image = "w8-gf", images(2, 3, 64, 64)
    weights = small.tensors(name, "reference", num_classes=None)
    features = model_from_weights(Architecture.from_name(name), None, weights)(image)
    assert (2, 64) == features.shape
    net = model(name)
    assert isinstance(net.head.fc, torch.nn.Linear)
    assert torch.equal(net(image), net.head.fc(features))


@torch.no_grad()
def test_memory_format_and_batch_do_not_matter() -> None:
    """Channels-last images, and images one by one, give the same logits."""
    net, image = model("w8-gf"), images(3, 3, 64, 64)
    together = net(image)
    assert deviation(net(image.contiguous(memory_format=torch.channels_last)), together) < 1e-6
    assert deviation(torch.cat([net(item[None]) for item in image]), together) < 1e-6


@pytest.mark.parametrize("name", ["w8", "w8-gf"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_lower_precision(name: str, dtype: torch.dtype) -> None:
    """Autocast and lower-precision weights give nearly the same; filters are never rounded."""
    net, image = model(name), images(1, 3, 64, 64)
    exact = net(image)
    tolerance = 4 * torch.finfo(dtype).eps
    with torch.autocast("cpu", dtype=dtype):
        assert deviation(net(image), exact) < tolerance
    filters = {
        key: tensor.clone()
        for key, tensor in net.state_dict().items()
        if key.endswith("complex_weight")
    }
    lower = net.to(dtype)(image.to(dtype))
    assert dtype == lower.dtype
    assert deviation(lower, exact) < tolerance
    assert (20 if name == "w8-gf" else 0) == len(filters)
    for key, tensor in filters.items():
        assert torch.equal(tensor, net.state_dict()[key]), key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_built_in_another_dtype(dtype: torch.dtype) -> None:
    """A model can be built in any dtype; spectra are float32 or better."""
    net = HorNet(Architecture.from_name("w8-gf"), 10, dtype=dtype)
    dtypes = {key: tensor.dtype for key, tensor in net.state_dict().items()}
    wide = dtype if dtype == torch.float64 else torch.float32
    assert dtypes == {key: wide if key.endswith("complex_weight") else dtype for key in dtypes}
    with torch.no_grad():
        assert torch.isfinite(net(images(1, 3, 32, 32).to(dtype))).all()


@pytest.mark.parametrize("name", ["w8", "w8-gf"])
def test_gradients_flow(name: str) -> None:
    """Every parameter, and the image, get a finite gradient that is not zero."""
    net, image = model(name).train(), images(2, 3, 48, 64).requires_grad_()
    loss = torch.nn.functional.cross_entropy(net(image), torch.tensor([1, 2]))
    inputs = {"image": image, **dict(net.named_parameters())}
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    for key, gradient in zip(inputs, gradients, strict=True):
        assert torch.isfinite(gradient).all(), key
        assert gradient.any(), key


def test_gradients_are_those_of_float64() -> None:
    """Gradients in float32 agree with those in float64."""
    image = images(2, 3, 64, 64)
    single, double = model("w8-gf").train(), model("w8-gf", dtype=torch.float64).train()
    found = torch.autograd.grad(single(image).square().sum(), list(single.parameters()))
    exact = torch.autograd.grad(double(image.double()).square().sum(), list(double.parameters()))
    names = [key for key, _ in single.named_parameters()]
    off = {key: deviation(item, two) for key, item, two in zip(names, found, exact, strict=True)}
    assert {} == {key: value for key, value in off.items() if not value < 2e-5}


def test_drop_path_drops_whole_terms() -> None:
    """In training each sample keeps a term, scaled up, or loses it; in evaluation it keeps it."""
    block = Block(8, 2, drop_path=0.75, layer_scale_init=1.0)
    torch.nn.init.zeros_(block.gamma2)
    x = images(1, 8, 6, 6).expand(400, -1, -1, -1)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        term = block.eval()(x) - x
        dropped = block.train()(x) - x
    kept = dropped.flatten(1).any(1)
    assert 60 < int(kept.sum()) < 140
    assert torch.allclose(4 * term[kept], dropped[kept], atol=1e-5)


def test_drop_path_grows_with_depth() -> None:
    """From nothing in the first block to the given rate in the last, evenly."""
    net = HorNet(Architecture.from_name("w8"), 10, drop_path_rate=0.24, device="meta")
    rates = [module.drop_path for module in net.modules() if isinstance(module, Block)]
    assert [0.01 * block for block in range(25)] == pytest.approx(rates)


def test_bad_settings_are_refused() -> None:
    """A rate that is no probability, and a number of classes that is none."""
    architecture = Architecture.from_name("w8")
    with pytest.raises(ValueError, match="drop_path"):
        HorNet(architecture, drop_path_rate=1.0, device="meta")
    with pytest.raises(ValueError, match="num_classes"):
        HorNet(architecture, -1, device="meta")
