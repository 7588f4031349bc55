"""The one JSON document of every command: an envelope with results that begin alike.

The types are what `schema.py` publishes. A change that could break a reader raises SCHEMA_VERSION.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, get_args

from hornet_convert.errors import (
    EXIT_CHECK_FAILED,
    EXIT_OK,
    EXIT_UNREACHABLE,
    ErrorCode,
    HornetConvertError,
)
from hornet_convert.report.check import Check, CheckCode
from hornet_convert.report.check import Status as CheckStatus

SCHEMA_VERSION: Final = 1

Command = Literal[
    "list", "fetch", "validate", "publish", "convert", "verify", "compare", "inspect", "predict",
    "eval", "cache path", "cache list", "cache verify", "cache clear", "cache prune", "pins",
    "pins export", "pins merge", "pins forget",
]  # fmt: skip
ExitCode = Literal[0, 1, 2, 3, 4, 5, 6, 129, 130, 143]
"""Those of `errors.py`, and 128 plus the number of SIGHUP, SIGINT or SIGTERM."""

Status = Literal["pass", "fail", "error", "skipped"]


so_far: list[Mapping[str, Any]] = []
"""The results that the command in this process has by now: they are told if a signal ends it."""


class ErrorFacts(TypedDict):
    """Why something could not be done: what, where, what was expected and found, what to do."""

    code: ErrorCode
    message: str
    where: str | None
    expected: str | None
    found: str | None
    hint: str | None


class CheckRow(TypedDict):
    """One check that was made, or the reason why it was not."""

    code: CheckCode
    status: CheckStatus
    detail: str


class Result(TypedDict):
    """What every result begins with; one that could not be had has nothing else.

    `subject` is what it is about: a file as it was named, a model by its name; `exit_code` what
    the command would end with, were this the only one. `skipped` is what nobody named and could
    not be read.
    """

    subject: str
    status: Status
    exit_code: ExitCode
    checks: list[CheckRow]
    error: ErrorFacts | None


class Document(TypedDict):
    """The envelope: `about` is what holds for all results, null for most commands.

    `error` is why the command ends with `exit_code`, where something could not be done; null if
    it ends with 0, or only because a check failed.
    """

    schema_version: int
    command: Command | None
    exit_code: int
    about: Mapping[str, Any] | None
    results: Sequence[Mapping[str, Any]]
    error: ErrorFacts | None


def result(
    subject: str,
    *,
    checks: Iterable[Check] = (),
    error: HornetConvertError | None = None,
    skipped: bool = False,
    exit_code: int | None = None,
) -> Result:
    """What a result begins with; `skipped` says that the error counts for nothing.

    The exit code is that of the error, else of the checks, where none is given.
    """
    rows = list(checks)
    code = EXIT_CHECK_FAILED if any(row.status == "fail" for row in rows) else EXIT_OK
    code = code if error is None else error.exit_code
    code = EXIT_OK if skipped else code if exit_code is None else exit_code
    words: dict[int, Status] = {
        EXIT_OK: "skipped" if skipped else "pass",
        EXIT_CHECK_FAILED: "fail",
    }
    return {
        "subject": subject,
        "status": words.get(code, "error"),
        "exit_code": code,  # type: ignore[typeddict-item]  # one of them, by `errors.py`
        "checks": [{"code": row.code, "status": row.status, "detail": row.detail} for row in rows],
        "error": None if error is None else error_to_json(error),
    }


def error_to_json(error: HornetConvertError) -> ErrorFacts:
    """An error as a JSON object."""
    return {
        "code": error.code,
        "message": error.message,
        "where": error.where,
        "expected": error.expected,
        "found": error.found,
        "hint": error.hint,
    }


def document(
    command: Command | None,
    results: Sequence[Mapping[str, Any]],
    *,
    error: HornetConvertError | None = None,
    about: Mapping[str, Any] | None = None,
) -> Document:
    """The whole document; `error` is of the command, beyond those of its results."""
    code = worst_exit_code(item["exit_code"] for item in results)
    code = code or (EXIT_OK if error is None else error.exit_code)
    deciding = (item["error"] for item in results if item["exit_code"] == code)
    reason = next(filter(None, deciding), None) if code else None
    return {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "exit_code": code,
        "about": about,
        "results": results,
        "error": reason if error is None else error_to_json(error),
    }


def worst_exit_code(codes: Iterable[int]) -> int:
    """The exit code of several: an absent source must not hide a wrong file.

    A failed check counts most, then what could not be done, last what could not be reached.
    """
    found = {*codes}
    if EXIT_CHECK_FAILED in found:
        return EXIT_CHECK_FAILED
    return max(found - {EXIT_UNREACHABLE}, default=EXIT_OK) or max(found, default=EXIT_OK)


def command_of(arguments: Sequence[str]) -> Command | None:
    """The command that a command line names; None if it names none."""
    first, *more = arguments or ("",)
    names = [*(f"{first} {word}" for word in more), first]
    commands: tuple[Command, ...] = get_args(Command)
    return next((each for name in names for each in commands if each == name), None)


def wants_document(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for errors, too, as one JSON document on stdout.

    `validate` takes a file for it. Of processes that share an evaluation the first one writes it.
    """
    asked = any(word == "--json" or word.startswith("--json=") for word in arguments)
    if not asked or arguments[0] == "validate":
        return False
    return arguments[0] != "eval" or writes_for_all()


def writes_for_all() -> bool:
    """Whether this process writes what all that share the work have found: the first one does."""
    return os.environ.get("RANK", "").strip() in ("", "0")


def finite(value: Any) -> Any:
    """A JSON value with null in place of every number that JSON has no form for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
