"""That a file holds a complete HorNet, for whoever wants to run it."""

from __future__ import annotations

from hornet_convert.checks import checks
from hornet_convert.checks.findings import Findings
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.checks.scan import Scan
from hornet_convert.errors import CheckFailedError
from hornet_convert.family.architecture import Architecture
from hornet_convert.text import printable


def architecture_of(file: ModelFile) -> Architecture:
    """The architecture of a complete HorNet; raises CheckFailedError for anything else."""
    findings = Findings(file, Scan())
    rows = [check(findings) for check in (checks.model, checks.keys, checks.tensors)]
    problems = [row.detail for row in rows if row.status == "fail"]
    architecture, where = file.identity.architecture, printable(str(file.checkpoint.path))
    if problems or architecture is None:
        raise CheckFailedError(
            "the file does not hold a complete HorNet",
            where=where,
            found="; ".join(problems),
            hint="`hornet-convert verify` shows more.",
        )
    return architecture
