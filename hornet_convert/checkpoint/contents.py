"""What every container yields, whatever its form."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Contents:
    """The inert tree of a file, its leaves tensors; the names it uses; its own text metadata."""

    root: object
    globals_used: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
