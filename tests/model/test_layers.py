"""The layers by themselves, against direct arithmetic."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hornet_convert.model.layers import (
    GlobalLocalFilter,
    filter_spectrum,
    gnConv,
    resize_spectrum,
)


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
def test_global_local_filter_keeps_its_channels_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even output channels come from the 3×3 branch, odd ones from the spectrum."""
    layer = GlobalLocalFilter(8, (4, 3)).double()
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
    layer = GlobalLocalFilter(8, (4, 3)).bfloat16()
    x, weight = noise(1, 4, 6, 6).bfloat16(), layer.complex_weight
    assert torch.float32 == weight.dtype
    expected = filter_spectrum(x.float(), weight).bfloat16()
    assert torch.equal(expected, filter_spectrum(x, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(expected, filter_spectrum(x, weight))
        assert torch.float32 == filter_spectrum(x.float(), weight).dtype


@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_filter_is_a_product_of_spectra(size: tuple[int, int]) -> None:
    """As with complex numbers, and so are the gradients."""
    x = noise(2, 3, *size).requires_grad_()
    weight = noise(3, size[0], size[1] // 2 + 1, 2).requires_grad_()
    spectrum = torch.fft.rfft2(x, norm="ortho") * torch.view_as_complex(weight)
    expected = torch.fft.irfft2(spectrum, s=size, norm="ortho")
    found = filter_spectrum(x, weight)
    assert torch.allclose(expected, found, rtol=0, atol=1e-13)
    for item, other in zip(
        torch.autograd.grad(expected.square().sum(), [x, weight]),
        torch.autograd.grad(found.square().sum(), [x, weight]),
        strict=True,
    ):
        assert torch.allclose(item, other, rtol=0, atol=1e-12)


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
