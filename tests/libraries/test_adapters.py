"""Adapters, 8-bit weights and the Hub's mixin, by the libraries that people use for them."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from hornet_convert import create_model
from hornet_convert.model.hornet import HorNet

NAMES = ("w8", "w8-gf")
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def model(name: str) -> HorNet:
    """A small model whose layers all matter."""
    return create_model(name, 10, seed=0, layer_scale_init=0.5).eval()


def dense(net: nn.Module) -> list[str]:
    """Names of the linear layers and 1×1 convolutions."""
    return [
        name
        for name, each in net.named_modules()
        if isinstance(each, nn.Linear) or getattr(each, "kernel_size", None) == (1, 1)
    ]


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("name", NAMES)
def test_lora_learns_and_merges(name: str) -> None:
    """Every target gets a gradient, the output moves, and merged into the weights it stays so."""
    with warnings.catch_warnings(action="ignore"):
        from peft import LoraConfig, get_peft_model
    net = model(name)
    targets, before, plain = dense(net), net(IMAGES), type(net)
    assert 4 * 4 + (1 + 2 + 3 + 4) + 1 == len(targets)
    torch.manual_seed(5)
    config = LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    adapted = get_peft_model(net, config)
    after = adapted(IMAGES)
    after.square().sum().backward()
    learning = {key: each.grad for key, each in adapted.named_parameters() if each.requires_grad}
    assert 2 * len(targets) == len(learning)
    assert all(gradient is not None and gradient.any() for gradient in learning.values())
    assert (after - before).abs().max() > 0.1 * before.abs().max()
    merged = adapted.merge_and_unload()
    assert plain is type(merged)
    assert torch.allclose(after, merged(IMAGES), rtol=1e-3, atol=1e-4)
    assert create_model(name, 10, device="meta").state_dict().keys() == merged.state_dict().keys()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_weights_of_eight_bits(name: str) -> None:
    """Int8 weights in all linear layers move the logits by a few per cent at most, saying so."""
    with warnings.catch_warnings(action="ignore"):
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
    net = model(name)
    quantized = copy.deepcopy(net)
    quantize_(quantized, Int8WeightOnlyConfig())
    linear = [key for key, each in net.named_modules() if isinstance(each, nn.Linear)]
    assert 2 * 25 + 1 == len(linear)
    for key in linear:
        assert nn.Parameter is not type(quantized.get_parameter(f"{key}.weight"))
    expected = net(IMAGES)
    drift = ((quantized(IMAGES) - expected).abs().max() / expected.abs().max()).item()
    assert 0 < drift < 0.03, drift


def test_hub_mixin_saves_and_loads(tmp_path: Path) -> None:
    """All arguments are values of JSON, so that the Hub's mixin can build the model again."""

    class Mixed(PyTorchModelHubMixin, HorNet):  # type: ignore[misc] # both can save
        pass

    saved = Mixed(architecture="w8-gf64", num_classes=7, drop_path_rate=0.1, in_chans=1)
    saved.save_pretrained(tmp_path)
    loaded = Mixed.from_pretrained(tmp_path)
    x: Tensor = IMAGES[:, :1]
    assert ("w8-gf64", 7) == (loaded.architecture.name, loaded.num_classes)
    assert torch.equal(saved.eval()(x), loaded.eval()(x))
