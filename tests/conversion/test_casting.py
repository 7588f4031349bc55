"""Element types: every number rounded once, to the nearest, ties to even."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hornet_convert.checkpoint.tensors import BY_TORCH_NAME
from hornet_convert.numbers.casting import Losses, cast

WIDE = ("float64", "float32")
ALL = ("float64", "float32", "float16", "bfloat16")


def through(values: torch.Tensor, target: str, losses: Losses | None = None) -> torch.Tensor:
    """The tensor cast by our code, as torch reads the bytes."""
    source = BY_TORCH_NAME[str(values.dtype).removeprefix("torch.")]
    data = values.view(torch.uint8).numpy().data
    result = cast(data, source, BY_TORCH_NAME[target], losses)
    return torch.from_numpy(result.copy()).view(getattr(torch, target))


def bits(values: torch.Tensor) -> torch.Tensor:
    """Values as bytes, so that signs of zero count."""
    return values.view(torch.uint8)


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("source", ["float16", "bfloat16"])
def test_every_half_number_is_cast_as_torch_does(source: str, target: str) -> None:
    """All 65536 bit patterns, infinities and NaN included."""
    values = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(getattr(torch, source))
    ours, theirs = through(values, target), values.to(getattr(torch, target))
    numbers = ~theirs.isnan()
    assert torch.equal(theirs.isnan(), ours.isnan())
    assert torch.equal(bits(theirs[numbers]), bits(ours[numbers]))


@pytest.mark.parametrize("target", ["float16", "bfloat16"])
@given(arrays.arrays(np.uint32, st.integers(1, 64)))
def test_any_float32_is_cast_as_torch_does(target: str, patterns: np.ndarray) -> None:
    """Any bit pattern: subnormals, ties, overflow, NaN."""
    values = torch.from_numpy(patterns.view(np.int32)).view(torch.float32)
    ours, theirs = through(values, target), values.to(getattr(torch, target))
    assert torch.equal(theirs.isnan(), ours.isnan())
    numbers = ~theirs.isnan()
    assert torch.equal(bits(theirs[numbers]), bits(ours[numbers]))


@pytest.mark.parametrize("target", ["float16", "bfloat16"])
def test_ties_go_to_even_and_only_ties(target: str) -> None:
    """A float64 just above a tie goes up, a tie to even: there is no detour by float32."""
    step = 2.0 ** (-10 if target == "float16" else -7)
    tie, nudge = 1 + step / 2, 2.0**-40
    values = torch.tensor([tie, tie + nudge, tie - nudge, tie + step, -tie - nudge])
    wide = torch.tensor(
        [tie, tie + nudge, tie - nudge, tie + step, -tie - nudge], dtype=torch.float64
    )
    expected = [1.0, 1 + step, 1.0, 1 + 2 * step, -1 - step]
    assert expected == through(wide, target).double().tolist()
    assert 1.0 == through(values, target).double().tolist()[1]  # float32 cannot hold the nudge


@given(arrays.arrays(np.float64, st.integers(1, 64), elements=st.floats(width=64)))
def test_a_float64_becomes_the_nearest_bfloat16(values: np.ndarray) -> None:
    """No neighbour of the result is nearer, whatever the number."""
    finite = np.where(np.isfinite(values) & (np.abs(values) < 3.38e38), values, 1.0)
    result = through(torch.from_numpy(finite), "bfloat16")
    below = (result.view(torch.int16) - 1).view(torch.bfloat16).double().numpy()
    above = (result.view(torch.int16) + 1).view(torch.bfloat16).double().numpy()
    error = np.abs(result.double().numpy() - finite)
    for neighbour in (below, above):
        rivals = np.isfinite(neighbour)
        assert (error[rivals] <= np.abs(neighbour - finite)[rivals]).all()


@pytest.mark.parametrize("source", WIDE)
def test_what_is_lost_is_counted(source: str) -> None:
    """Numbers beyond float16 become infinite, small ones zero; bfloat16 holds both."""
    values = torch.tensor(
        [65519.0, 65520.0, -1e6, 1e-8, 0.0, torch.inf, torch.nan], dtype=getattr(torch, source)
    )
    losses = Losses()
    through(values, "float16", losses)
    through(values, "float16", losses)
    assert Losses(overflowed=4, vanished=2) == losses
    losses = Losses()
    through(values, "bfloat16", losses)
    assert Losses() == losses


def test_between_the_halves_nothing_is_lost_unseen() -> None:
    """bfloat16 reaches further than float16: what does not fit is counted."""
    losses = Losses()
    through(torch.tensor([1e10, 1e-20, 1.0], dtype=torch.bfloat16), "float16", losses)
    assert Losses(overflowed=1, vanished=1) == losses
