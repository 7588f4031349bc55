"""How far the reference model in float32 is from itself in float64: what its user will see."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hornet_convert.family.architecture import Architecture
from hornet_convert.model.hornet import HorNet

CORNER = 64


class SinglePrecision:
    """Runs both beside a forward in float64, on a corner of its images.

    Each part runs when its weights come by. A corner of 64×64 pixels is enough to see what rounding
    does, which adds up over channels and layers, and costs next to nothing.

    Parameters
    ----------
    architecture, num_classes
        Of the model.
    image
        Images (N, 3, H, W).
    """

    def __init__(self, architecture: Architecture, num_classes: int | None, image: Tensor) -> None:
        corner = image[..., :CORNER, :CORNER]
        self._model = HorNet(architecture, num_classes, device="meta").eval()
        self.exact, self.rounded = corner.double(), corner.float()

    def run(self, part: str, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Run the next part: `module` has its weights in float64, `weights` are as they came."""
        if part == "head.norm":
            self.exact, self.rounded = (x.mean((-2, -1)) for x in (self.exact, self.rounded))
        single = self._model.get_submodule(part)
        state = {name: weight.to(torch.float32) for name, weight in weights.items()}
        single.load_state_dict(state, assign=True)
        self.exact = module.forward(self.exact)  # not by a call: that would run the hooks again
        self.rounded = single(self.rounded)
        single.to_empty(device="meta")
