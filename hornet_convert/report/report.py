"""What was found out about one checkpoint, as one object: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from hornet_convert.errors import EXIT_CHECK_FAILED, EXIT_OK, EXIT_UNREACHABLE, HornetConvertError
from hornet_convert.report.check import Check
from hornet_convert.report.claims import Claim
from hornet_convert.report.document import finite, result
from hornet_convert.report.statistics import BlockStatistics
from hornet_convert.report.trace import Trace
from hornet_convert.report.verdict import Verdict, judge
from hornet_convert.text import listed, printable

if TYPE_CHECKING:
    from hornet_convert.family.layouts import Layout
    from hornet_convert.report.results import Averaged, CheckpointResult, Conversion, Danger, Source

ALARM: Final = "A plain pickle.load of this file would be DANGEROUS. Here nothing ran."

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
    `conversion` tell of the written file, `error` why the work could not be done, `took` how
    many seconds each part of it took.
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
    took: Mapping[str, float] = field(default_factory=dict, compare=False)

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

    def to_json(self, seconds: float | None = None) -> CheckpointResult:
        """The documented JSON object; absent things are null."""
        verdict = self.verdict
        by = None if verdict is None else verdict.claim
        return {
            **result(self.asked or self.path or "", checks=self.checks, error=self.error),
            "verdict": None if verdict is None else verdict.word,
            "reference": None
            if by is None
            else {"kind": by.kind, "digits": by.digest, "origin": by.origin},
            "dangerous": bool(self.dangers),
            "dangers": dangers_to_json(self.dangers),
            "path": self.path,
            "model": self.model,
            "asked": self.asked,
            "layout": cast("Layout | None", self.layout),
            "container": self.container,
            "num_classes": self.num_classes,
            "sha256": self.sha256,
            "fingerprint": self.fingerprint,
            "forward": None if self.trace is None else finite(self.trace.to_json()),
            "notes": list(self.notes),
            "ema": cast("Averaged | None", self.ema),
            "source": cast("Source | None", self.source),
            "output": self.output,
            "output_sha256": self.output_sha256,
            "conversion": cast("Conversion | None", self.conversion),
            "seconds": seconds,
        }


def dangers_to_json(dangers: Dangers) -> list[Danger]:
    """The names that make a plain load of a file dangerous, as JSON."""
    return [{"name": name, "why": why} for name, why in dangers]


def dangers_in_words(dangers: Dangers) -> str:
    """The names that make a plain load of a file dangerous, printable, each with the reason."""
    return listed([f"{printable(name)} {why}" for name, why in dangers], "; ")
