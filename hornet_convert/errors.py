"""Every way in which hornet-convert cannot run, with the exit code of each.

A check that fails is a value (see `report/`), not an exception: an exception here always means
"could not be done". Each carries the facts in fields, and builds its message from them.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from hornet_convert.text import printable, python_arguments

EXIT_OK = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 4
EXIT_DISK = 5
EXIT_UNABLE = 6
EXIT_INTERRUPTED = 130

ErrorCode = Literal[
    "error", "usage", "unknown-model", "unreachable", "check-failed", "checksum", "refused",
    "not-a-checkpoint", "not-an-image", "unsafe", "ambiguous", "malformed", "unsupported", "disk",
    "interrupted", "out-of-memory", "process-group", "internal",
]  # fmt: skip
"""Every kind of error, as JSON names it."""


class HornetConvertError(Exception):
    """Root of every exception this package raises on purpose.

    `what` is one sentence on what went wrong, `where` the file, URL, key or position of it,
    `expected` and `found` what should have been there and what was, `hint` what to do next, as an
    instruction. Where they name arguments, it is as options of the command line, which shows
    `message` and `hint`; `str`, which Python shows, names them as Python does.
    """

    code: ClassVar[ErrorCode] = "error"
    exit_code: ClassVar[int] = EXIT_CHECK_FAILED

    subject: str | None = None  # what it is about, of a command on one thing, as that was named
    reasons: tuple[str, ...] = ()  # one by one, where `found` has several in a line

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

    def place(self, where: str) -> None:
        """Say what the error is in, before what it already says of its place."""
        self.where = where if self.where in (None, where) else f"{where}, {self.where}"

    @property
    def message(self) -> str:
        """What, where, expected and found in one line, control characters escaped."""
        facts = {"where": self.where, "expected": self.expected, "found": self.found}
        told = [f"{label}: {value}" for label, value in facts.items() if value is not None]
        return printable("; ".join([self.what.removesuffix("."), *told]), limit=4000)

    def __str__(self) -> str:
        told = self.message if self.hint is None else f"{self.message}. {self.hint}"
        return python_arguments(told)


class UsageError(HornetConvertError):
    """The request itself cannot be carried out as given."""

    code: ClassVar[ErrorCode] = "usage"
    exit_code = EXIT_USAGE


class UnknownModelError(UsageError):
    """A name that is none of the models."""

    code: ClassVar[ErrorCode] = "unknown-model"


class SourceUnreachableError(HornetConvertError):
    """No source gave the file: says nothing about whether the checkpoint is right."""

    code: ClassVar[ErrorCode] = "unreachable"
    exit_code = EXIT_UNREACHABLE


class CheckFailedError(HornetConvertError):
    """A caller asked for a result that needs every check to pass, and one failed."""

    code: ClassVar[ErrorCode] = "check-failed"


class FileRefusedError(HornetConvertError):
    """The file is not something this package reads."""

    code: ClassVar[ErrorCode] = "refused"
    exit_code = EXIT_REFUSED


class NotACheckpointError(FileRefusedError):
    """The file is something else altogether: a web page, an empty file, an image."""

    code: ClassVar[ErrorCode] = "not-a-checkpoint"


class UnsafeError(FileRefusedError):
    """A safe file was required, and a plain load of this one would run foreign code."""

    code: ClassVar[ErrorCode] = "unsafe"


class AmbiguousError(FileRefusedError):
    """The file holds several sets of weights, and nothing says which is meant."""

    code: ClassVar[ErrorCode] = "ambiguous"


class MalformedError(FileRefusedError):
    """The file claims to be a checkpoint and contradicts itself."""

    code: ClassVar[ErrorCode] = "malformed"


class UnsupportedError(FileRefusedError):
    """A well-formed file of a kind that is not read: TorchScript, a whole pickled module, …."""

    code: ClassVar[ErrorCode] = "unsupported"


class DiskError(HornetConvertError):
    """Reading, writing or locking failed for a reason outside the file's contents."""

    code: ClassVar[ErrorCode] = "disk"
    exit_code = EXIT_DISK


class InterruptedByUserError(HornetConvertError):
    """The user stopped the work (Ctrl-C)."""

    code: ClassVar[ErrorCode] = "interrupted"
    exit_code = EXIT_INTERRUPTED


class OutOfMemoryError(HornetConvertError):
    """The memory of this machine does not suffice: nothing was decided about the file."""

    code: ClassVar[ErrorCode] = "out-of-memory"
    exit_code = EXIT_UNABLE


class InternalError(HornetConvertError):
    """A mistake of this package: nothing was decided about the file."""

    code: ClassVar[ErrorCode] = "internal"
    exit_code = EXIT_UNABLE


def as_ours(error: BaseException) -> HornetConvertError:
    """Any exception as one with a message, a hint and an exit code."""
    if isinstance(error, HornetConvertError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptedByUserError("interrupted")
    if isinstance(error, MemoryError):
        return OutOfMemoryError(
            "not enough memory",
            hint="Close other programs. The forward check needs most: --no-forward leaves it out.",
        )
    if isinstance(error, OSError):
        where = None if error.filename is None else str(error.filename)
        hint = "Check the path." if where else "It may be standard output: see where that goes."
        return DiskError(error.strerror or str(error), where=where, hint=hint)
    return InternalError(
        f"an error in hornet-convert itself: {type(error).__name__}: {error}",
        hint="Please report it, with the output of the same command with the environment variable "
        "HORNET_CONVERT_TRACEBACK set.",
    )
