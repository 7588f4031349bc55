"""What the tests of conversions share: run one, prove one, read its result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from hornet_convert.api.checkpoints import convert
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checks.model_file import ModelFile, examine
from hornet_convert.conversion.proof import Proof
from hornet_convert.conversion.readback import Wanted, wanted
from hornet_convert.conversion.request import AS_IT_IS, Edits, Request, Target
from hornet_convert.family.file_names import Format
from hornet_convert.model.forward import prove
from hornet_convert.report.check import Check
from hornet_convert.report.report import Report

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
    request = Request(out, layout, container, Edits(**edits), ema=ema)
    report = convert(source, request, forward=forward)
    assert report, report.checks
    return report


def output(report: Report) -> Path:
    """The result's path."""
    assert report.output is not None
    return Path(report.output)


def told(report: Report) -> dict[str, Any]:
    """What the report tells of the conversion."""
    assert report.conversion is not None
    return dict(report.conversion)


def row(report: Report, code: str) -> Check:
    """The row of a check."""
    return next(check for check in report.checks if check.code == code)


def asked_of(file: ModelFile, edits: Edits = AS_IT_IS, target: Target = "reference") -> Wanted:
    """What a conversion of a file must make."""
    asked = wanted(file, Request(Path(), target, edits=edits))
    assert isinstance(asked, Wanted), asked
    return asked


def proof_of(
    source: Path, result: Path, edits: Edits = AS_IT_IS, target: Target = "reference"
) -> Proof:
    """What the forward check says of a file that should be the source converted."""
    with open_checkpoint(source) as item, open_checkpoint(result) as two:
        file = examine(item)
        return prove(file, asked_of(file, edits, target), two)


def load(path: Path, layout: Target = "reference") -> Tensors:
    """The state dict in a result, by the libraries its users have."""
    if path.suffix == ".safetensors":
        return load_file(path)
    loaded = torch.load(path, weights_only=True)
    key = {"official": "model", "openmmlab": "state_dict"}.get(layout)
    state = loaded if key is None else loaded[key]
    assert isinstance(state, Mapping)
    return state
