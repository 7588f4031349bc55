"""What may be told to strangers of a conversion: nothing that only this machine knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hornet_convert.checks.checks import checksum_row, reference_row
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.family import zoo
from hornet_convert.report.claims import Claim, published
from hornet_convert.report.report import Report

_LOCAL: Final = ("from_cache", "not_used", "url")  # of a source; the URL is told if it is one


def told_to_others(report: Report) -> Report:
    """The report of a conversion, as somebody elsewhere should have it.

    Whoever was not here gains nothing by what was seen here before, nor by what came with the file:
    verdict and rows rest on what is published and on independent references, which are named
    without the folders they lie in.
    """
    claims = tuple(map(_named, (c for c in report.claims if c.authority == "independent")))
    told = replace(report, claims=claims, notes=(), source=_source(report.source or {}))
    of_file = (*claims, *published(report.sha256, report.model))
    again = {
        "checksum": checksum_row(report.sha256 or "", of_file),
        "reference": reference_row(told.verdict),
    }
    return replace(told, checks=tuple(again.get(row.code, row) for row in report.checks))


def _named(claim: Claim) -> Claim:
    if claim.tensors:
        return replace(claim, origin=f"another copy of it, {Path(claim.origin).name}")
    if claim.origin.startswith("--"):
        return replace(claim, origin="whoever made this repository")
    return claim


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    url = str(source.get("url", ""))
    known = {key: value for key, value in source.items() if key not in _LOCAL}
    return known | ({"url": url} if "://" in url and not url.startswith("file:") else {})


def published_as(told: Report, chosen: bool) -> zoo.Published | None:
    """The row whose published weights the source is known to hold; None if that is not known.

    `chosen` says that other weights of the file may have been taken than its published name means.
    """
    row, verdict = zoo.BY_NAME.get(told.model or ""), told.verdict
    if row is None or chosen or verdict is None or verdict.claim is None:
        return None
    if told.sha256 and zoo.with_hash(told.sha256) == (row, True):
        return row
    known = verdict.word == "authentic" and verdict.claim.model == row.name
    return row if known and not verdict.claim.tensors else None


def record(
    statement: Mapping[str, Any], told: Report, digests: Mapping[str, str], onnx: object
) -> dict[str, Any]:
    """The in-toto Statement of a repository: that of its weights, about all of its files.

    `statement` is what lay beside the weights, `digests` the SHA-256 of each file, the weights'
    first; `onnx` what is told of the ONNX model, None if there is none.
    """
    made, result = checks_in(statement), told.to_json()
    verdict = {name: result[name] for name in ("verdict", "reference")}
    source = {key: value for key, value in made["source"].items() if key not in _LOCAL}
    source |= verdict | dict(told.source or {})
    annotations = {
        **made,
        **({} if made.get("edits") else verdict),
        "file": next(iter(digests)),
        "source": source,
        "checks": result["checks"],
        "notes": [],
        "onnx": onnx,
    }
    predicate = statement["predicate"]
    definition, details = predicate["buildDefinition"], predicate["runDetails"]
    dependency = {"name": source["file"], "digest": {"sha256": source["sha256"]}}
    uri = {"uri": source["url"]} if "url" in source else {}
    return {
        **statement,
        "subject": [{"name": name, "digest": {"sha256": d}} for name, d in digests.items()],
        "predicate": {
            "buildDefinition": {**definition, "resolvedDependencies": [dependency | uri]},
            "runDetails": {
                **details,
                "byproducts": [{**details["byproducts"][0], "annotations": annotations}],
            },
        },
    }
