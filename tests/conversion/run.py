"""What the tests of conversions share: run one, read its result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from hornet_convert.conversion.convert import Request, convert
from hornet_convert.conversion.edits import Edits, Target
from hornet_convert.conversion.result_name import Format
from hornet_convert.conversion.writing import WRAPPERS
from hornet_convert.verification.report import Report

Tensors = Mapping[str, torch.Tensor]


def run(
    source: Path,
    out: Path,
    layout: Target = "reference",
    container: Format = "safetensors",
    *,
    forward: bool = False,
    ema: bool = False,
    **edits: Any,
) -> Report:
    """Convert a file that has to convert; edits as keywords."""
    request = Request(out, layout, ema=ema, forward=forward, edits=Edits(**edits), format=container)
    report = convert(source, request)
    assert report, report.checks
    return report


def output(report: Report) -> Path:
    """The result's path."""
    assert report.output is not None
    return Path(report.output)


def told(report: Report) -> dict[str, Any]:
    """What the report tells of the conversion."""
    assert report.conversion is not None
    return report.conversion


def load(path: Path, layout: Target = "reference") -> Tensors:
    """The state dict in a result, by the libraries its users have."""
    if path.suffix == ".safetensors":
        return load_file(path)
    wrapper = WRAPPERS[layout]
    loaded = torch.load(path, weights_only=True)
    state = loaded if wrapper == "bare" else loaded[wrapper]
    assert isinstance(state, Mapping)
    return state
