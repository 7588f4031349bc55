"""Refusals that several readers raise, so that they read the same everywhere."""

from __future__ import annotations

from hornet_convert.errors import MalformedError


def cut_off(what: str, needed: int, size: int, where: str | None = None) -> MalformedError:
    """The file is shorter than what it says of itself."""
    return MalformedError(
        what,
        where=where,
        expected=f"at least {needed} bytes",
        found=f"{size} bytes",
        hint="The file is cut off: fetch it again.",
    )


def not_of_torch(
    what: str, *, where: str | None = None, expected: str | None = None, found: str | None = None
) -> MalformedError:
    """The file has what torch never writes, so it was made or changed by something else."""
    hint = "torch writes no such file: get it from its source again."
    return MalformedError(what, where=where, expected=expected, found=found, hint=hint)
