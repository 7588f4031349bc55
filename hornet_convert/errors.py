"""Every way in which hornet-convert cannot run, with the exit code of each.

A check that fails is a value (see `report.py`), not an exception: an exception here always means
"could not be done". Each carries the facts in fields, and builds its message from them.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 4
EXIT_DISK = 5
EXIT_INTERRUPTED = 130


def printable(text: str, limit: int = 200) -> str:
    """Text from a file or a server, safe to show: control characters escaped, cut short."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


class HornetConvertError(Exception):
    """Root of every exception this package raises on purpose.

    Parameters
    ----------
    what
        One sentence: what went wrong.
    where
        File, URL, key or position it went wrong at.
    expected, found
        What should have been there, and what was.
    hint
        What to do next, as an instruction.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = EXIT_CHECK_FAILED

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint

    @property
    def message(self) -> str:
        """What, where, expected and found in one line, control characters escaped."""
        parts = [self.what]
        for label, value in (
            ("where", self.where),
            ("expected", self.expected),
            ("found", self.found),
        ):
            if value is not None:
                parts.append(f"{label}: {value}")
        return printable("; ".join(parts), limit=4000)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}. {self.hint}"


class UsageError(HornetConvertError):
    """The request itself cannot be carried out as given."""

    code = "usage"
    exit_code = EXIT_USAGE


class UnknownModelError(UsageError):
    """A name that is none of the models."""

    code = "unknown-model"


class SourceUnreachableError(HornetConvertError):
    """No source gave the file: says nothing about whether the checkpoint is right."""

    code = "unreachable"
    exit_code = EXIT_UNREACHABLE


class CheckFailedError(HornetConvertError):
    """A caller asked for a result that needs every check to pass, and one failed."""

    code = "check-failed"
    exit_code = EXIT_CHECK_FAILED


class FileRefusedError(HornetConvertError):
    """The file is not something this package reads."""

    code = "refused"
    exit_code = EXIT_REFUSED


class NotACheckpointError(FileRefusedError):
    """The file is something else altogether: a web page, an empty file, an image."""

    code = "not-a-checkpoint"


class MalformedError(FileRefusedError):
    """The file claims to be a checkpoint and contradicts itself."""

    code = "malformed"


class UnsupportedError(FileRefusedError):
    """A well-formed file of a kind that is not read: TorchScript, a whole pickled module, …."""

    code = "unsupported"


class DiskError(HornetConvertError):
    """Reading, writing or locking failed for a reason outside the file's contents."""

    code = "disk"
    exit_code = EXIT_DISK


class InterruptedByUserError(HornetConvertError):
    """The user stopped the work (Ctrl-C)."""

    code = "interrupted"
    exit_code = EXIT_INTERRUPTED


class InternalError(HornetConvertError):
    """A mistake of this package: nothing was decided about the file."""

    code = "internal"
    exit_code = EXIT_REFUSED
