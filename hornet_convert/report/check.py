"""One row of a verdict: passed, failed, or not checked with the reason. A failed one is a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hornet_convert.report.trace import Trace

Status = Literal["pass", "fail", "not checked"]
CheckCode = Literal[
    "checksum", "reference", "container", "model", "keys", "tensors", "values", "parameters",
    "fingerprint", "forward", "readback", "graph", "runtime",
]  # fmt: skip


@dataclass(frozen=True)
class Check:
    """A check's stable code, its status, one sentence of detail; the forward check's `trace`."""

    code: CheckCode
    status: Status
    detail: str
    trace: Trace | None = None


def passed(code: CheckCode, detail: str) -> Check:
    """A check that was made and holds."""
    return Check(code, "pass", detail)


def failed(code: CheckCode, detail: str) -> Check:
    """A check that was made and does not hold."""
    return Check(code, "fail", detail)


def not_checked(code: CheckCode, because: str) -> Check:
    """A check that was not made, and why."""
    return Check(code, "not checked", f"not checked, because {because}")
