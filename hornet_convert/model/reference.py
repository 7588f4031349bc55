"""What the outputs of a model's graph should be: by the second computation, in float64."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from hornet_convert.checks.model_file import ModelFile
from hornet_convert.family.architecture import DEPTHS
from hornet_convert.model import plain
from hornet_convert.model.equivalence import memory_errors
from hornet_convert.model.forward import LARGEST_UNASKED
from hornet_convert.model.weights import CheckpointWeights
from hornet_convert.onnx.runtime import Case

SEED: Final = 0
OTHER_SIZE: Final = (96, 160)  # for a graph of any size
_MAPS: Final = {f"stages.{s}.blocks.{depth - 1}": f"stages.{s}" for s, depth in enumerate(DEPTHS)}


@memory_errors()
def cases(file: ModelFile, features: bool, *, asked: bool = False) -> list[Case] | str:
    """One and three seeded images with the outputs of a graph; why not, where they are too large.

    `features` are the maps of the four stages instead of the head's output; `asked` is whether the
    size of the images was asked for, and none is too large. A model without filters also gets an
    image that is no square.
    """
    architecture = file.identity.architecture
    if architecture is None or file.identity.layout is None:
        raise ValueError("the weights are not identified")
    side = architecture.resolution
    if side > LARGEST_UNASKED and not asked:
        return f"the filters are for images of {side}×{side}, more than {LARGEST_UNASKED}"
    numbers = np.random.default_rng(SEED)
    images = numbers.standard_normal((3, 3, side, side), np.float32)
    expected = _outputs(file, features, images)
    found = [
        Case(images[:1], {name: output[:1] for name, output in expected.items()}),
        Case(images, expected),
    ]
    if architecture.filter_resolution is None:
        other = numbers.standard_normal((1, 3, *OTHER_SIZE), np.float32)
        found.append(Case(other, _outputs(file, features, other)))
    return found


@torch.inference_mode()
def _outputs(
    file: ModelFile, features: bool, images: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    weights = CheckpointWeights(file.checkpoint, file.tensors)
    names = dict(_MAPS)
    if not features:
        last = file.identity.num_classes is None
        names = {"head.norm": "features"} if last else {"head.fc": "logits"}
    steps = plain.steps(weights, str(file.identity.layout), torch.from_numpy(images))
    return {names[step.name]: step.output.numpy() for step in steps if step.name in names}
