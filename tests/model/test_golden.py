"""Both implementations give what the authors' own code gives, all nine, at full size.

In `make test` five of them, in `make validate` the other four, whose parts are the same.
"""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fixtures import golden, seeded, zoo
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.layouts import Layout, remap
from hornet_convert.model import plain
from hornet_convert.model.load import model_from_weights

# Relative to the largest value recorded.
FLOAT32 = 2e-6
FLOAT64 = 1e-6


def deviation(found: torch.Tensor, recorded: npt.NDArray[np.float32]) -> float:
    """Largest difference from the first recorded rows, relative to the largest value recorded."""
    expected = torch.from_numpy(recorded[: len(found)]).double()
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


FIVE = ("tiny", "tiny-gf", "small", "small-gf", "large-gf384")
REST = [pytest.param(name, marks=pytest.mark.rest) for name in golden.models() if name not in FIVE]


@pytest.mark.full_size
@pytest.mark.parametrize("name", [*FIVE, *REST])
def test_golden(name: str) -> None:
    """Logits, and each stage's map averaged: the reference model in float32, the other in 64."""
    architecture = Architecture.from_name(name)
    layout: Layout = zoo.mixed_form(name)
    weights = zoo.weights(name, zoo.mixed_form(name))
    names = remap(weights, layout, "reference").names
    recorded = golden.outputs(name)
    pictures = 2 if architecture.width == 64 else 1
    image = torch.from_numpy(
        seeded.image(name, (2, 3, architecture.resolution, architecture.resolution))[:pictures]
    )
    model = model_from_weights(
        architecture,
        recorded["logits"].shape[1],
        {names[key]: tensor for key, tensor in weights.items()},
    )
    with torch.inference_mode():
        maps = model.feature_maps(image)
        reference = {f"stage{stage}": map_.mean((2, 3)) for stage, map_ in enumerate(maps)}
        reference["logits"] = model.head(maps[-1])
        second = {}
        for step in plain.steps(weights, layout, image):
            if ".blocks." in step.name:
                second[f"stage{step.name.split('.')[1]}"] = step.output.mean((2, 3))
            elif step.name == "head.fc":
                second["logits"] = step.output

    assert recorded.keys() == reference.keys() == second.keys()
    for found, tolerance in ((reference, FLOAT32), (second, FLOAT64)):
        off = {part: deviation(output, recorded[part]) for part, output in found.items()}
        assert {} == {part: value for part, value in off.items() if not value <= tolerance}
