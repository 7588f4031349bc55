"""How long each part of some work took, for whoever wonders where the time went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Wall seconds by part, in the order in which the parts ended; parts may run side by side."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measuring(self, part: str) -> Iterator[None]:
        """Measure what runs in the body; what has the same name adds up."""
        begun = time.monotonic()
        try:
            yield
        finally:
            taken = time.monotonic() - begun
            self.seconds[part] = self.seconds.get(part, 0.0) + taken

    def stop(self) -> dict[str, float]:
        """The parts, and last `in all` since this clock was made."""
        return self.seconds | {"in all": time.monotonic() - self._begun}
