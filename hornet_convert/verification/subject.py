"""An open checkpoint with what it was found to be: what every command works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.state_dict import StateDict, select_state_dict
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.family import zoo
from hornet_convert.family.layouts import remap
from hornet_convert.numbers.elements import numbers
from hornet_convert.verification import checks
from hornet_convert.verification.fingerprint import fingerprint
from hornet_convert.verification.identity import Identity, identify
from hornet_convert.verification.scan import Scan

LONGEST_LAYER_SCALE = 1 << 16

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, bytes done, bytes in all)."""


@dataclass(frozen=True)
class Subject:
    """An open checkpoint, the state dict chosen in it, and what that was found to be."""

    checkpoint: Checkpoint
    state: StateDict
    identity: Identity
    asked: str | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors with a known place in a HorNet, by source key."""
        return {key: self.state.tensors[key] for key in self.identity.names}

    def by_reference_name(self) -> dict[str, Tensor]:
        """The same, by reference name."""
        return {name: self.state.tensors[key] for key, name in self.identity.names.items()}

    def fingerprint(self, seen: Scan) -> str:
        """The fingerprint of a complete state dict."""
        names = remap(self.identity.names.values(), "reference", "official").names
        official = {key: names[reference] for key, reference in self.identity.names.items()}
        return fingerprint(
            {official[key]: tensor for key, tensor in self.tensors.items()},
            {official[key]: seen.digests[key] for key in official},
        )

    @cached_property
    def untrained(self) -> list[str]:
        """Reference names of the layer scales that still have their initial value."""
        return checks.untrained_layer_scales(self.identity, self._bounds)

    def _bounds(self, key: str) -> tuple[float, float] | None:
        """Smallest and largest value of a tensor, if it can be a layer scale."""
        tensor = self.state.tensors[key]
        if len(tensor.shape) != 1 or not 0 < tensor.numel <= LONGEST_LAYER_SCALE:
            return None
        if tensor.dtype.kind != "float":
            return None
        values = numbers(self.checkpoint.read(tensor), tensor.dtype)
        return float(values.min()), float(values.max())


def examine(checkpoint: Checkpoint, *, model: str | None = None, ema: bool = False) -> Subject:
    """Choose the state dict in an open checkpoint and identify it; reads no tensor.

    `model` is what the user says it is, in any spelling `zoo.find` or `Architecture` knows.
    """
    asked = None if model is None else zoo.architecture_of(model)
    state = select_state_dict(checkpoint.root, ema=ema)
    identity = identify(state.tensors, asked)
    return Subject(checkpoint, state, identity, None if asked is None else asked.name)


def reading(progress: Progress | None, what: str = "reading") -> Callable[[int, int], None] | None:
    """Progress of one pass, named."""
    return None if progress is None else lambda done, total: progress(what, done, total)
