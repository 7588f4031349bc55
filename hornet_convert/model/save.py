"""A model as a folder that the Hub's libraries know: `model.safetensors` and `config.json`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hornet_convert.checkpoint.folder import CONFIG, SAFETENSORS
from hornet_convert.checkpoint.metadata import namespaced
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME, DType
from hornet_convert.checks.fingerprint import fingerprint
from hornet_convert.conversion.write_safetensors import SafetensorsFile
from hornet_convert.errors import CheckFailedError, DiskError
from hornet_convert.family.pretrained_cfg import hub_config
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.records import write_record
from hornet_convert.files.writing import Temporary, temporary, write_all
from hornet_convert.text import listed, printable

if TYPE_CHECKING:
    from hornet_convert.model.hornet import HorNet

ARGUMENT = "`folder`"  # of save, as the hints of disk errors name it
UNKNOWN = "0" * 64  # as long as a digest


@dataclass(frozen=True)
class _Described:
    """A tensor as the header of its file says it."""

    dtype: DType
    shape: tuple[int, ...]
    nbytes: int


def save(model: HorNet, folder: str | os.PathLike[str]) -> None:
    """Write a model to a folder, which is made if need be.

    `model.safetensors` has its parameters under the names of the reference layout, in their own
    types, and their fingerprint; it is opened again and compared before it gets its name. What else
    is in the folder is left alone.

    Raises CheckFailedError if the parameters are not those of a HorNet (adapters or a compressed
    form were put in), DiskError if they cannot be written.
    """
    weights = model.state_dict()
    _require_hornet(model, weights)
    target = Path(folder)
    with temporary(target, ARGUMENT) as result:
        with disk_errors(target, "writing", ARGUMENT):
            digests = _write(weights, result)
            os.fsync(result.fd)
        _require_same(result.path, digests)
        with disk_errors(target, "renaming", ARGUMENT):
            result.publish(target / SAFETENSORS)
    write_record(target / CONFIG, hub_config(model.architecture, model.num_classes), ARGUMENT)


def _require_hornet(model: HorNet, weights: dict[str, Tensor]) -> None:
    expected = model.architecture.shapes(model.num_classes or None)
    found = {name: tuple(value.shape) for name, value in weights.items()}
    differ = [name for name in (*expected, *found) if expected.get(name) != found.get(name)]
    if differ:
        raise CheckFailedError(
            "the model's parameters are not those of a HorNet",
            expected=f"names and shapes of {model.architecture.name}",
            found=f"a difference in {listed([printable(name) for name in dict.fromkeys(differ)])}",
            hint="Merge or take out what was put in: adapters, pruning, quantization.",
        )


def _write(weights: dict[str, Tensor], result: Temporary) -> dict[str, str]:
    """Write the whole file; the SHA-256 of each tensor by its name."""
    described = {
        name: _Described(
            BY_TORCH_NAME[str(value.dtype).removeprefix("torch.")],
            tuple(value.shape),
            value.nbytes,
        )
        for name, value in weights.items()
    }
    form = SafetensorsFile(described, namespaced({"fingerprint": UNKNOWN}))
    digests = {}
    for name, value in weights.items():  # one at a time on the CPU
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        digests[name] = hashlib.sha256(data).hexdigest()
        write_all(result.fd, data, form.offsets[name])
    ours = namespaced({"fingerprint": fingerprint(described, digests)})
    for offset, part in form.frame(ours, {}):
        write_all(result.fd, memoryview(part), offset)
    return digests


def _require_same(path: Path, digests: dict[str, str]) -> None:
    """Open what was written, and raise DiskError unless it holds what was meant."""
    with open_checkpoint(path) as checkpoint:
        tensors = select_state_dict(checkpoint.root).tensors
        found = {n: hashlib.sha256(checkpoint.read(t).data).hexdigest() for n, t in tensors.items()}
    if found != digests:
        raise DiskError(
            "the disk did not keep what was written",
            where=printable(str(path.parent), 1000),
            hint=f"Name another folder with {ARGUMENT}.",
        )
