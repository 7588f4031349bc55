"""What each mutant has to do, and what is compared of it: results, records, refusals."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Outcome = dict[str, Any]
"""`exit`: the exit code, or the name of an error; `facts`: what is in the folder and the report."""

# Source, then what is asked for. `row` is the published checkpoint it was fetched as, `standing`
# what has the name of the result, or of its record, already.
SCENARIOS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{source} {' '.join(f'{name}={value}' for name, value in asked.items())}": (source, asked)
    for source, asked in (
        ("official.pth", {}),
        ("official.pth", {"layout": "official", "format": "pth"}),
        ("official.pth", {"layout": "backbone", "format": "pth"}),
        ("official.pth", {"layout": "openmmlab", "format": "pth", "resolution": 96}),
        ("official.pth", {"layout": "official", "resolution": 224, "head": 10}),
        ("official.pth", {"row": "tiny-gf"}),
        ("official.pth", {"row": "tiny-gf", "head": "none"}),
        ("official.pth", {"standing": "result"}),
        ("official.pth", {"standing": "result", "force": True}),
        ("official.pth", {"standing": "record"}),
        ("official.pth", {"standing": "same"}),
        ("official.pth", {"dtype": "float32"}),
        ("odd.pth", {"format": "pth"}),
        ("odd.pth", {"layout": "openmmlab", "resolution": 64, "dtype": "float16"}),
        ("odd.pth", {"layout": "official", "format": "pth", "resolution": 192}),
        ("native.pth", {"layout": "openmmlab"}),
        ("native.pth", {"resolution": 384}),
        ("plain.pth", {"layout": "official"}),
        ("plain.pth", {"layout": "openmmlab", "format": "pth", "dtype": "bfloat16"}),
        ("newer.pth", {"layout": "openmmlab"}),
        ("legacy.pth", {"layout": "openmmlab"}),
        ("legacy.pth", {"layout": "backbone", "dtype": "float16"}),
        ("legacy.pth", {"row": "tiny", "layout": "official", "format": "pth"}),
        ("training.pth", {}),
        ("training.pth", {"ema": True, "layout": "official", "format": "pth"}),
        ("training.pth", {"key": "model_ema"}),
        ("training.pth", {"ema": True, "row": "tiny-gf"}),
        ("openmmlab.pth", {}),
        ("openmmlab.pth", {"layout": "official", "format": "pth"}),
        ("openmmlab.pth", {"layout": "openmmlab", "format": "pth"}),
        ("many.pth", {"layout": "openmmlab"}),
        ("many.pth", {"layout": "official", "format": "pth"}),
        ("many.pth", {"head": "in1k", "format": "pth"}),
        ("many.pth", {"dtype": "float16", "format": "pth"}),
        ("many.pth", {"head": 1000, "dtype": "bfloat16", "resolution": 96, "layout": "official"}),
        ("many.pth", {"head": "none", "layout": "openmmlab", "format": "pth"}),
        ("manyofficial.pth", {"head": "in1k", "layout": "official", "dtype": "float16"}),
        ("headless.pth", {"layout": "openmmlab", "format": "pth"}),
        ("headless.pth", {"head": "none"}),
        ("module.pth", {"layout": "openmmlab"}),
        ("compiled.pth", {"layout": "official"}),
        ("detector.pth", {"layout": "backbone"}),
        ("detector.pth", {"layout": "openmmlab", "format": "pth"}),
        ("student.pth", {"prefix": "student.net", "layout": "openmmlab"}),
        ("student.pth", {"prefix": "teacher.net.", "format": "pth"}),
        ("reference.safetensors", {"layout": "official", "format": "pth"}),
        ("reference.safetensors", {"dtype": "bfloat16"}),
        ("openmmlab.safetensors", {"layout": "reference", "format": "pth"}),
        ("half.pth", {"format": "pth"}),
        ("half.pth", {"dtype": "float32", "layout": "official"}),
        ("half.pth", {"resolution": 96}),
        ("half.pth", {"dtype": "bfloat16", "format": "pth", "layout": "openmmlab"}),
        ("brain.pth", {}),
        ("brain.pth", {"dtype": "float16", "layout": "official", "format": "pth"}),
        ("eight.pth", {"layout": "official"}),
        ("eight.pth", {"format": "pth"}),
        ("precise.pth", {"dtype": "bfloat16"}),
        ("precise.pth", {"dtype": "float16", "format": "pth"}),
        ("precise.pth", {"dtype": "float32", "layout": "official", "resolution": 96}),
        ("precise.pth", {"resolution": 128, "layout": "openmmlab", "format": "pth"}),
        ("ties.pth", {"dtype": "bfloat16", "layout": "backbone"}),
        ("ties.pth", {"dtype": "float16", "layout": "openmmlab", "format": "pth"}),
        ("views.pth", {"layout": "openmmlab"}),
        ("views.pth", {"dtype": "bfloat16", "resolution": 96, "format": "pth"}),
        ("viewslegacy.pth", {"format": "pth", "layout": "official"}),
        ("big.pth", {}),
        ("big.pth", {"dtype": "bfloat16", "format": "pth"}),
        ("inline.pth", {"layout": "official"}),
        ("inline.pth", {"ema": True, "layout": "openmmlab", "format": "pth"}),
        ("exchanged.pth", {}),
        ("exchanged.pth", {"ema": True, "layout": "official", "format": "pth"}),
        ("exchanged.pth", {"key": "ema_state_dict"}),
        ("several.pth", {"key": "runs.last.best.model"}),
        ("several.pth", {"key": "runs.first.model", "format": "pth"}),
        ("deep.pth", {}),
        ("deep.pth", {"ema": True}),
        ("averaged.pth", {}),
        ("averaged.pth", {"ema": True, "format": "pth"}),
        ("plain.pth", {"ema": True}),
        ("rivals.pth", {}),
        ("elsewhere.pth", {}),
        ("toolarge.pth", {"dtype": "float16"}),
        ("toolarge.pth", {"dtype": "bfloat16"}),
        ("damaged.pth", {}),
        ("backbone.safetensors", {"layout": "backbone", "format": "pth"}),
        ("backbone.safetensors", {"layout": "official"}),
        ("edited.pth", {"layout": "official"}),
        ("edited.pth", {"dtype": "float32", "head": "none", "format": "pth"}),
    )
}
# Those that are run with the forward check where a bug makes no difference without it.
FORWARD = tuple(name for name in SCENARIOS if name.startswith(("many.pth", "plain.pth")))
# The sources that the second reader is asked about, and with which choice.
_READINGS: tuple[tuple[str, dict[str, Any], str], ...] = (
    *((f"{name}.pth", {}, "") for name in ("plain", "headless", "half", "brain", "eight", "newer")),
    *((f"{name}.pth", {}, "") for name in ("precise", "views", "viewslegacy", "big")),
    ("reference.safetensors", {}, ""),
    ("openmmlab.safetensors", {}, ""),
    *((f"{name}.pth", {}, "model.") for name in ("official", "odd", "legacy", "training")),
    ("training.pth", {"ema": True}, "model_ema."),
    *((f"{name}.pth", {}, "state_dict.") for name in ("openmmlab", "many")),
    ("module.pth", {}, "model.module."),
    ("compiled.pth", {}, "module._orig_mod."),
    ("student.pth", {"prefix": "student.net"}, "student.net."),
    ("deep.pth", {}, "model.state_dict.module."),
    ("exchanged.pth", {}, "state_dict."),
    ("several.pth", {"key": "runs.last.best.model"}, "runs.last.best.model."),
)
READINGS = {
    f"reading {source} {choice or ''}": (source, choice, way) for source, choice, way in _READINGS
}


def run(folder: Path, out: Path, name: str, forward: bool, standing: str | None) -> Outcome:
    """Convert as a scenario says, into an emptied folder; `standing` is the result's name."""
    from hornet_convert.api.checkpoints import convert
    from hornet_convert.conversion.request import Edits, Request
    from hornet_convert.errors import HornetConvertError
    from hornet_convert.family import zoo

    source, asked = SCENARIOS[name]
    asked = dict(asked)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    edits = Edits(
        **{key: asked.pop(key) for key in ("head", "resolution", "dtype") if key in asked}
    )
    row = zoo.BY_NAME[asked.pop("row")] if "row" in asked else None
    stands = asked.pop("standing", None)
    fetched = None if row is None else {"name": "openmmlab", "url": row.openmmlab_url}
    request = Request(out, edits=edits, row=row, source=fetched, **asked)
    if stands == "same":
        convert(folder / source, request, forward=False)
    elif stands and standing:
        (out / standing).with_suffix(".json" if stands == "record" else "").write_text("other")
        if stands == "result":
            (out / standing).write_text("another")
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            report = convert(folder / source, request, forward=forward)
        except HornetConvertError as error:
            return {"exit": type(error).__name__, "facts": _standing(out)}
    facts = _standing(out) | {"report": _told(report.to_json(), out)}
    return {"exit": report.exit_code, "facts": facts}


def read(folder: Path, name: str) -> Outcome:
    """What our reader finds, against what the second one did."""
    from hornet_convert.checkpoint.reader import open_checkpoint
    from hornet_convert.checkpoint.state_dict import select_state_dict

    source, choice, way = READINGS[name]
    second = json.loads((folder / f"{source}.json").read_text())
    with open_checkpoint(folder / source) as checkpoint:
        tensors = select_state_dict(checkpoint.root, **choice).tensors
        found = {
            key: [
                t.dtype.torch,
                list(t.shape),
                hashlib.sha256(checkpoint.read(t).tobytes()).hexdigest(),
            ]
            for key, t in tensors.items()
        }
    ways = {key: row for key, row in second.items() if key.startswith(way)}
    wanted = {key.removeprefix(way): row for key, row in ways.items()}
    wanted = {key: row for key, row in wanted.items() if not key.startswith("ema_")}
    return {"exit": 0, "facts": "the same" if found == wanted else "other tensors"}


def _standing(out: Path) -> dict[str, Any]:
    """Every file in a folder: its bytes; of a record what it says."""
    found: dict[str, Any] = {}
    for path in sorted(out.iterdir()):
        data = path.read_bytes()
        try:
            content: object = _told(json.loads(data), out) if path.suffix == ".json" else None
        except ValueError:
            content = None
        found[path.name] = content or hashlib.sha256(data).hexdigest()
    return found


def _told(record: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """A record without words for people, versions and places."""
    left_out = ("notes", "versions", "seconds", "path", "forward")
    told = {key: value for key, value in record.items() if key not in left_out}
    told["checks"] = {row["code"]: row["status"] for row in record.get("checks", ())}
    if isinstance(told.get("output"), str):
        told["output"] = Path(told["output"]).name
    if isinstance(told.get("error"), dict):
        told["error"] = told["error"]["code"]
    return told


def here(contents: Callable[..., Any]) -> Callable[[Path, str | None], Any]:
    """In place of the process that a `.pth` is loaded in: this one, which has torch already."""

    def loaded(path: Path, key: str | None) -> Any:
        try:
            return json.loads(json.dumps(contents(path, key)))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    return loaded
