"""An open checkpoint, the weights chosen in it, and which HorNet they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from hornet_convert.checkpoint.danger import danger
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.state_dict import StateDict, select_state_dict
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checks.identity import Identity, identify
from hornet_convert.family import zoo
from hornet_convert.family.architecture import LAYER_SCALE_INIT
from hornet_convert.numbers.elements import numbers
from hornet_convert.report.report import Dangers

LONGEST_LAYER_SCALE: Final = 1 << 16  # elements
INITIAL_WITHIN: Final = 0.02  # rounding 1e-6 to float16 moves it by 1.3 %

_LAYER_SCALES: Final = (".gamma1", ".gamma2")


@dataclass(frozen=True)
class ModelFile:
    """An open checkpoint, the state dict chosen in it, and what that was found to be.

    `asked` is the short name of the model that the user says it is.
    """

    checkpoint: Checkpoint
    state: StateDict
    identity: Identity
    asked: str | None = None

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors with a known place in a HorNet, by source key."""
        return {key: self.state.tensors[key] for key in self.identity.names}

    @cached_property
    def by_reference_name(self) -> dict[str, Tensor]:
        """The same, by reference name."""
        return {name: self.state.tensors[key] for key, name in self.identity.names.items()}

    @cached_property
    def dangers(self) -> Dangers:
        """Names that a plain `pickle.load` of the file should not meet, each with the reason."""
        return tuple(danger(self.checkpoint.globals_used))

    @cached_property
    def untrained(self) -> tuple[str, ...]:
        """Reference names of the layer scales that still have their initial value."""
        scales = {n: t for n, t in self.by_reference_name.items() if n.endswith(_LAYER_SCALES)}
        return tuple(name for name, tensor in scales.items() if self._is_initial(tensor))

    def _is_initial(self, tensor: Tensor) -> bool:
        """Whether all values of a tensor are those of a layer scale before training."""
        short = len(tensor.shape) == 1 and 0 < tensor.numel <= LONGEST_LAYER_SCALE
        if not short or tensor.dtype.kind != "float":
            return False
        values = numbers(self.checkpoint.read(tensor), tensor.dtype)
        return bool((abs(values / LAYER_SCALE_INIT - 1) <= INITIAL_WITHIN).all())


def examine(
    checkpoint: Checkpoint,
    *,
    model: str | None = None,
    key: str | None = None,
    ema: bool = False,
    prefix: str | None = None,
) -> ModelFile:
    """Choose the state dict in an open checkpoint and identify it; reads no tensor.

    `model` is what the user says it is, in any spelling `zoo.find` or `Architecture` knows; `key`,
    `ema` and `prefix` choose the weights, see `select_state_dict`.
    """
    asked = None if model is None else zoo.architecture_of(model)
    state = select_state_dict(checkpoint.root, key=key, ema=ema, prefix=prefix)
    identity = identify(state.tensors, asked)
    return ModelFile(checkpoint, state, identity, None if asked is None else asked.name)
