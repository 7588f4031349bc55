"""The record beside a result: where the weights came from, and what was checked."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hornet_convert.checks.model_file import ModelFile
from hornet_convert.checks.statement import STATEMENT
from hornet_convert.conversion.request import Request
from hornet_convert.report.report import Report

CHECKS: Final = "hornet-convert"


def provenance(report: Report, file: ModelFile, request: Request, name: str) -> dict[str, Any]:
    """The record of a result: an in-toto Statement of SLSA provenance, version 1."""
    source = report.source or {}
    dependency = {"name": file.checkpoint.path.name, "digest": {"sha256": report.sha256}}
    return statement(
        {"name": name, "digest": {"sha256": report.output_sha256}},
        request.parameters,
        [dependency | ({"uri": source["url"]} if "url" in source else {})],
        versions(),
        _checks(report, file, request, name),
    )


def statement(
    subject: Mapping[str, Any],
    parameters: Mapping[str, Any],
    dependencies: Sequence[Mapping[str, Any]],
    builder: Mapping[str, str],
    checks: Mapping[str, Any],
) -> dict[str, Any]:
    """What was made, as it was asked for, out of what, by which versions; what was checked."""
    return {
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:hornet-convert:convert:v1",
                "externalParameters": parameters,
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": "urn:hornet-convert", "version": builder},
                "byproducts": [{"name": CHECKS, "annotations": checks}],
            },
        },
    }


def checks_in(statement: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of result and source. Raises KeyError, TypeError if it is none of ours."""
    (made,) = statement["predicate"]["runDetails"]["byproducts"]
    return dict(made["annotations"])


def _checks(report: Report, file: ModelFile, request: Request, name: str) -> dict[str, Any]:
    """What is told of the result, then of its source with the verdict on that."""
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


def versions(*more: str) -> dict[str, str]:
    """Versions of what took part; torch, and what is named, only if it was loaded."""
    from importlib.metadata import version

    packages = ["hornet-convert", "numpy", "safetensors"]
    packages += [name for name in ("torch", *more) if name in sys.modules]
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
