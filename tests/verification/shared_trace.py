"""The forward check on thousands of damaged models: what they have in common is computed once.

The check compares the outputs of every part of the network, in order. Up to the first damaged part
nothing differs from the undamaged model, so running that part alone, on the input it gets there,
and comparing its output with the source's, gives the verdict that the whole check would give. A
test holds it to that.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from hornet_convert.family.architecture import Architecture
from hornet_convert.family.layouts import remap
from hornet_convert.model import plain
from hornet_convert.model.equivalence import hasten
from hornet_convert.model.hornet import HorNet
from hornet_convert.report.trace import TOLERANCE, Deviation
from tests.verification.damage import Array, Damage, Weights, parts


class SharedTrace:
    """The source's outputs, and the inputs of the undamaged reference model's parts."""

    def __init__(self, name: str, weights: Weights, num_classes: int, image_size: int) -> None:
        self.weights = weights
        names = remap(weights, "reference", "official").names
        source = {names[key]: _tensor(array) for key, array in weights.items()}
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, 3, image_size, image_size, generator=generator)
        self.model = HorNet(
            Architecture.from_name(name), num_classes, device="meta", dtype=torch.float64
        ).eval()
        hasten(self.model)
        state = {key: _tensor(array).double() for key, array in weights.items()}
        self.model.load_state_dict(state, assign=True)
        self.inputs: dict[str, torch.Tensor] = {}
        self.names = parts(weights)
        for part in self.names:
            self.model.get_submodule(part).register_forward_pre_hook(partial(self._keep, part))
        with torch.no_grad():
            self.outputs = {
                step.name: step.output for step in plain.steps(source, "official", image)
            }
            self.model(image.double())

    def _keep(self, part: str, module: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
        self.inputs.setdefault(part, args[0])

    def deviation(self, part: str, changed: Mapping[str, Array]) -> float:
        """Relative deviation of one part's output with some of its tensors changed."""
        state: dict[str, torch.Tensor] = {
            name.removeprefix(f"{part}."): torch.nn.Parameter(_tensor(array).double(), False)
            for name, array in changed.items()
        }
        module = self.model.get_submodule(part)
        with torch.no_grad():
            output = torch.func.functional_call(module, state, (self.inputs[part],))
        expected = self.outputs[part]
        difference = (expected - output).abs().max().item()
        return Deviation(part, difference, expected.abs().max().item()).relative

    def first_diverging(self, damage: Damage) -> str | None:
        """The part the forward check names for a damaged model; None if it passes it.

        Only damaged parts can be named: an undamaged one gets the same input as long as every part
        before it agrees.
        """
        for part, names in self.names.items():
            changed = {name: damage.changed[name] for name in names if name in damage.changed}
            if changed and not self.deviation(part, changed) <= TOLERANCE:
                return part
        return None


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(array))  # a copy: seeded arrays are read-only
