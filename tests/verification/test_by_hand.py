"""The peer that verification is timed against computes HorNet too."""

import pytest
import torch

from benchmarks.by_hand import HorNet
from fixtures import small
from hornet_convert.family.architecture import Architecture
from hornet_convert.model import plain


@pytest.mark.parametrize(("name", "size"), [("w8", 64), ("w8-gf", 224)])
def test_it_agrees_with_the_second_forward(name: str, size: int) -> None:
    """Strictly loaded with the authors' keys, in float32."""
    weights = small.tensors(name)
    model = HorNet(Architecture.from_name(name), small.NUM_CLASSES)
    model.load_state_dict(weights, strict=True)
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        *_, last = plain.steps(weights, "official", image)
        logits = model.eval()(image)
    assert (logits - last.output).abs().max() <= 2e-6 * last.output.abs().max()
