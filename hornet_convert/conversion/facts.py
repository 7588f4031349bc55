"""What must be said of a result: in its metadata, its name, and the record beside it.

Restated from what was asked for and what two readings found; nothing here is used to say it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.chosen import Chosen
from hornet_convert.conversion.expected import Contents, model_name
from hornet_convert.conversion.request import Request
from hornet_convert.conversion.reread import Reading
from hornet_convert.family import zoo
from hornet_convert.family.keys import expected_keys

_EDIT: Final = re.compile(
    r"[0-9]{2,4}to[0-9]{2,4}px|in1k-head|no-head|backbone|float16|bfloat16|float32"
)
_MOST: Final = 8


@dataclass(frozen=True)
class Facts:
    """What must be said: texts in the file's own metadata, its name, members of its record."""

    metadata: dict[str, str]
    name: str
    record: dict[str, Any]
    parameters: dict[str, Any]

    def contradicted(self, path: Path, statement: Mapping[str, Any]) -> str | None:
        """What the name or the record says otherwise, in a sentence; None if they are right."""
        if path.name != self.name:
            return f"the result was to be called {path.name}, and is {self.name}"
        predicate, source = statement["predicate"], self.record["source"]
        definition = predicate["buildDefinition"]
        url = {"uri": source["url"]} if "url" in source else {}
        subject = {"name": self.name, "digest": {"sha256": self.record["sha256"]}}
        dependency = {"name": source["file"], "digest": {"sha256": source["sha256"]}, **url}
        for what, told, wanted in (
            ("kind", statement["_type"], "https://in-toto.io/Statement/v1"),
            ("predicate", statement["predicateType"], "https://slsa.dev/provenance/v1"),
            ("subject", statement["subject"], [subject]),
            ("source", definition["resolvedDependencies"], [dependency]),
            ("parameters", definition["externalParameters"], self.parameters),
        ):
            if told != wanted:
                return f"its record says that the {what} is {told!r}, and not {wanted!r}"
        record = predicate["runDetails"]["byproducts"][0]["annotations"]
        if ("verdict" in record) == bool(self.record["edits"]):
            return "its record has a verdict on edited weights, or none on others"
        for at, wanted in (("", self.record), ("source", source)):
            told = record.get(at, {}) if at else record
            for key, value in wanted.items():
                if key != "source" and told.get(key) != value:
                    return (
                        f"its record says that {at} {key} is {told.get(key)!r}, and not {value!r}"
                    )
        return None


def facts(
    file: ModelFile,
    request: Request,
    choice: Chosen,
    source: Contents,
    wanted: Contents,
    before: Reading,
    after: Reading,
) -> Facts:
    """What must be said of a result, given the readings of the source and of the result."""
    told = file.checkpoint.metadata
    recorded = {n: told.get(f"hornet_convert.{n}", "") for n in ("edits", "weights")}
    edits = _edits(recorded["edits"], request, source, wanted)
    averaged = choice.averaged or recorded["weights"] == "averaged"
    metadata = {
        "fingerprint": fingerprint(wanted, after),
        "layout": request.layout,
        "model": wanted.model,
        **({"edits": " ".join(edits)} if edits else {}),
        **({"weights": "averaged"} if averaged else {}),
    }
    final_norm = "head.norm.weight" in wanted.by_name or request.layout == "reference"
    starts_fresh = [] if final_norm else [f"norm{n}" for n in range(4)]
    record = {
        "file": (name := _name(request, source, wanted, edits, before, after)),
        "sha256": after.sha256,
        "format": request.format,
        "layout": request.layout,
        "model": wanted.model,
        "num_classes": wanted.num_classes,
        "fingerprint": metadata["fingerprint"],
        "edits": edits,
        "starts_fresh": starts_fresh,
        "source": {
            **(request.source or {}),
            "file": file.checkpoint.path.name,
            "sha256": before.sha256,
            "size": os.fstat(file.checkpoint.file.fileno()).st_size,
            "container": _container(file),
            "model": source.model,
            "layout": source.layout,
            "num_classes": source.num_classes,
            "fingerprint": fingerprint(source, before),
            "wrapper": list(choice.way),
            "prefix": choice.prefix,
            "ema": "taken"
            if choice.averaged
            else "present, not taken"
            if choice.averages
            else None,
            "chosen_by": choice.rule,
        },
    }
    asked, changes = request, request.edits
    parameters: dict[str, Any] = {"format": asked.format, "layout": asked.layout}
    parameters |= {"head": changes.head, "resolution": changes.resolution, "dtype": changes.dtype}
    parameters |= {"key": asked.key, "ema": asked.ema, "prefix": asked.prefix}
    metadata = {f"hornet_convert.{key}": text for key, text in metadata.items()}
    return Facts(metadata, name, record, parameters)


def fingerprint(contents: Contents, reading: Reading) -> str:
    """The fingerprint of a HorNet, by its definition: a line for each tensor, by official name."""
    names = {name: key for key, name in expected_keys("official", True, True).items()}
    names |= {name: key for key, name in expected_keys("official", False, True).items()}
    lines = sorted(
        f"{names[row.name]} {row.dtype.code} {'x'.join(map(str, row.shape))} "
        f"{reading.digests[key]}\n".encode()
        for key, row in contents.tensors.items()
    )
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _edits(recorded: str, request: Request, source: Contents, wanted: Contents) -> list[str]:
    """The edits that the source tells of, and those that were made, in the order they are made."""
    told = recorded.split(" ") if recorded else []
    if len(told) > _MOST or not all(map(_EDIT.fullmatch, told)):
        told = []
    made = []
    if any(row.resized for row in wanted.tensors.values()):
        made.append(f"{source.resolution}to{wanted.resolution}px")
    if any(row.rows is not None for row in wanted.tensors.values()):
        made.append("in1k-head")
    if request.layout == "backbone":
        made += ["backbone"] if "backbone" not in told else []
    elif wanted.num_classes is None and source.num_classes is not None:
        made.append("no-head")
    if any(
        row.dtype != row.source.dtype and not row.resized for row in wanted.tensors.values()
    ) or (
        request.edits.dtype
        and any(row.dtype != row.source.dtype for row in wanted.tensors.values())
    ):
        made.append(str(request.edits.dtype))
    return told + (made[1:] if told[-1:] == made[:1] else made)


def _container(file: ModelFile) -> str:
    """What a file is by its first bytes; those of an ONNX model may stand in another file."""
    with file.checkpoint.path.open("rb") as named:
        if named.read(1) == b"\x08":
            return "onnx"
    head = os.pread(file.checkpoint.file.fileno(), 9, 0)
    return "zip" if head[:2] == b"PK" else "safetensors" if head[8:] == b"{" else "legacy"


def _name(
    request: Request,
    source: Contents,
    wanted: Contents,
    edits: list[str],
    before: Reading,
    after: Reading,
) -> str:
    """The published name for published weights as they are, else one that tells what they are."""
    row = request.row
    for published in zoo.MODELS:
        if published.name == source.model and before.sha256.startswith(published.sha8):
            row = row or published
    if edits or request.ema or request.key is not None or request.prefix is not None:
        row = None
    if row is not None:
        stem = f"hornet-{row.name}_3rdparty_{row.dataset}_{row.date}"
    else:
        sizes = [int(edit.partition("to")[0]) for edit in edits if edit.endswith("px")]
        made_for = sizes[0] if sizes and sizes[0] >= 32 and wanted.resolution else wanted.resolution
        model = model_name(wanted.by_name["stem.0.weight"].shape[0], made_for)
        stem = "-".join([f"hornet-{model}_{wanted.num_classes or 0}c", *edits])
    return f"{stem}-{after.sha256[:8]}.{request.format}"
