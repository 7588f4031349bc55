"""What was found out about one checkpoint, as one object: a table for people, JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from hornet_convert.errors import EXIT_CHECK_FAILED, EXIT_OK, EXIT_UNREACHABLE, HornetConvertError
from hornet_convert.report.check import Check
from hornet_convert.report.claims import Claim
from hornet_convert.report.statistics import BlockStatistics
from hornet_convert.report.trace import Trace
from hornet_convert.report.verdict import Verdict, judge
from hornet_convert.text import listed, printable

ALARM: Final = "A plain pickle.load of this file would be DANGEROUS. Here nothing ran."

_OF_THE_SOURCE: Final = (
    "path", "model", "asked", "layout", "container", "num_classes", "sha256", "fingerprint",
)  # fmt: skip

Dangers = tuple[tuple[str, str], ...]
"""Names that a plain `pickle.load` would import or call, each with the reason not to."""


class Aside(str):
    """A note that only who asks for details needs to read."""

    __slots__ = ()


@dataclass(frozen=True)
class Report:
    """Everything known about one checkpoint after a command has looked at it.

    `path` to `fingerprint` and `statistics` are of the source, None as far as they are not known;
    `asked` is the short name of the model that was asked for by name. `claims` are what file and
    weights were compared with; `notes` decide nothing; `ema` tells of averaged weights whether
    they were taken. `source` is where a fetched file came from; `output`, `output_sha256` and
    `conversion` tell of the written file, `error` why the work could not be done.
    """

    path: str | None = None
    model: str | None = None
    asked: str | None = None
    layout: str | None = None
    container: str | None = None
    num_classes: int | None = None
    sha256: str | None = None
    fingerprint: str | None = None
    checks: tuple[Check, ...] = ()
    claims: tuple[Claim, ...] = ()
    dangers: Dangers = ()
    notes: tuple[str, ...] = ()
    ema: str | None = None
    source: Mapping[str, Any] | None = None
    output: str | None = None
    output_sha256: str | None = None
    conversion: Mapping[str, Any] | None = None
    error: HornetConvertError | None = None
    statistics: tuple[BlockStatistics, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        """Whether nothing went wrong."""
        return self.status == "pass"

    @property
    def name(self) -> str | None:
        """The model asked for, else the one that was found."""
        return self.asked or self.model

    @property
    def alarm(self) -> str | None:
        """The sentence that a reader must not miss; None if there is no danger."""
        return ALARM if self.dangers else None

    @property
    def status(self) -> Literal["pass", "fail", "error"]:
        """`error` if the work could not be done, `fail` if a check failed, else `pass`."""
        if self.error is not None and self.error.exit_code != EXIT_CHECK_FAILED:
            return "error"
        if self.error is not None or any(check.status == "fail" for check in self.checks):
            return "fail"
        return "pass"

    @property
    def outcome(self) -> str:
        """One word for a table: an unreachable source is not a failed check."""
        if self.error is not None and self.error.exit_code == EXIT_UNREACHABLE:
            return "unreachable"
        return self.status

    @property
    def verdict(self) -> Verdict | None:
        """What it all amounts to; None if the work could not be done."""
        if self.status == "error" or (self.sha256 is None and self.error is None):
            return None
        # A verdict below the one required fails that check and stays what it is.
        failing = {check.code for check in self.checks if check.status == "fail"} - {"reference"}
        failed = bool(failing) or self.error is not None
        return judge(failed, self.sha256, self.fingerprint, self.model, self.claims)

    @property
    def trace(self) -> Trace | None:
        """The forward check part by part, if it was made."""
        return next((check.trace for check in self.checks if check.trace is not None), None)

    @property
    def first_failure(self) -> str:
        """The error, or the first failed check, in words; empty if there is none."""
        if self.error is not None:
            return self.error.message
        return next((f"{c.code}: {c.detail}" for c in self.checks if c.status == "fail"), "")

    @property
    def exit_code(self) -> int:
        """Exit code of a command that ends with this report."""
        if self.error is not None:
            return self.error.exit_code
        return EXIT_CHECK_FAILED if self.status == "fail" else EXIT_OK

    def to_json(self, seconds: float | None = None) -> dict[str, Any]:
        """The documented JSON object; absent things are null."""
        verdict = self.verdict
        by = None if verdict is None else verdict.claim
        return {
            "status": self.status,
            "verdict": None if verdict is None else verdict.word,
            "reference": None
            if by is None
            else {"kind": by.kind, "digits": by.digest, "origin": by.origin},
            **dangers_to_json(self.dangers),
            **{name: getattr(self, name) for name in _OF_THE_SOURCE},
            "checks": [
                {"code": check.code, "status": check.status, "detail": check.detail}
                for check in self.checks
            ],
            "forward": None if self.trace is None else finite(self.trace.to_json()),
            "notes": list(self.notes),
            "ema": self.ema,
            "source": self.source,
            "output": self.output,
            "output_sha256": self.output_sha256,
            "conversion": self.conversion,
            "error": None if self.error is None else error_to_json(self.error),
            "seconds": seconds,
        }


def dangers_to_json(dangers: Dangers) -> dict[str, Any]:
    """The members of the JSON document that tell whether a plain load of a file is dangerous."""
    return {
        "dangerous": bool(dangers),
        "dangers": [{"name": name, "why": why} for name, why in dangers],
    }


def dangers_in_words(dangers: Dangers) -> str:
    """The names that make a plain load of a file dangerous, printable, each with the reason."""
    return listed([f"{printable(name)} {why}" for name, why in dangers], "; ")


def error_to_json(error: HornetConvertError) -> dict[str, Any]:
    """The `error` member of the JSON document."""
    members = ("code", "message", "where", "expected", "found", "hint")
    return {name: getattr(error, name) for name in members}


def summary_to_json(
    reports: Sequence[Report], seconds: Sequence[float | None] | None = None
) -> dict[str, Any]:
    """The JSON document for several models: the worst status, every report, and what each took."""
    order = ("pass", "error", "fail")
    worst = max((report.status for report in reports), key=order.index, default="pass")
    taken = seconds or [None] * len(reports)
    results = [report.to_json(took) for report, took in zip(reports, taken, strict=True)]
    return {"status": worst, "results": results}


def worst_exit_code(reports: Sequence[Report]) -> int:
    """The exit code for several models: an absent source must not hide a wrong file.

    A failed check counts most, then what could not be done, last what could not be reached.
    """
    codes = {report.exit_code for report in reports}
    if EXIT_CHECK_FAILED in codes:
        return EXIT_CHECK_FAILED
    return max(codes - {EXIT_UNREACHABLE}, default=EXIT_OK) or max(codes, default=EXIT_OK)


def finite(value: Any) -> Any:
    """A JSON value with null in place of every number that JSON has no form for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
