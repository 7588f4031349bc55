"""hornet-convert: fetch, check, convert and verify the published HorNet checkpoints.

    from hornet_convert import create_model, load_model

Both load torch when they are first used; importing the package does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hornet_convert.model.build import create_model
    from hornet_convert.model.load import load_model

__all__ = ["create_model", "load_model"]


def __getattr__(name: str) -> Any:
    if name == "create_model":
        from hornet_convert.model.build import create_model

        return create_model
    if name == "load_model":
        from hornet_convert.model.load import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
