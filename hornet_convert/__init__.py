"""hornet-convert: fetch, check, convert and verify the published HorNet checkpoints.

    from hornet_convert import create_model, load_model, transform

What computes loads torch when it is first used; importing the package does not.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes a while, and the program catches signals only after this
if TYPE_CHECKING:
    from typing import Any

    from hornet_convert.api.models import create_model
    from hornet_convert.api.preprocessing import data_config, transform
    from hornet_convert.errors import (
        AmbiguousError,
        CheckFailedError,
        DiskError,
        FileRefusedError,
        HornetConvertError,
        InternalError,
        InterruptedByUserError,
        MalformedError,
        NotACheckpointError,
        OutOfMemoryError,
        SourceUnreachableError,
        UnknownModelError,
        UnsafeError,
        UnsupportedError,
        UsageError,
    )
    from hornet_convert.model.hornet import HorNet
    from hornet_convert.model.layers import gnConv
    from hornet_convert.model.load import load_model, load_state_dict

    __version__: str

__all__ = [
    "AmbiguousError", "CheckFailedError", "DiskError", "FileRefusedError", "HorNet",
    "HornetConvertError", "InternalError", "InterruptedByUserError", "MalformedError",
    "NotACheckpointError", "OutOfMemoryError", "SourceUnreachableError", "UnknownModelError",
    "UnsafeError", "UnsupportedError", "UsageError", "__version__", "create_model", "data_config",
    "gnConv", "load_model", "load_state_dict", "transform",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "create_model":
        from hornet_convert.api import models as home
    elif name in ("data_config", "transform"):
        from hornet_convert.api import preprocessing as home  # type: ignore[no-redef]
    elif name in ("load_model", "load_state_dict"):
        from hornet_convert.model import load as home  # type: ignore[no-redef]
    elif name == "gnConv":
        from hornet_convert.model import layers as home  # type: ignore[no-redef]
    elif name == "HorNet":
        from hornet_convert.model import hornet as home  # type: ignore[no-redef]
    elif name.endswith("Error") and name in __all__:
        from hornet_convert import errors as home  # type: ignore[no-redef]
    elif name == "__version__":
        from importlib.metadata import version

        return version("hornet-convert")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
