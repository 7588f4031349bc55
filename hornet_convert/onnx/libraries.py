"""The libraries that ONNX needs and nothing else does: the extra `onnx`."""

from __future__ import annotations

from importlib.util import find_spec

from hornet_convert.errors import UsageError

INSTALL = "pip install 'hornet-convert[onnx]'"


def require(library: str) -> None:
    """Raise UsageError, saying how to install it, if `onnx` or `onnxruntime` is missing."""
    if find_spec(library) is None:
        raise UsageError(
            f"ONNX needs the library {library}, which is not installed", hint=f"Run: {INSTALL}"
        )


def missing(library: str) -> str | None:
    """Why something was not checked: the library is not installed; None if it is."""
    return None if find_spec(library) else f"{library} is not installed: {INSTALL}"
