"""What a file was found to be: everything that the checks look at, as one frozen object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hornet_convert.checks.fingerprint import fingerprint
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.checks.scan import Scan
from hornet_convert.family import file_names
from hornet_convert.report.check import Check
from hornet_convert.report.claims import Claim
from hornet_convert.report.verdict import Level


@dataclass(frozen=True)
class Findings:
    """A file, the one pass over its bytes, and what it is compared with.

    `forward` is the outcome of the forward check, made where torch is, `readback` that of reading a
    written result back, None where there was nothing to check; `given` what file and weights are
    known by, beside what the file's name claims; `require` the least verdict that is asked for;
    `overflow` what rounding would make infinite, in words; `graph` is the row on the graph of an
    ONNX file, made where onnx is.
    """

    file: ModelFile
    seen: Scan
    forward: Check | None = None
    given: tuple[Claim, ...] = ()
    require: Level | None = None
    readback: Check | None = None
    overflow: str | None = None
    graph: Check | None = None

    @cached_property
    def named(self) -> Claim | None:
        """What the file's name claims by the convention `…-<hex>.pth`; it has no authority."""
        digits = file_names.digits_in(self.file.checkpoint.path.name, self.seen.sha256)
        return None if digits is None else Claim(digits, "the file's name", authority="none")

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Everything that file and weights are known by."""
        return self.given if self.named is None else (*self.given, self.named)

    @cached_property
    def fingerprint(self) -> str | None:
        """The fingerprint of the weights; None unless they are a complete model's."""
        complete = self.file.identity.complete
        return fingerprint(self.file.by_reference_name, self.digests) if complete else None

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each tensor by reference name."""
        return {name: self.seen.digests[key] for key, name in self.file.identity.names.items()}
