"""What runs a model on images: torch, or ONNX Runtime without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from hornet_convert.errors import UsageError
from hornet_convert.family.architecture import Architecture

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

Name = Literal["torch", "onnxruntime"]
NAMES: Final[tuple[Name, ...]] = get_args(Name)

Pixels: TypeAlias = "NDArray[np.uint8]"
Logits: TypeAlias = "NDArray[Any]"


class Engine(ABC):
    """A model ready to run.

    `num_classes` are its outputs, None without a classifier; `name` the library that computes,
    `device` where; `any_size` whether it takes images of another size than the architecture's.
    """

    name: Name
    architecture: Architecture
    num_classes: int | None
    device: str = "cpu"
    any_size: bool = True

    @abstractmethod
    def logits(self, pixels: Pixels) -> Logits:
        """Logits (N, classes) in float32 of pixels (N, H, W, 3). Raises UsageError."""

    def classes(self) -> int:
        """How many classes the model tells apart; raises UsageError if it has no classifier."""
        if not self.num_classes:
            raise UsageError(
                "the model has no classifier, so it can name no class",
                hint="Use a checkpoint with a head.",
            )
        return self.num_classes
