"""A ready model from any file that `verify` accepts."""

from __future__ import annotations

import os

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import CheckFailedError
from hornet_convert.model.build import model_from_weights
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.weights import CheckpointWeights
from hornet_convert.verification import checks
from hornet_convert.verification.identity import identify
from hornet_convert.verification.report import Check


def load_model(path: str | os.PathLike[str], *, ema: bool = False) -> HorNet:
    """Build the reference model a checkpoint holds, in eval mode, on the CPU.

    Parameters
    ----------
    path
        A `.pth` in any container, wrapper and layout, or a safetensors file.
    ema
        Take the averaged weights in it.

    Keys, shapes and element types are checked; digests and the forward equivalence are not: that is
    what `verify` is for.

    Raises
    ------
    CheckFailedError
        The file holds no complete HorNet; says what is missing, strange or misshapen.
    FileRefusedError
        The file is no checkpoint that can be read.
    """
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
        weights = CheckpointWeights(checkpoint, tensors)
        return model_from_weights(identity.architecture, identity.num_classes, weights)


def _require(rows: tuple[Check, ...], where: str) -> None:
    problems = [row.detail for row in rows if row.status == "fail"]
    if problems:
        raise CheckFailedError(
            "the file does not hold a complete HorNet",
            where=where,
            found="; ".join(problems),
            hint=f"`hornet-convert verify --ckpt {where}` tells more.",
        )
