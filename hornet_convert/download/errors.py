"""What can go wrong with a download, beyond the classes every part of the package shares."""

from __future__ import annotations

from typing import ClassVar

from hornet_convert.errors import (
    EXIT_INTERRUPTED,
    ErrorCode,
    HornetConvertError,
    SourceUnreachableError,
)

OPTION = "--cache or HORNET_CONVERT_CACHE"
"""What names another folder for the cache, as the hints of disk errors say it."""


class UnusableError(Exception):
    """A source does not give the file, for the reason this holds; the next one is tried.

    `url` is what was asked for, where that is more than the source's own address.
    """

    def __init__(self, reason: str, url: str | None = None) -> None:
        super().__init__(reason)
        self.url = url


class NoSourceError(SourceUnreachableError):
    """Every source was tried and none gave the file; `reasons` says why, source by source."""

    def __init__(self, what: str, *, reasons: tuple[str, ...], hint: str) -> None:
        super().__init__(what, found="; ".join(reasons), hint=hint)
        self.reasons = reasons


class CancelledError(HornetConvertError):
    """The caller asked for the download to stop; what had arrived is kept."""

    code: ClassVar[ErrorCode] = "interrupted"
    exit_code: ClassVar[int] = EXIT_INTERRUPTED
