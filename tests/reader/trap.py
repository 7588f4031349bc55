"""A class whose every use by an unpickler leaves a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Trap:
    """Touches the path it is made with, or given as its state."""

    def __new__(cls, *paths: str) -> Trap:
        for path in paths:
            Path(path).touch()
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        Path(str(state)).touch()
