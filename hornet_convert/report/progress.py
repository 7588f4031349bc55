"""How far a piece of work is, told to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, bytes done, bytes in all)."""

Passing = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


def reading(progress: Progress | None, what: str = "reading") -> Passing | None:
    """Progress of one pass, named."""
    return None if progress is None else lambda done, total: progress(what, done, total)
