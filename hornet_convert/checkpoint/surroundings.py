"""What stands beside the weights of a checkpoint: one line each, no part of it looked at twice."""

from __future__ import annotations

from typing import Final

from hornet_convert.checkpoint.inert import Global, RefusedTensor, describe
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checkpoint.tree import leaves
from hornet_convert.errors import printable

_MAX_LINES: Final = 1000
_SHOWN: Final = 5


class Surroundings:
    """Collects things beside the weights, and says of each what it is and what is foreign in it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._seen: set[int] = set()
        self._more = 0

    def add(self, path: tuple[object, ...], value: object) -> None:
        """Note one thing and where it lies."""
        if len(self._lines) >= _MAX_LINES:
            self._more += 1
            return
        shown = " / ".join(
            printable(part, 80) if isinstance(part, str) else describe(part) for part in path
        )
        tensors, foreign = self._inside(value)
        parts = [describe(value)]
        if tensors and not isinstance(value, Tensor | RefusedTensor):
            parts.append(f"{tensors} tensors in it")
        if foreign:
            rest = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
            names = ", ".join(printable(name, 80) for name in list(foreign)[:_SHOWN])
            parts.append(f"foreign types: {names}{rest}")
        self._lines.append(f"{shown}: {'; '.join(parts)}")

    def lines(self) -> tuple[str, ...]:
        """One printable line per thing noted."""
        more = (f"and {self._more} more",) if self._more else ()
        return (*self._lines, *more)

    def _inside(self, value: object) -> tuple[int, dict[str, None]]:
        """(tensors, names of what is foreign) in a value, not counting what was seen."""
        tensors, foreign = 0, dict[str, None]()
        for leaf in leaves(value, self._seen):
            if isinstance(leaf, Global):
                foreign[leaf.dotted] = None
            else:
                tensors += 1
        return tensors, foreign
