"""HorNets ready to use: fresh by name, of given weights, or from any file that `verify` accepts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.checks.complete import architecture_of
from hornet_convert.checks.identity import CLASSIFIER, FINAL_NORM
from hornet_convert.checks.model_file import examine
from hornet_convert.errors import CheckFailedError, UsageError
from hornet_convert.family.architecture import LAYER_SCALE_INIT, Architecture
from hornet_convert.family.layouts import LAYOUTS, Layout, detect, remap
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.layers import INIT_STD, Device
from hornet_convert.model.located import Located, located, require_agreement
from hornet_convert.model.weights import MappedWeights
from hornet_convert.text import listed, printable

Own = Literal["own"]
OWN: Own = get_args(Own)[0]

DType = torch.dtype
Weights = dict[str, Tensor]

LOG = logging.getLogger("hornet_convert")


def fresh_model(
    name: str,
    num_classes: int | None = 1000,
    *,
    seed: int | None = None,
    drop_path: float = 0.0,
    layer_scale_init: float = LAYER_SCALE_INIT,
    device: Device = None,
    dtype: DType | None = None,
) -> HorNet:
    """Build a freshly initialised HorNet, in training mode.

    `seed` makes the initial weights depend on this number alone, not on torch's global state, the
    device or the dtype; everything else is as for `HorNet`. Raises UnknownModelError if there is no
    such HorNet.
    """
    build = partial(
        HorNet, name, num_classes, drop_path_rate=drop_path, layer_scale_init=layer_scale_init
    )
    if seed is None:
        return build(device=device, dtype=dtype)
    # On the CPU and in float32 wherever it goes from there: other generators give other numbers.
    model = build(device="meta", dtype=torch.float32).to_empty(device="cpu")
    model.reset_parameters(torch.Generator("cpu").manual_seed(seed))
    return model.to(
        device=torch.get_default_device() if device is None else device,
        dtype=torch.get_default_dtype() if dtype is None else dtype,
    )


def model_from_weights(
    architecture: Architecture,
    num_classes: int | None,
    weights: Mapping[str, Tensor],
    *,
    drop_path: float = 0.0,
    dtype: DType = torch.float32,
    kind: type[HorNet] = HorNet,
) -> HorNet:
    """Build a HorNet in evaluation mode whose parameters are the given tensors.

    `weights` are by name of the reference layout. Tensors of the right dtype are taken as they are,
    not copied: changing them changes the model. `kind` is the class to build. Raises
    CheckFailedError if a name is missing or unknown, or a shape is not the architecture's.
    """
    model = kind(architecture, num_classes, drop_path_rate=drop_path, device="meta", dtype=dtype)
    parameters = dict(model.named_parameters())
    expected = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    tensors = dict(weights)  # a lazy mapping is asked for each tensor once
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in (*expected, *found):
        if expected.get(name) != found.get(name):
            raise CheckFailedError(
                f"these are not the weights of a {architecture.name}",
                where=printable(name),
                expected=_described(expected.get(name)),
                found=_described(found.get(name)),
                hint="Check the model's name, the number of classes and the layout of the keys.",
            )
    # The model says which dtype each tensor has: filters of spectra are never less than float32.
    state = {name: tensors[name].to(parameters[name].dtype) for name in expected}
    model.load_state_dict(state, assign=True)
    return model.eval()


def _described(shape: tuple[int, ...] | None) -> str:
    return "no such tensor" if shape is None else f"shape {shape}"


def load_state_dict(
    path: str | os.PathLike[str],
    layout: Layout = "reference",
    *,
    key: str | None = None,
    ema: bool = False,
    prefix: str | None = None,
) -> Mapping[str, Tensor]:
    """The weights in a checkpoint under the names of a layout, without reading them yet.

    `path` is a `.pth` in any container, wrapper and layout, a safetensors file, the index of
    several, a folder with `model.safetensors`, its index or `pytorch_model.bin`, or
    `hf://ORG/REPO`, with `@REVISION` and `/FILE` where need be. `layout` is what the names are to
    be: "reference" for models of `create_model`, "official" for the authors' code, "openmmlab" for
    mmpretrain's. Of several sets of weights `key` names the one to take, `ema` asks for the
    averaged one, and `prefix` for the weights whose names begin so.

    The tensors are views of the file, mapped into memory, in their own dtypes; see `MappedWeights`.
    They go straight into `model.load_state_dict(...)`, with `assign=True` without a copy. A model
    that is not complete is no error here: what is missing is not in the mapping.

    Raises CheckFailedError if a key is no HorNet's or two of them mean the same tensor,
    FileRefusedError if the file is not a checkpoint that can be read, UsageError if there is no
    such layout, file, or set of weights, SourceUnreachableError if the Hub does not give it.
    """
    if layout not in LAYOUTS:
        raise UsageError(
            "no such layout", expected=", ".join(LAYOUTS), found=printable(repr(layout))
        )
    with open_checkpoint(located(path).file) as checkpoint:
        tensors = select_state_dict(checkpoint.root, key=key, ema=ema, prefix=prefix).tensors
        mapping = remap(tensors, detect(tensors) or "reference", layout)
        strangers = [*mapping.unknown, *(each for keys in mapping.collisions for each in keys)]
        if strangers:
            raise CheckFailedError(
                "the keys cannot be translated one to one",
                where=printable(str(path)),
                expected="keys of a HorNet, each once",
                found=listed([printable(each) for each in strangers], most=5),
                hint="`hornet-convert inspect` shows what the file holds.",
            )
        named = {name: tensors[source] for source, name in mapping.names.items()}
        return MappedWeights(checkpoint, named)


def load_model(
    path: str | os.PathLike[str] | Located,
    num_classes: int | Own | None = OWN,
    *,
    key: str | None = None,
    ema: bool = False,
    prefix: str | None = None,
    seed: int | None = None,
    drop_path: float = 0.0,
    device: Device = None,
    dtype: DType | None = None,
    kind: type[HorNet] = HorNet,
) -> HorNet:
    """Build the reference model a checkpoint holds, in eval mode.

    Parameters
    ----------
    path, key, ema, prefix
        The file and the choice of weights in it, as for `load_state_dict`.
    num_classes
        "own", the default: the checkpoint's classifier as it is. None or 0: none, the model returns
        pooled features. Another number than the checkpoint's: a freshly initialised classifier,
        which the logger `hornet_convert` tells at level INFO, as timm does.
    seed
        Makes the weights of a fresh classifier depend on this number alone.
    drop_path
        See `HorNet`.
    device, dtype
        What the parameters are to be on and in: the CPU and float32 if nothing is said. Filters of
        spectra are never less than float32.
    kind
        The class to build: HorNet, or one that is derived from it and built by the same arguments.

    Raises
    ------
    CheckFailedError
        The file holds no complete HorNet, and it is said what is missing, strange or misshapen; or
        another one than the `config.json` of its folder says.
    HornetConvertError
        What `load_state_dict` raises.
    ValueError
        A number makes no sense.

    Notes
    -----
    A file without a classifier gives a model whose `num_classes` is 0. A `backbone` file, which has
    no final norm either, gives one whose final norm is fresh: weight 1, bias 0.

    Keys, shapes and element types are checked; digests and the forward equivalence are not: that is
    what `verify` is for. Parameters in float32 on the CPU are views of the file, mapped into
    memory, and nothing that happens to them reaches the file; see `MappedWeights`.
    """
    architecture, present, weights = _complete(path, key, ema, prefix)
    wanted = present if num_classes == OWN else num_classes or None
    if wanted != present:
        weights = {name: weights[name] for name in weights if name not in CLASSIFIER}
        if wanted is not None:
            weights |= _fresh_classifier(architecture, wanted, seed)
            LOG.info("a fresh classifier: %d classes, the file has %s", wanted, present or "none")
    model = model_from_weights(
        architecture,
        wanted,
        weights,
        drop_path=drop_path,
        dtype=torch.float32 if dtype is None else dtype,
        kind=kind,
    )
    return model.to("cpu" if device is None else device)


def load_for_training(
    path: str | os.PathLike[str],
    num_classes: int | Own | None = OWN,
    *,
    seed: int | None = None,
    drop_path: float = 0.0,
    device: Device = None,
    dtype: DType | None = None,
) -> HorNet:
    """As `load_model`, in training mode; `device` and `dtype` are torch's defaults if not given."""
    return load_model(
        path,
        num_classes,
        seed=seed,
        drop_path=drop_path,
        device=torch.get_default_device() if device is None else device,
        dtype=torch.get_default_dtype() if dtype is None else dtype,
    ).train()


def _fresh_classifier(architecture: Architecture, num_classes: int, seed: int | None) -> Weights:
    if num_classes < 1:
        raise ValueError(f"num_classes is not negative, not {num_classes}")
    generator = None if seed is None else torch.Generator("cpu").manual_seed(seed)
    rows = torch.empty(num_classes, architecture.widths[-1], dtype=torch.float32, device="cpu")
    rows.normal_(std=INIT_STD, generator=generator)
    return dict(zip(CLASSIFIER, (rows, torch.zeros_like(rows[:, 0])), strict=True))


def _complete(
    path: str | os.PathLike[str] | Located,
    key: str | None = None,
    ema: bool = False,
    prefix: str | None = None,
) -> tuple[Architecture, int | None, Weights]:
    """The HorNet in a file, its number of classes, and all its weights by reference name."""
    where, config = located(path)
    with open_checkpoint(where) as checkpoint:
        file = examine(checkpoint, key=key, ema=ema, prefix=prefix)
        architecture, num_classes = architecture_of(file), file.identity.num_classes
        require_agreement(config, architecture, num_classes)
        weights = dict(MappedWeights(checkpoint, file.by_reference_name))
    if file.identity.backbone:
        weights |= neutral_norm(architecture)
    return architecture, num_classes, weights


def neutral_norm(architecture: Architecture, dtype: DType = torch.float32) -> Weights:
    """A final norm as it is before training: weight 1, bias 0."""
    item = torch.ones(architecture.widths[-1], dtype=dtype, device="cpu")
    return dict(zip(FINAL_NORM, (item, torch.zeros_like(item)), strict=True))
