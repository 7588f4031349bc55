"""What is restated of casting and resizing agrees with brute force, and with nothing beside it."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hornet_convert.checkpoint.tensors import BY_TORCH_NAME
from hornet_convert.conversion.expected import TYPES, is_resized, is_rounded

Numbers = np.ndarray[Any, np.dtype[Any]]

NARROW = ("float32", "float16", "bfloat16")


def holds(source: torch.Tensor, result: torch.Tensor) -> bool:
    """The verdict of the check on the bytes of two tensors."""
    types = [BY_TORCH_NAME[str(tensor.dtype).removeprefix("torch.")] for tensor in (source, result)]
    raw = [tensor.view(torch.uint8).numpy() for tensor in (source, result)]
    return is_rounded(raw[0], raw[1], *types)


def patterns(infinity: torch.Tensor) -> torch.Tensor:
    """Bits of numbers from 0 up: all of a short type, of a long one those around every corner."""
    last = int(infinity.view(torch.int16 if infinity.element_size() == 2 else torch.int32))
    if last < 1 << 15:
        return torch.arange(last, dtype=torch.int16)
    edges = (0, 1 << 23, 127 << 23, last)  # subnormal, normal, one, infinite
    return torch.cat([torch.arange(max(e - 300, 0), min(e + 300, last)) for e in edges]).int()


@pytest.mark.parametrize("dtype", NARROW)
def test_around_every_middle_of_two_neighbours(dtype: str) -> None:
    """Ties go to the even one, whatever is nearer to one goes to that, and to no other."""
    bits = patterns(torch.tensor(torch.inf, dtype=getattr(torch, dtype)))
    adjacent = torch.diff(bits) == 1
    item, two = bits[:-1][adjacent], bits[1:][adjacent]
    lower, upper = item.view(getattr(torch, dtype)), two.view(getattr(torch, dtype))
    middle = (lower.double() + upper.double()) / 2
    below, above = (torch.nextafter(middle, torch.tensor(end).double()) for end in (0, torch.inf))
    even = item % 2 == 0
    tied, other = torch.where(even, lower, upper), torch.where(even, upper, lower)
    for source, right, wrong in (
        (below, lower, upper),
        (middle, tied, other),
        (above, upper, lower),
    ):
        for sign in (1, -1):
            assert holds(sign * source, sign * right)
            assert not any(
                holds(sign * number, sign * far)
                for number, far in zip(source[::97, None], wrong[::97, None], strict=True)
            )
        assert not holds(source[-1:], -right[-1:])


@pytest.mark.parametrize("was", ["float64", *NARROW])
@pytest.mark.parametrize("to", NARROW)
@given(st.lists(st.floats(width=64), min_size=1, max_size=32), st.integers(-2, 2))
def test_any_number_rounded_by_torch(was: str, to: str, values: list[float], off: int) -> None:
    """What torch rounds once is right, infinities and NaN too; what lies next to it is not."""
    source = torch.tensor(values, dtype=torch.float64).to(getattr(torch, was))
    if (was, to) in (("float64", "float16"), ("float64", "bfloat16")):
        source = source.float().double()  # torch rounds twice on this way
    result = source.to(getattr(torch, to))
    assert holds(source, result)
    finite = result.isfinite() & (result != 0)
    bits = result.view(torch.int16 if result.element_size() == 2 else torch.int32)
    moved = (bits + off).view(result.dtype)
    for item, two in zip(source[finite, None], moved[finite, None], strict=True):
        assert holds(item, two) == (off == 0)


@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        (65519.0, 65504.0, torch.inf),
        (65520.0, torch.inf, 65504.0),
        (-1e9, -torch.inf, torch.inf),
        (torch.inf, torch.inf, 65504.0),
        (0.0, 0.0, -0.0),
        (2.0**-25, 0.0, 2.0**-24),  # half of the smallest
        (3 * 2.0**-25, 2.0**-23, 2.0**-24),
        (torch.nan, torch.nan, 0.0),
        (1.0, 1.0, torch.nan),
    ],
)
def test_at_the_ends_of_float16(source: float, right: float, wrong: float) -> None:
    """Beyond the largest number lies infinity, below the smallest zero, with its sign."""
    item = torch.tensor([source], dtype=torch.float64)
    assert holds(item, torch.tensor([right], dtype=torch.float16))
    assert not holds(item, torch.tensor([wrong], dtype=torch.float16))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (4, 3), (6, 4), (14, 8), (24, 13)])
def test_filters_resized_by_torch(size: tuple[int, int]) -> None:
    """Corners on corners, rounded to float32 once; not what is next to that."""
    source = torch.randn(5, 4, 3, 2, dtype=torch.float64)
    planes = source.permute(3, 0, 1, 2)

    def resized(**settings: bool) -> Numbers:
        made = torch.nn.functional.interpolate(planes, size, mode="bilinear", **settings)
        return made.permute(1, 2, 3, 0).float().double().numpy()

    def is_right(given: Numbers) -> bool:
        return is_resized(source.numpy(), given, TYPES["float32"])

    right = resized(align_corners=True)
    assert is_right(right)
    next_to_it = np.nextafter(right.astype(np.float32), np.float32(9)).astype(np.float64)
    wrong = [right[..., ::-1], next_to_it, np.roll(right, 1, axis=0)]
    if size not in ((1, 1), (4, 3)):
        wrong.append(resized(align_corners=False))
    assert not any(map(is_right, wrong))
