"""The record beside a result: where the weights came from, and what was checked."""

from __future__ import annotations

import platform
import sys
from typing import Any

from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.request import Request
from hornet_convert.report.report import Report


def provenance(report: Report, file: ModelFile, request: Request, name: str) -> dict[str, Any]:
    """The record as a JSON object: the result, then its source with the verdict on that."""
    result = report.to_json()
    verdict = {"verdict": result["verdict"], "reference": result["reference"]}
    conversion = report.conversion or {}
    return {
        "file": name,
        "sha256": report.output_sha256,
        **conversion,
        **({} if conversion.get("edits") else verdict),  # of edited weights nobody vouches
        "source": {
            "file": file.checkpoint.path.name,
            "sha256": report.sha256,
            "size": file.checkpoint.size,
            "container": report.container,
            "model": report.model,
            "layout": report.layout,
            "num_classes": report.num_classes,
            "fingerprint": report.fingerprint,
            **verdict,
            "wrapper": list(file.state.wrapper),
            "prefix": file.state.prefix,
            "ema": report.ema,
            "chosen_by": _rule(file, request),
            **(report.source or {}),
        },
        "checks": result["checks"],
        "notes": result["notes"],
        "versions": versions(),
    }


def _rule(file: ModelFile, request: Request) -> str:
    """What decided which of the weights in the file were taken."""
    if request.key is not None:
        return "key"
    if file.state.raw_wrapper is not None:
        return "exchanged"
    if request.ema:
        return "ema"
    return "only averaged" if file.state.is_ema else "plain"


def versions() -> dict[str, str]:
    """Versions of what took part; torch only if it was loaded."""
    from importlib.metadata import version

    packages = ["hornet-convert", "numpy", "safetensors"]
    if "torch" in sys.modules:
        packages.append("torch")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
