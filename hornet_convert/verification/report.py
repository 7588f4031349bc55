"""What was found out about one checkpoint, as one object: a table for people, JSON for programs.

A check is passed, failed, or not checked with the reason; a failed one is a value, no exception.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from hornet_convert.errors import (
    EXIT_CHECK_FAILED,
    EXIT_OK,
    EXIT_UNREACHABLE,
    HornetConvertError,
)
from hornet_convert.numbers.standing import BlockStatistics
from hornet_convert.verification.trace import Trace
from hornet_convert.verification.verdict import Reference, Verdict, judge

Status = Literal["pass", "fail", "not checked"]

CHECKS: Final = {
    "checksum": "The file's SHA-256 is the one it is known by.",
    "reference": "The file or its weights are those that something apart from the file knows.",
    "container": "The container is whole: every part lies where it says and matches its CRC.",
    "model": "The key layout and the model are recognised.",
    "keys": "Every tensor of the model is there once, and none beside.",
    "tensors": "Every tensor has the shape the definition gives it and a floating-point type.",
    "values": "Every tensor is finite and not all zero, and the layer scales have been trained.",
    "parameters": "The number of parameters agrees with the published figure.",
    "fingerprint": "The weights have the fingerprint the file records for itself.",
    "forward": "The reference model computes with the remapped weights what the source computes.",
    "readback": "The written file, opened again, holds every tensor bit for bit.",
}


@dataclass(frozen=True)
class Check:
    """One row of the verdict: a code of CHECKS, its status, and one sentence of detail.

    `trace` is what the forward check found, part by part.
    """

    code: str
    status: Status
    detail: str
    trace: Trace | None = None

    def __post_init__(self) -> None:
        if self.code not in CHECKS:
            raise ValueError(f"no such check: {self.code}")


def passed(code: str, detail: str) -> Check:
    """A check that was made and holds."""
    return Check(code, "pass", detail)


def failed(code: str, detail: str) -> Check:
    """A check that was made and does not hold."""
    return Check(code, "fail", detail)


def not_checked(code: str, because: str) -> Check:
    """A check that was not made, and why."""
    return Check(code, "not checked", f"not checked, because {because}")


@dataclass(frozen=True)
class Report:
    """Everything known about one checkpoint after a command has looked at it.

    `layout` and `container` are the source's; `sha256` is the source file's; `notes` are facts
    worth knowing that decide nothing; `output` is the path of the written file, and `conversion`
    tells what it holds; `source` tells where a fetched file came from; `references` are what file
    and weights were compared with; `statistics` are of the source's weights, where asked for.
    """

    path: str | None = None
    model: str | None = None
    layout: str | None = None
    container: str | None = None
    num_classes: int | None = None
    sha256: str | None = None
    fingerprint: str | None = None
    checks: tuple[Check, ...] = ()
    references: tuple[Reference, ...] = ()
    notes: tuple[str, ...] = ()
    ema: str | None = None
    source: dict[str, Any] | None = None
    output: str | None = None
    output_sha256: str | None = None
    conversion: dict[str, Any] | None = None
    error: HornetConvertError | None = None
    seconds: float | None = field(default=None, compare=False)
    statistics: tuple[BlockStatistics, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        """Whether nothing went wrong."""
        return self.status == "pass"

    @property
    def status(self) -> Literal["pass", "fail", "error"]:
        """`error` if the work could not be done, `fail` if a check failed, else `pass`."""
        if self.error is not None and self.error.exit_code != EXIT_CHECK_FAILED:
            return "error"
        if self.error is not None or any(check.status == "fail" for check in self.checks):
            return "fail"
        return "pass"

    @property
    def verdict(self) -> Verdict | None:
        """What it all amounts to; None if the work could not be done."""
        if self.status == "error" or (self.sha256 is None and self.error is None):
            return None
        # A verdict below the one required fails that check and stays what it is.
        failing = {check.code for check in self.checks if check.status == "fail"} - {"reference"}
        return judge(
            bool(failing) or self.error is not None,
            self.sha256,
            self.fingerprint,
            self.model,
            self.references,
        )

    @property
    def trace(self) -> Trace | None:
        """The forward check part by part, if it was made."""
        return next((check.trace for check in self.checks if check.trace is not None), None)

    @property
    def exit_code(self) -> int:
        """Exit code of a command that ends with this report."""
        if self.error is not None:
            return self.error.exit_code
        return EXIT_CHECK_FAILED if self.status == "fail" else EXIT_OK

    def to_json(self) -> dict[str, Any]:
        """The documented JSON object; absent things are null."""
        return {
            "status": self.status,
            "verdict": None if self.verdict is None else self.verdict.word,
            "reference": reference_to_json(self.verdict),
            "path": self.path,
            "model": self.model,
            "layout": self.layout,
            "container": self.container,
            "num_classes": self.num_classes,
            "sha256": self.sha256,
            "fingerprint": self.fingerprint,
            "checks": [
                {"code": check.code, "status": check.status, "detail": check.detail}
                for check in self.checks
            ],
            "forward": None if self.trace is None else self.trace.to_json(),
            "notes": list(self.notes),
            "ema": self.ema,
            "source": self.source,
            "output": self.output,
            "output_sha256": self.output_sha256,
            "conversion": self.conversion,
            "error": None if self.error is None else error_to_json(self.error),
            "seconds": self.seconds,
        }


def reference_to_json(verdict: Verdict | None) -> dict[str, Any] | None:
    """The `reference` member of the JSON document: what decided the verdict, if anything did."""
    decided = None if verdict is None else verdict.reference
    if decided is None:
        return None
    return {"kind": decided.kind, "digits": decided.digits, "origin": decided.origin}


def error_to_json(error: HornetConvertError) -> dict[str, Any]:
    """The `error` member of the JSON document."""
    return {
        "code": error.code,
        "message": error.message,
        "where": error.where,
        "expected": error.expected,
        "found": error.found,
        "hint": error.hint,
    }


def summary_to_json(reports: list[Report]) -> dict[str, Any]:
    """The JSON document for several models: the worst status, and every report."""
    order = ("pass", "error", "fail")
    worst = max((report.status for report in reports), key=order.index, default="pass")
    return {"status": worst, "results": [report.to_json() for report in reports]}


def worst_exit_code(reports: list[Report]) -> int:
    """The exit code for several models.

    A failed check counts most, then what could not be done, last what could not be reached: an
    absent source must not hide a wrong file.
    """
    codes = {report.exit_code for report in reports}
    if EXIT_CHECK_FAILED in codes:
        return EXIT_CHECK_FAILED
    return max(codes - {EXIT_UNREACHABLE}, default=EXIT_OK) or max(codes, default=EXIT_OK)


def outcome(report: Report) -> str:
    """One word for a table: an unreachable source is not a failed check."""
    if report.error is not None and report.error.exit_code == EXIT_UNREACHABLE:
        return "unreachable"
    return report.status


def first_failure(report: Report) -> str:
    """The first failed check in words; empty if there is none."""
    return next((f"{c.code}: {c.detail}" for c in report.checks if c.status == "fail"), "")


def finite(value: Any) -> Any:
    """A JSON value with null in place of every number that JSON has no form for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
