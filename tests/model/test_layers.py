"""The layers by themselves, against direct arithmetic."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hornet_convert.model import layers
from hornet_convert.model.layers import Depthwise, GlobalLocalFilter, Mlp, gnConv, resize_spectrum


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Seeded numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(11), dtype=dtype)


def convolved(x: Tensor, layer: torch.nn.Module) -> Tensor:
    """What a 1×1 convolution computes, by its definition."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    return torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0], x) + bias[:, None, None]


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_gnconv_of_any_order(order: int, dtype: torch.dtype) -> None:
    """The recursion of the paper: p times the first part, then projected and gated n - 1 times."""
    layer = gnConv(32, order, scale=0.7, dtype=dtype)
    x = noise(2, 32, 9, 5).to(dtype)
    parts = [32 >> (order - 1 - k) for k in range(order)]
    p, q = torch.split(convolved(x, layer.proj_in), [parts[0], sum(parts)], dim=1)
    weight, bias = layer.dwconv.get_parameter("weight"), layer.dwconv.get_parameter("bias")
    filtered = 0.7 * functional.conv2d(q, weight, bias, padding=3, groups=sum(parts))
    gates = torch.split(filtered, parts, dim=1)
    p = p * gates[0]
    for projection, gate in zip(layer.pws, gates[1:], strict=True):
        p = convolved(p, projection) * gate
    expected = convolved(p, layer.proj_out)
    found = layer(x)
    assert (2, 32, 9, 5) == found.shape
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert torch.allclose(expected, found, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dim", "order"), [(12, 4), (8, 0), (0, 1), (8, 5)])
def test_gnconv_refuses_widths_it_cannot_halve(dim: int, order: int) -> None:
    """Each part must have half the channels of the next."""
    with pytest.raises(ValueError, match="not divisible"):
        gnConv(dim, order)


@torch.no_grad()
def test_gnconv_with_any_spectrum() -> None:
    """A global-local filter of any size, on maps of that and other sizes."""
    layer = gnConv(16, 2, spectrum=(6, 4))
    for size in ((6, 6), (7, 7), (5, 12)):
        assert (1, 16, *size) == layer(noise(1, 16, *size, dtype=torch.float32)).shape


@torch.no_grad()
def test_global_local_filter_keeps_its_channels_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even output channels come from the 3×3 branch, odd ones from the spectrum."""
    layer = GlobalLocalFilter(8, (4, 3), dtype=torch.float64)
    x = noise(1, 8, 4, 4)
    local = layer.dw(layer.pre_norm(x)[:, :4])
    monkeypatch.setattr(layer, "post_norm", torch.nn.Identity())
    assert torch.allclose(local, layer(x)[:, 0::2])
    layer.complex_weight.zero_()
    assert not layer(x)[:, 1::2].any()


def test_global_local_filter_needs_two_halves() -> None:
    """An odd number of channels has no halves."""
    with pytest.raises(ValueError, match="even"):
        GlobalLocalFilter(7, (4, 3))


@torch.no_grad()
def test_spectral_branch_stays_in_float32() -> None:
    """In bfloat16, and under autocast, only the result is rounded."""
    layer = GlobalLocalFilter(8, (4, 3))
    halved = GlobalLocalFilter(8, (4, 3))
    halved.load_state_dict(layer.state_dict())
    halved.bfloat16()
    x = noise(1, 4, 6, 6).bfloat16()
    expected = layer._filter_spectrum(x.float()).bfloat16()
    assert torch.equal(expected, halved._filter_spectrum(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(expected, layer._filter_spectrum(x))
        assert torch.float32 == layer._filter_spectrum(x.float()).dtype


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (14, 8), (24, 13)])
def test_resized_spectrum_keeps_its_corners(size: tuple[int, int]) -> None:
    """Corners lie on corners and a linear slope stays one, real and imaginary parts apart."""
    rows = torch.linspace(0, 3, 7, dtype=torch.float64)[:, None]
    columns = torch.linspace(0, 5, 4, dtype=torch.float64)
    weight = torch.stack([rows + columns, rows - 2 * columns], -1)[None]
    found = resize_spectrum(weight, *size)
    rows = torch.linspace(0, 3, size[0], dtype=torch.float64)[:, None]
    columns = torch.linspace(0, 5, size[1], dtype=torch.float64)
    expected = torch.stack([rows + columns, rows - 2 * columns], -1)[None]
    assert torch.allclose(expected, found)


def test_spectrum_of_the_right_size_is_left_alone() -> None:
    """Nothing is computed where nothing has to be resized."""
    weight = noise(2, 7, 4, 2)
    assert weight is resize_spectrum(weight, 7, 4)


@pytest.mark.parametrize("size", [3, 7])
def test_depthwise_is_the_same_in_float64(size: int) -> None:
    """What stands in for the missing float64 convolution gives the same, gradients too."""
    layer = Depthwise(6, size, dtype=torch.float64)
    x = noise(2, 6, 5, 9).requires_grad_()
    assert layer.bias is not None
    expected = functional.conv2d(x, layer.weight * 2, layer.bias * 2, padding=size // 2, groups=6)
    found = layer(x, 2.0)
    assert torch.allclose(expected, found, rtol=0, atol=1e-13)
    for one, two in zip(
        torch.autograd.grad(expected.square().sum(), [x, layer.weight, layer.bias]),
        torch.autograd.grad(found.square().sum(), [x, layer.weight, layer.bias]),
        strict=True,
    ):
        assert torch.allclose(one, two, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mlp_in_pieces_is_the_whole(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients large maps are worked on in pieces; the result is the same."""
    layer = Mlp(8, dtype=dtype)
    x = noise(3, 8, 13, 11, dtype=dtype).contiguous(memory_format=torch.channels_last)
    whole = layer(x).detach()
    monkeypatch.setattr(layers, "HIDDEN_AT_ONCE", 8 * 4 * 50)
    with torch.no_grad():
        pieces = layer(x)
    assert whole.shape == pieces.shape
    assert whole.stride() == pieces.stride()
    assert torch.allclose(whole, pieces, rtol=1e-6, atol=1e-6)
