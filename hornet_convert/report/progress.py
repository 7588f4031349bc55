"""How far a piece of work is, told to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FORWARD: Final = "forward check"
DRIFT: Final = "measuring the drift"
COUNTED: Final = {FORWARD: "parts", DRIFT: "models"}
"""What is not counted in bytes, and in what it is."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, bytes done, bytes in all), or with the units of `COUNTED`."""

Passing = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


def reading(progress: Progress | None, what: str = "reading") -> Passing | None:
    """Progress of one piece of work, named."""
    return None if progress is None else lambda done, total: progress(what, done, total)
