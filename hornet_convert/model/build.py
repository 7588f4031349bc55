"""HorNets ready to use: fresh ones by name, and ones made of given weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from hornet_convert.errors import CheckFailedError, printable
from hornet_convert.family import zoo
from hornet_convert.family.architecture import LAYER_SCALE_INIT, Architecture
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.layers import Device

DType = torch.dtype


def fresh_model(
    name: str,
    num_classes: int | None = 1000,
    *,
    seed: int | None = None,
    drop_path: float = 0.0,
    layer_scale_init: float = LAYER_SCALE_INIT,
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> HorNet:
    """Build a freshly initialised HorNet, in training mode.

    Parameters
    ----------
    name
        A published model by any of its names, or an architecture such as `w16-gf` (width 16).
    num_classes
        Outputs of the classifier; None for a model that returns pooled features.
    seed
        Makes the initial weights depend on this number alone, not on torch's global state, the
        device or the dtype.
    drop_path, layer_scale_init, device, dtype
        See `HorNet`.

    Raises
    ------
    UnknownModelError
        If there is no such HorNet.
    """
    build = partial(
        HorNet,
        zoo.architecture_of(name),
        num_classes,
        drop_path=drop_path,
        layer_scale_init=layer_scale_init,
    )
    if seed is None:
        return build(device=device, dtype=dtype)
    # On the CPU and in float32 wherever it goes from there: other generators give other numbers.
    model = build(device="meta", dtype=torch.float32).to_empty(device="cpu")
    model.reset_parameters(torch.Generator("cpu").manual_seed(seed))
    return model.to(
        device=default_device() if device is None else device,
        dtype=default_dtype() if dtype is None else dtype,
    )


def model_from_weights(
    architecture: Architecture,
    num_classes: int | None,
    weights: Mapping[str, Tensor],
    *,
    drop_path: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> HorNet:
    """Build a HorNet in evaluation mode whose parameters are the given tensors.

    `weights` are by name of the reference layout. Tensors of the right dtype are taken as they are,
    not copied: changing them changes the model. Raises CheckFailedError if a name is missing or
    unknown, or a shape is not the architecture's.
    """
    model = HorNet(architecture, num_classes, drop_path=drop_path, device="meta", dtype=dtype)
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


def default_device() -> torch.device:
    """Where torch puts new tensors."""
    return torch.get_default_device()


def default_dtype() -> DType:
    """The dtype torch gives new tensors."""
    return torch.get_default_dtype()


def _described(shape: tuple[int, ...] | None) -> str:
    return "no such tensor" if shape is None else f"shape {shape}"
