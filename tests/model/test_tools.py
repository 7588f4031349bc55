"""What torch does to a model beside calling it: hooks, pruning, export, tracing, compiling."""

import copy
import shutil
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import prune as untyped_prune

from hornet_convert import create_model
from hornet_convert.model import hornet
from hornet_convert.model.blocks import Block
from hornet_convert.model.hornet import HorNet

NAMES = ("w8", "w8-gf")

prune: Any = untyped_prune

# torch deprecates what people still use.
old_tools = pytest.mark.filterwarnings("ignore:.*deprecated")


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block a stage: tools that look at every block are slow."""
    monkeypatch.setattr(hornet, "DEPTHS", (1, 1, 1, 1))


def images(*shape: int) -> Tensor:
    """Seeded images."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def model(name: str) -> HorNet:
    """A small model whose layers all matter."""
    return create_model(name, 10, seed=0, layer_scale_init=0.5).eval()


def linear(net: nn.Module) -> list[str]:
    """Names of the modules that people adapt, quantize and prune."""
    return [name for name, each in net.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)]


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_called_once(name: str) -> None:
    """A hook on any layer fires: all convolutions, linear layers and norms are really called."""
    net, fired = model(name), list[str]()
    layers = {
        key: each
        for key, each in net.named_modules()
        if isinstance(each, nn.Linear | nn.Conv2d | nn.LayerNorm)
    }
    for key, layer in layers.items():
        layer.register_forward_hook(lambda module, args, output, key=key: fired.append(key))
    net(images(1, 3, 64, 64))
    assert sorted(layers) == sorted(fired)
    assert {nn.Linear, nn.Conv2d} == {type(net.get_submodule(key)) for key in linear(net)}


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_pruning_takes_effect(name: str) -> None:
    """Pruned weights are those that are computed with, and can be made permanent."""
    net, x = model(name), images(1, 3, 64, 64)
    before = net(x)
    for key in linear(net):
        prune.l1_unstructured(net.get_submodule(key), "weight", amount=0.5)
    after = net(x)
    assert not torch.allclose(before, after)
    for key in linear(net):
        prune.remove(net.get_submodule(key), "weight")
    assert torch.equal(after, net(x))
    zeros = net.get_parameter("stages.0.blocks.0.mlp.fc1.weight") == 0
    assert 0.5 == pytest.approx(zeros.float().mean())


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_exports_for_any_number_and_size(name: str) -> None:
    """torch.export takes a dynamic batch, and without filters of one size any height and width."""
    net, dim = model(name), torch.export.Dim
    dynamic = {0: dim("batch", min=1, max=1024)}
    sizes = [(1, 64, 64), (3, 64, 64)]
    if name == "w8":
        dynamic |= {2: dim("height", min=64, max=4096), 3: dim("width", min=64, max=4096)}
        sizes += [(2, 97, 130), (1, 64, 224)]
    exported = torch.export.export(net, (images(2, 3, 64, 64),), dynamic_shapes=(dynamic,)).module()
    for batch, *size in sizes:
        x = images(batch, 3, *size)
        assert torch.equal(net(x), exported(x))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_traces_for_other_batches(name: str) -> None:
    """torch.jit.trace and torch.fx record the model for any number of images."""
    net = model(name)
    with warnings.catch_warnings(action="ignore"):  # deprecated; and the size is checked
        trace: Any = torch.jit.trace
        traced = trace(net, images(2, 3, 64, 64))
    symbolic = torch.fx.symbolic_trace(net)
    for batch in (1, 5):
        x = images(batch, 3, 64, 64)
        assert torch.equal(net(x), traced(x))
        assert torch.equal(net(x), symbolic(x))
    x = images(1, 3, 96, 64)
    assert torch.equal(net(x), symbolic(x))
    with pytest.raises(ValueError, match="got"):
        symbolic(images(1, 3, 20, 64))


@old_tools
@torch.no_grad()
def test_dynamic_quantization_replaces_the_linear_layers() -> None:
    """Weights of 8 bits in the MLPs move the logits by a few per cent at most."""
    net, x = model("w8-gf"), images(2, 3, 64, 64)
    quantize: Any = torch.ao.quantization.quantize_dynamic
    quantized = quantize(net, {nn.Linear})
    assert 2 * 4 + 1 == sum(
        type(each).__name__ == "Linear" and not isinstance(each, nn.Linear)
        for each in quantized.modules()
    )
    expected = net(x)
    assert (quantized(x) - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_fake_and_copied_models(name: str) -> None:
    """Built and run without memory in a FakeTensorMode; a deep copy is a model of its own."""
    with FakeTensorMode():
        assert (2, 10) == HorNet(name, 10)(torch.empty(2, 3, 64, 64)).shape
    net, x = model(name), images(1, 3, 64, 64)
    other, expected = copy.deepcopy(net), net(x)
    torch.nn.init.zeros_(net.get_parameter("head.fc.weight"))
    assert torch.equal(expected, other(x))


@pytest.mark.parametrize("spectrum", [None, (14, 8)])
@torch.no_grad()
def test_compiles_without_graph_breaks(spectrum: tuple[int, int] | None) -> None:
    """torch.compile takes a block as one graph and computes the same, once for all sizes."""
    block = Block(32, 4, spectrum=spectrum, layer_scale_init=0.3).eval()
    torch.compiler.reset()
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(block, fullgraph=True, backend=backend, dynamic=True)
    for size in ((2, 32, 14, 18), (3, 32, 20, 16), (4, 32, 30, 22)):
        x = images(*size).contiguous(memory_format=torch.channels_last)
        assert torch.equal(block(x), compiled(x))
    assert 1 == len(graphs)


@old_tools
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex")
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compiled_training_is_the_eager_one() -> None:
    """Gradients too, of a filter's complex weight: inductor gets products of complex numbers wrong.

    And compiled again for evaluation, the output.
    """
    block = Block(8, 2, spectrum=(6, 4), layer_scale_init=0.3)
    x = images(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    torch.compiler.reset()
    compiled, gradients = torch.compile(block, fullgraph=True), []
    for run in (block, compiled):
        y = run(x)
        loss = (y * torch.arange(y.numel()).view(y.shape).sin()).sum()
        gradients.append(torch.autograd.grad(loss, list(block.parameters())))
    for (name, _), item, other in zip(block.named_parameters(), *gradients, strict=True):
        assert (item - other).abs().max() <= 1e-4 * item.abs().max(), name
    block.eval()
    with torch.no_grad():
        assert torch.allclose(block(x), compiled(x), atol=1e-6)
