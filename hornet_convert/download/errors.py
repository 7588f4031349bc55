"""What can go wrong with a download, beyond the classes every part of the package shares."""

from __future__ import annotations

from typing import ClassVar

from hornet_convert.errors import (
    EXIT_INTERRUPTED,
    CheckFailedError,
    HornetConvertError,
    SourceUnreachableError,
)


class ChecksumMismatchError(CheckFailedError):
    """A whole file arrived, or lies in the cache, and is not the one that was expected.

    `url` is where it came from, `size` its length in bytes, `expected_digest` a full SHA-256 or the
    first eight digits of one, `origin` what says so, `found_digest` the file's full SHA-256; None
    if its length alone showed that it is another file.
    """

    code: ClassVar[str] = "checksum"

    def __init__(
        self,
        what: str,
        *,
        url: str,
        size: int,
        expected_digest: str,
        origin: str,
        found_digest: str | None,
        hint: str,
    ) -> None:
        super().__init__(
            what,
            where=url,
            expected=f"SHA-256 {expected_digest}{'…' if len(expected_digest) < 64 else ''}, "
            f"from {origin}",
            found=f"{size} bytes" + (f", SHA-256 {found_digest}" if found_digest else ""),
            hint=hint,
        )
        self.url = url
        self.size = size
        self.expected_digest = expected_digest
        self.origin = origin
        self.found_digest = found_digest


class NoSourceError(SourceUnreachableError):
    """Every source was tried and none gave the file; `reasons` says why, source by source."""

    def __init__(self, what: str, *, reasons: tuple[str, ...], hint: str) -> None:
        super().__init__(what, found="; ".join(reasons), hint=hint)
        self.reasons = reasons


class CancelledError(HornetConvertError):
    """The caller asked for the download to stop; what had arrived is kept."""

    code: ClassVar[str] = "interrupted"
    exit_code: ClassVar[int] = EXIT_INTERRUPTED
