"""What people do to a model beside calling it: hooks, adapters, export, tracing, pruning."""

import copy
import json
import shutil
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import prune as untyped_prune

from hornet_convert import create_model, gnConv
from hornet_convert.model import hornet
from hornet_convert.model.hornet import Block, HorNet

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


class LowRank(nn.Module):
    """A layer and a learned change of rank 2 beside it, as PEFT's LoRA does it."""

    def __init__(self, base: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down: nn.Linear | nn.Conv2d
        self.up: nn.Linear | nn.Conv2d
        if isinstance(base, nn.Linear):
            self.down = nn.Linear(base.in_features, 2, bias=False)
            self.up = nn.Linear(2, base.out_features, bias=False)
        else:
            self.down = nn.Conv2d(base.in_channels, 2, 1, bias=False)
            self.up = nn.Conv2d(2, base.out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, changed."""
        changed: Tensor = self.base(x) + self.up(self.down(x))
        return changed


@pytest.mark.parametrize("name", NAMES)
def test_adapters_learn(name: str) -> None:
    """LoRA on the linear layers and 1×1 convolutions: each gets a gradient, the output moves."""
    net, x = model(name).requires_grad_(False), images(1, 3, 64, 64)
    before = net(x)
    adapters = []
    for key in linear(net):
        layer, (parent, _, child) = net.get_submodule(key), key.rpartition(".")
        if isinstance(layer, nn.Linear) or getattr(layer, "kernel_size", None) == (1, 1):
            adapters.append(LowRank(layer))  # type: ignore[arg-type]
            setattr(net.get_submodule(parent), child, adapters[-1])
    after = net(x)
    after.square().sum().backward()
    assert 4 * 4 + (1 + 2 + 3 + 4) + 1 == len(adapters)
    assert not torch.allclose(before, after, rtol=1e-3)
    for adapter in adapters:
        for layer in (adapter.down, adapter.up):
            assert layer.weight.grad is not None
            assert layer.weight.grad.any()


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


def test_arguments_can_be_written_down() -> None:
    """All arguments are values of JSON: what saves them with the weights can build the model."""
    arguments: dict[str, Any] = {"architecture": "w8-gf64", "num_classes": 7, "drop_path": 0.1}
    net = HorNet(**json.loads(json.dumps(arguments)), device="meta")
    assert "w8-gf64" == net.architecture.name
    assert 7 == net.num_classes


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
def test_compiled_gradients_are_the_eager_ones() -> None:
    """Those of a filter's complex weight too: inductor gets products of complex numbers wrong."""
    layer = gnConv(8, 2, spectrum=(6, 4))
    x = images(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    torch.compiler.reset()
    gradients = []
    for run in (layer, torch.compile(layer, fullgraph=True)):
        y = run(x)
        loss = (y * torch.arange(y.numel()).view(y.shape).sin()).sum()
        gradients.append(torch.autograd.grad(loss, list(layer.parameters())))
    for (name, _), eager, compiled in zip(layer.named_parameters(), *gradients, strict=True):
        assert (eager - compiled).abs().max() <= 1e-4 * eager.abs().max(), name
