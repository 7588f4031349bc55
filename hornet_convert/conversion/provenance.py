"""The record beside a result: where the weights came from, and what was checked."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from hornet_convert.checks.model_file import ModelFile
from hornet_convert.errors import DiskError
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.writing import publish_bytes, refuse_special
from hornet_convert.report.report import Report

MAX_RECORD_BYTES = 1 << 22


def write_provenance(report: Report, file: ModelFile, final: Path) -> None:
    """Write `<name of the result>.json` beside the result at `final`."""
    text = json.dumps(provenance(report, file, final.name), indent=2, allow_nan=False)
    publish_bytes(text.encode() + b"\n", final.with_suffix(".json"))


def require_place(final: Path, force: bool) -> None:
    """Raise DiskError if the record of `final` would replace what is no record of it."""
    place = final.with_suffix(".json")
    refuse_special(place)
    if force or not os.path.lexists(place):
        return
    with disk_errors(place, "reading"), place.open("rb") as there:
        text = there.read(MAX_RECORD_BYTES)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("file") != final.name:
        raise DiskError(
            "another file has the name of the result's record",
            where=str(place),
            expected=f"the record of {final.name}, or nothing",
            hint="Name another folder with --out, or replace it with --force.",
        )


def provenance(report: Report, file: ModelFile, name: str) -> dict[str, Any]:
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
            **(report.source or {}),
        },
        "checks": result["checks"],
        "notes": result["notes"],
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what took part; torch only if it was loaded."""
    from importlib.metadata import version

    packages = ["hornet-convert", "numpy", "safetensors"]
    if "torch" in sys.modules:
        packages.append("torch")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
