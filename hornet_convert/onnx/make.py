"""An ONNX model of a conversion's result: beside its weights, or with them inside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from hornet_convert.checkpoint.metadata import namespaced, ours
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checks import checks
from hornet_convert.checks.findings import Findings
from hornet_convert.checks.fingerprint import fingerprint as weights_fingerprint
from hornet_convert.checks.model_file import ModelFile, examine
from hornet_convert.checks.scan import scan
from hornet_convert.checks.verify import NO_FORWARD
from hornet_convert.conversion.provenance import checks_in, statement, versions
from hornet_convert.conversion.publish import require_place, same_there
from hornet_convert.conversion.request import Onnx, Request
from hornet_convert.errors import UsageError
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.reading import sha256_of
from hornet_convert.files.writing import (
    Temporary,
    publish_bytes,
    temporary,
    temporary_folder,
    write_all,
)
from hornet_convert.onnx.libraries import require
from hornet_convert.report.check import Check, failed, not_checked
from hornet_convert.report.report import Report
from hornet_convert.text import by_block

RECORD: Final = ".onnx.json"  # beside the weights, whose own record has the name in .json
_SCRATCH: Final = "hornet-convert-onnx-"

Cases = Callable[[ModelFile, bool], "list[Any] | str"]
"""Images and what the graph of a file should give for them, or why there are none.

Given the file with the weights, and whether the maps of the stages are the outputs. It needs torch,
so it comes from above.
"""


def with_model(
    convert: Callable[[Request], Report], request: Request, cases: Cases | None
) -> Report:
    """Convert to safetensors, then build the ONNX model of it, proven before it gets its name.

    The model lies beside its weights; with `single_file` it has them inside, and there is no other
    file. Its rows `graph` and `runtime` join those of the conversion; where one fails there is no
    model. The report's `output` is the model.

    Raises UsageError if that cannot be, or onnx is not installed; else what `convert` raises.
    """
    wanted = required(request)
    plain = replace(request, onnx=None, keep=True)
    if not wanted.single_file:
        return _with_model(convert(plain), request, wanted, cases)
    with temporary_folder(request.out, _SCRATCH) as folder:
        report = _with_model(convert(replace(plain, out=folder)), request, wanted, cases)
        lost = report.output is not None and Path(report.output).parent == folder
        return replace(report, output=None, output_sha256=None) if lost else report


def required(request: Request) -> Onnx:
    """The model that is asked for. Raises UsageError for what cannot be with any checkpoint."""
    wanted = request.onnx or Onnx()
    require("onnx")
    if request.format != "safetensors":
        raise UsageError(
            "the weights of an ONNX model lie in a safetensors file",
            found=f"format {request.format} was asked for",
        )
    if request.layout == "backbone" and not wanted.features:
        raise UsageError(
            "a backbone has no final norm, so its graph can only give feature maps",
            hint="Ask for its feature maps, or for another layout.",
        )
    return wanted


def _with_model(report: Report, request: Request, wanted: Onnx, cases: Cases | None) -> Report:
    if not report or report.output is None:
        return report
    from hornet_convert.onnx.model import IR_VERSION, OPSET

    weights = Path(report.output)
    with open_checkpoint(weights) as checkpoint, temporary(request.out) as result:
        file = examine(checkpoint)
        fingerprint, outputs = _written(file, report, wanted, result)
        rows = _proved(file, wanted, result.path, cases)
        report = replace(report, checks=(*report.checks, *rows))
        if not report:
            kept = "the weights were written, the ONNX model was not"
            notes, output = (*report.notes, kept), report.output if request.keep else None
            return replace(report, notes=notes, output=output)
        sha256, _ = sha256_of(result.path)
        final = request.out / _name(weights, sha256, wanted)
        place = final.with_suffix(".json" if wanted.single_file else RECORD)
        require_place(final, place, request.force)
        if same_there(final, sha256, request.force):
            note = f"{final.name} already existed, identical"
            report = replace(report, notes=(*report.notes, note))
        else:
            with disk_errors(final, "renaming"):
                result.publish(final)
    beside = None if wanted.single_file else {"file": weights.name, "sha256": report.output_sha256}
    conversion = {
        **(report.conversion or {}),
        "format": "onnx",
        "fingerprint": fingerprint,
        "weights": beside,
        "outputs": outputs,
        "opset": OPSET,
        "ir_version": IR_VERSION,
    }
    before = json.loads(weights.with_suffix(".json").read_bytes())
    dependencies = before["predicate"]["buildDefinition"]["resolvedDependencies"]
    if beside is not None:
        dependencies.append({"name": weights.name, "digest": {"sha256": report.output_sha256}})
    told = {**checks_in(before), **conversion, "file": final.name, "sha256": sha256}
    record = statement(
        {"name": final.name, "digest": {"sha256": sha256}},
        {**request.parameters, "format": "onnx", **asdict(wanted)},
        dependencies,
        versions("onnx", "onnxruntime"),
        told | {"checks": report.to_json()["checks"]},
    )
    text = json.dumps(record, indent=2, allow_nan=False).encode() + b"\n"
    publish_bytes(text, place)
    return replace(
        report,
        output=str(final) if request.keep else None,
        output_sha256=sha256,
        conversion=conversion,
    )


def _written(
    file: ModelFile, report: Report, wanted: Onnx, result: Temporary
) -> tuple[str, list[str]]:
    """Write the model; the fingerprint of the weights it uses, and the names of its outputs."""
    from hornet_convert.onnx.model import hornet_model, write_with_weights

    checkpoint, identity, tensors = file.checkpoint, file.identity, file.by_reference_name
    if identity.architecture is None:
        raise ValueError("the weights are not identified")
    fingerprint = str((report.conversion or {})["fingerprint"])
    if wanted.features:
        tensors = {name: t for name, t in tensors.items() if not name.startswith("head.")}
        of_these = {key: file.tensors[key] for key, n in identity.names.items() if n in tensors}
        digests = scan(checkpoint, of_these, look_at_values=False).digests
        by_name = {identity.names[key]: digest for key, digest in digests.items()}
        fingerprint = weights_fingerprint(tensors, by_name)
    told = {**ours(checkpoint.metadata), "layout": "reference", "fingerprint": fingerprint}
    model = hornet_model(
        identity.architecture,
        identity.num_classes,
        tensors,
        features=wanted.features,
        location=None if wanted.single_file else checkpoint.path.name,
        metadata=namespaced(told),
    )
    with disk_errors(result.path.parent, "writing"):
        if wanted.single_file:
            write_with_weights(model, result.fd, checkpoint, tensors)
        else:
            write_all(result.fd, memoryview(model.SerializeToString(deterministic=True)), 0)
        os.fsync(result.fd)
    return fingerprint, [output.name for output in model.graph.output]


def _proved(file: ModelFile, wanted: Onnx, path: Path, cases: Cases | None) -> list[Check]:
    """The rows of a model that was written, opened again."""
    from hornet_convert.onnx.rebuilt import graph_check
    from hornet_convert.onnx.runtime import runtime_check

    with open_checkpoint(path) as reopened:
        again = examine(reopened)
        graph = graph_check(again)
        there, found = file.by_reference_name, again.by_reference_name
        elsewhere = [name for name, tensor in found.items() if tensor.span != there[name].span]
        if not wanted.single_file and elsewhere:
            graph = failed("graph", f"not where the weights lie: {by_block(elsewhere)}")
        if wanted.single_file and graph is not None and graph.status == "pass":
            seen = scan(reopened, again.tensors, look_at_values=False)
            inside = checks.fingerprint(Findings(again, seen))
            if inside.status != "pass":
                graph = replace(graph, status="fail", detail=inside.detail)
    if graph is None:
        raise ValueError("the file written is not an ONNX model")
    if graph.status == "fail":
        return [graph, not_checked("runtime", "the graph is not right")]
    images = NO_FORWARD if cases is None else cases(file, wanted.features)
    if isinstance(images, str):
        return [graph, not_checked("runtime", images)]
    return [graph, runtime_check(path, images)]


def _name(weights: Path, sha256: str, wanted: Onnx) -> str:
    """That of the weights; with them inside, the digits are the model's own."""
    stem, _, digits = weights.stem.rpartition("-")
    features = "-features" if wanted.features else ""
    return f"{stem}{features}-{sha256[:8] if wanted.single_file else digits}.onnx"
