"""Weights and ready models from any file that `verify` accepts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import CheckFailedError, UsageError, printable
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.layouts import LAYOUTS, Layout, detect, remap
from hornet_convert.model.build import model_from_weights
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.layers import INIT_STD
from hornet_convert.model.mapped import MappedWeights
from hornet_convert.verification import checks
from hornet_convert.verification.identity import CLASSIFIER, identify
from hornet_convert.verification.report import Check

SHOWN = 5

Own = Literal["own"]
OWN: Own = get_args(Own)[0]


def load_state_dict(
    path: str | os.PathLike[str], layout: Layout = "reference", *, ema: bool = False
) -> Mapping[str, torch.Tensor]:
    """The weights in a checkpoint under the names of a layout, without reading them yet.

    The tensors are views of the file, mapped into memory, in their own dtypes; see `MappedWeights`.
    They go straight into `model.load_state_dict(...)`, with `assign=True` without a copy.

    Parameters
    ----------
    path
        A `.pth` in any container, wrapper and layout, or a safetensors file.
    layout
        What the names are to be: "reference" for models of `create_model`, "official" for the
        authors' code, "openmmlab" for mmpretrain's.
    ema
        Take the averaged weights in it.

    A model that is not complete is no error here: what is missing is not in the mapping.

    Raises
    ------
    CheckFailedError
        A key is no HorNet's, or two of them mean the same tensor.
    FileRefusedError
        The file is no checkpoint that can be read.
    UsageError
        There is no such layout, file, or averaged copy.
    """
    if layout not in LAYOUTS:
        raise UsageError(
            "no such layout", expected=", ".join(LAYOUTS), found=printable(repr(layout))
        )
    with open_checkpoint(path) as checkpoint:
        tensors = select_state_dict(checkpoint.root, ema=ema).tensors
        mapping = remap(tensors, detect(tensors) or "reference", layout)
        strangers = [*mapping.unknown, *(key for keys in mapping.collisions for key in keys)]
        if strangers:
            raise CheckFailedError(
                "the keys cannot be translated one to one",
                where=printable(str(path)),
                expected="keys of a HorNet, each once",
                found=", ".join(printable(key) for key in strangers[:SHOWN])
                + (f" and {len(strangers) - SHOWN} more" if len(strangers) > SHOWN else ""),
                hint="`hornet-convert inspect` shows what the file holds.",
            )
        return MappedWeights(
            checkpoint, {name: tensors[key] for key, name in mapping.names.items()}
        )


def load_model(path: str | os.PathLike[str], *, ema: bool = False) -> HorNet:
    """Build the reference model a checkpoint holds, in eval mode, on the CPU.

    Parameters
    ----------
    path
        A `.pth` in any container, wrapper and layout, or a safetensors file.
    ema
        Take the averaged weights in it.

    Keys, shapes and element types are checked; digests and the forward equivalence are not: that is
    what `verify` is for. Parameters in float32 are views of the file, mapped into memory, and
    nothing that happens to them reaches the file; see `MappedWeights`.

    Raises
    ------
    CheckFailedError
        The file holds no complete HorNet; says what is missing, strange or misshapen.
    FileRefusedError
        The file is no checkpoint that can be read.
    """
    found = _complete(path, ema)
    return model_from_weights(found.architecture, found.num_classes, found.weights)


def load_for_training(
    path: str | os.PathLike[str],
    num_classes: int | Own | None = OWN,
    *,
    seed: int | None = None,
    drop_path: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> HorNet:
    """The model a checkpoint holds, in training mode, on the CPU, with the classifier asked for.

    The checkpoint's own classifier is kept if it has `num_classes` outputs or "own" is asked for;
    else there is a freshly initialised one (`seed` decides on its numbers), or, for None and 0,
    none. Raises what `load_model` does.
    """
    found = _complete(path, ema=False)
    wanted = found.num_classes if num_classes == OWN else num_classes or None
    weights: Mapping[str, torch.Tensor] = found.weights
    if wanted != found.num_classes:
        kept = {name: weights[name] for name in weights if name not in CLASSIFIER}
        weights = kept if wanted is None else kept | _classifier(found.architecture, wanted, seed)
    model = model_from_weights(
        found.architecture, wanted, weights, drop_path=drop_path, dtype=dtype
    )
    return model.train()


def _classifier(
    architecture: Architecture, num_classes: int, seed: int | None
) -> dict[str, torch.Tensor]:
    if num_classes < 1:
        raise ValueError(f"num_classes is not negative, not {num_classes}")
    generator = None if seed is None else torch.Generator("cpu").manual_seed(seed)
    weight, bias = CLASSIFIER
    rows = torch.empty(num_classes, architecture.widths[-1], dtype=torch.float32, device="cpu")
    return {
        weight: rows.normal_(std=INIT_STD, generator=generator),
        bias: torch.zeros(num_classes, dtype=torch.float32, device="cpu"),
    }


@dataclass(frozen=True)
class _Complete:
    architecture: Architecture
    num_classes: int | None
    weights: MappedWeights


def _complete(path: str | os.PathLike[str], ema: bool) -> _Complete:
    """The weights of a complete HorNet by reference name."""
    with open_checkpoint(path) as checkpoint:
        state = select_state_dict(checkpoint.root, ema=ema)
        identity = identify(state.tensors)
        rows = (
            checks.model(identity, None),
            checks.keys(identity),
            checks.shapes_and_dtypes(identity, state.tensors),
        )
        _require(rows, str(path))
        tensors = {name: state.tensors[key] for key, name in identity.names.items()}
        if identity.architecture is None:
            raise CheckFailedError("the model is not recognised", where=str(path))
        weights = MappedWeights(checkpoint, tensors)
        return _Complete(identity.architecture, identity.num_classes, weights)


def _require(rows: tuple[Check, ...], where: str) -> None:
    problems = [row.detail for row in rows if row.status == "fail"]
    if problems:
        raise CheckFailedError(
            "the file does not hold a complete HorNet",
            where=where,
            found="; ".join(problems),
            hint=f"`hornet-convert verify --ckpt {where}` tells more.",
        )
