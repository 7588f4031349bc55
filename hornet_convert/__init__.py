"""hornet-convert: fetch, check, convert and verify the published HorNet checkpoints.

    from hornet_convert import create_model, gnConv, load_model, load_state_dict

All of them load torch when they are first used; importing the package does not.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes a while, and the program catches signals only after this
if TYPE_CHECKING:
    from typing import Any

    from hornet_convert.api.models import create_model
    from hornet_convert.model.layers import gnConv
    from hornet_convert.model.load import load_model, load_state_dict

__all__ = ["create_model", "gnConv", "load_model", "load_state_dict"]


def __getattr__(name: str) -> Any:
    if name == "create_model":
        from hornet_convert.api.models import create_model

        return create_model
    if name == "gnConv":
        from hornet_convert.model.layers import gnConv

        return gnConv
    if name in ("load_model", "load_state_dict"):
        from hornet_convert.model import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
