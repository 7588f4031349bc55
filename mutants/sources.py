"""The checkpoints that mutants are run on: small HorNets in every form, and what torch reads there.

One process builds them, with the code as it is. Beside each stands what the second reader
(`torch.load`, the safetensors library) finds in it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from fixtures import small
from hornet_convert.api.checkpoints import convert
from hornet_convert.conversion.request import Edits, Request

Tensors = dict[str, torch.Tensor]
MANY = 10459  # rows of the ImageNet-21k head


def build(folder: Path, names: Collection[str]) -> None:
    """Write sources, and `<name>.json` with the second reader's digests of the tensors."""
    for name in names:
        path = folder / name
        SOURCES[name](path)
        path.with_name(f"{name}.json").write_text(json.dumps(second_reading(path)))


def second_reading(path: Path) -> dict[str, list[Any]]:
    """Type, shape and SHA-256 of every tensor by the keys that lead to it, joined by dots."""
    if path.suffix == ".safetensors":
        return {name: row(tensor) for name, tensor in safetensors.torch.load_file(path).items()}
    # Whole, because these files are our own: weights_only takes neither protocol 4 nor a Namespace.
    return dict(_rows(torch.load(path, weights_only=False, map_location="cpu"), ""))


def _rows(value: object, way: str) -> list[tuple[str, list[Any]]]:
    if isinstance(value, torch.Tensor):
        return [(way, row(value))]
    items = value.items() if isinstance(value, Mapping) else ()
    return [each for key, part in items for each in _rows(part, f"{way}.{key}" if way else key)]


def row(tensor: torch.Tensor) -> list[Any]:
    """What is compared of a tensor."""
    data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    dtype = str(tensor.dtype).removeprefix("torch.")
    return [dtype, list(tensor.shape), hashlib.sha256(data).hexdigest()]


def _form(form: small.Form, model: str, **settings: Any) -> Callable[[Path], object]:
    return lambda path: small.write(path, form, model, **settings)


def _saved(make: Callable[[], object], zipped: bool = True) -> Callable[[Path], None]:
    return lambda path: torch.save(make(), path, _use_new_zipfile_serialization=zipped)


def _cast(model: str, dtype: torch.dtype) -> Callable[[], Tensors]:
    return lambda: {key: tensor.to(dtype) for key, tensor in small.tensors(model).items()}


def _precise() -> Tensors:
    """float64, with numbers in the middle of two of bfloat16 and float16, and next to it."""
    weights = {key: tensor.double() for key, tensor in small.tensors("w8-gf64").items()}
    for tensor in weights.values():
        flat = tensor.view(-1)
        flat[::3] += flat[::3] * 2.0**-30
        ties = torch.tensor([1.00390625, 1.01171875, 1.00048828125, 1.00146484375])
        count = min(4, len(flat) // 2)
        flat[:count] = (
            ties[:count].double() + torch.tensor([0.0, 0.0, 2.0**-40, -(2.0**-40)])[:count]
        )
    return weights


def _ties() -> Tensors:
    """float32 with ties, small numbers, and both zeros."""
    weights = small.tensors("w8-gf64")
    corners = [1.00390625, 1.01171875, -1.00048828125, 1e-7, -1e-9, 0.0, -0.0, 3e-8]
    for tensor in weights.values():
        flat = tensor.view(-1)
        if len(flat) >= 16:
            flat[:8] = torch.tensor(corners)
    return weights


def _views() -> Tensors:
    """Tensors that share one storage, some transposed, one repeated."""
    weights = small.tensors("w8-gf64")
    flat = torch.cat([tensor.flatten() for tensor in weights.values()])
    views, at = {}, 0
    for key, tensor in weights.items():
        views[key] = flat[at : at + tensor.numel()].view(tensor.shape)
        at += tensor.numel()
        if tensor.dim() == 2:
            flat[at - tensor.numel() : at] = tensor.t().flatten()
            views[key] = flat[at - tensor.numel() : at].view(tensor.shape[::-1]).t()
        elif key.endswith("complex_weight"):
            views[key] = tensor.transpose(1, 2).contiguous().transpose(1, 2)
    views["stages.1.0.gamma2"] = views["stages.1.0.gamma1"]
    return views


def _big_endian(path: Path) -> None:
    """As a big-endian machine writes it."""
    weights = small.tensors("w8")
    swapped = {}
    for key, tensor in weights.items():
        reversed_bytes = tensor.view(torch.uint8).view(-1, 4).flip(1).reshape(-1)
        swapped[key] = reversed_bytes.view(torch.float32).view(tensor.shape)
    torch.save(swapped, path)
    with zipfile.ZipFile(path) as archive:
        entries = [(row.filename, archive.read(row)) for row in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name, b"big" if name.endswith("/byteorder") else data)


def _inline() -> object:
    """Mmcv's averaged weights among the others."""
    plain = small.tensors("w8-gf64", "openmmlab")
    averaged = small.tensors("w8-gf64", "openmmlab", label="ema")
    mangled = {f"ema_{key.replace('.', '_')}": tensor for key, tensor in averaged.items()}
    return {"meta": {"epoch": 3}, "state_dict": plain | mangled}


def _exchanged() -> object:
    """mmengine's: the average under `state_dict`."""
    raw = {f"module.{k}": t for k, t in small.tensors("w8", "openmmlab", label="raw").items()}
    meta = {"mmengine_version": "0.10.7", "epoch": 300}
    average = small.tensors("w8", "openmmlab")
    return {"meta": meta, "state_dict": average, "ema_state_dict": raw | {"steps": torch.tensor(9)}}


def _several() -> object:
    """Two sets that only a key tells apart, deep down."""
    item, two = small.tensors("w8-gf64"), small.tensors("w8-gf64", label="two")
    return {"runs": {"first": {"model": item}, "last.best": {"model": two}}}


def _deep() -> object:
    """Known keys in known keys, and averages beside them."""
    return {
        "model": {"state_dict": {f"module.{k}": t for k, t in small.tensors("w8").items()}},
        "state_dict_ema": small.tensors("w8", label="ema"),
        "epoch": 3,
    }


def _averaged_alone() -> object:
    return {"model_ema": small.tensors("w8-gf64"), "epoch": 3}


def _rivals(path: Path) -> None:
    torch.save({"model": small.tensors("w8"), "state_dict": small.tensors("w8", label="b")}, path)


def _elsewhere(path: Path) -> None:
    torch.save({"model": small.tensors("w8"), "old": small.tensors("w8", label="b")}, path)


def _too_large() -> Tensors:
    weights = small.tensors("w8")
    weights["stages.2.5.pwconv1.weight"][3, 2] = 1e6
    return weights


def _damaged(path: Path) -> None:
    """A byte of a tensor changed."""
    small.write(path, "official-zip", "w8")
    data = bytearray(path.read_bytes())
    at = data.index(small.tensors("w8")["head.weight"].numpy().tobytes())
    data[at + 5] ^= 1
    path.write_bytes(data)


def _ours(form: small.Form, **asked: Any) -> Callable[[Path], None]:
    """A result of an earlier conversion."""

    def write(path: Path) -> None:
        source = small.write(path.with_name("source"), form, "w8-gf64", num_classes=10)
        report = convert(source, Request(path.with_name("made"), **asked), forward=False)
        Path(str(report.output)).rename(path)

    return write


def _compiled() -> Tensors:
    """A compiled model, wrapped once more."""
    return {f"module._orig_mod.{key}": each for key, each in small.tensors("w8-gf64").items()}


def _detector() -> Tensors:
    """A backbone with the norms of a detector, a neck and a head."""
    weights = {
        f"backbone.{key}": tensor
        for key, tensor in small.tensors("w8-gf64").items()
        if not key.startswith(("head.", "norm."))
    }
    weights |= {f"backbone.norm{n}.weight": torch.ones(8 << n) for n in range(4)}
    return weights | {"neck.conv.weight": torch.ones(4, 8), "rpn_head.conv.bias": torch.ones(4)}


def _student() -> Tensors:
    """Two networks in one state dict."""
    other = small.tensors("w8-gf64", label="other")
    teacher = {f"teacher.net.{key}": tensor for key, tensor in other.items()}
    student = small.tensors("w8-gf64")
    return teacher | {f"student.net.{key}": tensor for key, tensor in student.items()}


SOURCES: dict[str, Callable[[Path], object]] = {
    "official.pth": _form("official-zip", "w8-gf64"),
    "odd.pth": _form("official-legacy", "w12-gf160"),
    "native.pth": _form("official-legacy", "w8-gf"),
    "plain.pth": _form("bare-zip", "w8"),
    "legacy.pth": _form("official-legacy", "w8"),
    "newer.pth": lambda path: torch.save(small.tensors("w8-gf64"), path, pickle_protocol=4),
    "training.pth": _form("training-zip", "w8-gf64"),
    "openmmlab.pth": _form("openmmlab-zip", "w8"),
    "many.pth": _form("openmmlab-legacy", "w8-gf64", num_classes=MANY),
    "manyofficial.pth": _form("official-zip", "w8", num_classes=MANY),
    "headless.pth": _form("bare-legacy", "w8-gf64", num_classes=None),
    "module.pth": _form("module-zip", "w8-gf64"),
    "compiled.pth": _saved(_compiled),
    "detector.pth": _saved(_detector),
    "student.pth": _saved(_student),
    "reference.safetensors": _form("safetensors-reference", "w8-gf64"),
    "openmmlab.safetensors": _form("safetensors-openmmlab", "w8"),
    "half.pth": _saved(_cast("w8-gf64", torch.float16), zipped=False),
    "brain.pth": _saved(_cast("w8", torch.bfloat16)),
    "eight.pth": _saved(_cast("w8", torch.float8_e5m2)),
    "precise.pth": _saved(_precise),
    "ties.pth": _saved(_ties),
    "views.pth": _saved(_views),
    "viewslegacy.pth": _saved(_views, zipped=False),
    "big.pth": _big_endian,
    "inline.pth": _saved(_inline),
    "exchanged.pth": _saved(_exchanged),
    "several.pth": _saved(_several),
    "deep.pth": _saved(_deep),
    "averaged.pth": _saved(_averaged_alone),
    "rivals.pth": _rivals,
    "elsewhere.pth": _elsewhere,
    "toolarge.pth": _saved(_too_large),
    "damaged.pth": _damaged,
    "backbone.safetensors": _ours("official-zip", layout="backbone"),
    "edited.pth": _ours("official-zip", format="pth", edits=Edits(dtype="float16", resolution=96)),
}
