"""Where in a checkpoint's tree the weights lie, by the names that trainers give.

The authors' trainer writes `model` and `model_ema`, OpenMMLab `state_dict` and, in training,
`ema_state_dict` or buffers called `ema_…` among the weights, timm `state_dict` and
`state_dict_ema`. "Averaged" here is what those names say. (OpenMMLab's hooks exchange the two
before they save, so that there the plain names usually hold the average.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.inert import Call, Dict, RefusedTensor, describe
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import UnsupportedError

WRAPPERS: Final = ("state_dict", "model", "model_state_dict", "module", "net", "network")
EMA_WRAPPERS: Final = (
    "model_ema",
    "ema",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model",
)
EMA_PREFIX: Final = "ema_"
MODULE_PREFIX: Final = "module."

Path = tuple[str, ...]
Pairs = list[tuple[str, object]]


@dataclass(frozen=True, eq=False)
class Level:
    """A dict of the tree, and the keys that lead to it."""

    path: Path
    node: Dict


@dataclass(frozen=True, eq=False)
class Places:
    """Where weights lie: `plain` and `averaged`, as far as there are any.

    `around` are the dicts on the way to them, whose other entries stand beside the weights.
    """

    plain: Level | None
    averaged: Level | None
    around: tuple[Level, ...]


def find_weights(root: object) -> Places:
    """Follow the wrappers down from the root.

    Raises UnsupportedError for a whole pickled module where weights should be.
    """
    around: list[Level] = []
    plain = _descend(root, around)
    averaged = None
    for level in tuple(around):
        averaged = averaged or _averaged(level, around)
    return Places(plain, averaged, tuple(around))


def holds_tensors(node: object) -> bool:
    """Whether a value is a dict with tensors directly in it."""
    return isinstance(node, Dict) and any(
        isinstance(value, Tensor | RefusedTensor) for _, value in node.items()
    )


def _descend(root: object, around: list[Level]) -> Level | None:
    """The plain weights; the dicts passed on the way are added to `around`."""
    path: Path = ()
    node = root
    while isinstance(node, Dict) and len(path) < 4:
        name = _wrapper_in(node, path)
        if name is None:
            # Averaged weights in it show that the dict is itself a wrapper.
            if holds_tensors(node) and not any(holds_tensors(node.get(n)) for n in EMA_WRAPPERS):
                return Level(path, node)
            break
        around.append(Level(path, node))
        node, path = node.get(name), (*path, name)
    if isinstance(node, Dict):
        around.append(Level(path, node))
    _refuse_module(node, path)
    return None


def _wrapper_in(node: Dict, path: Path) -> str | None:
    """The key under which a dict holds the weights, or another such dict."""
    for name in WRAPPERS:
        inner = node.get(name)
        _refuse_module(inner, (*path, name))
        if holds_tensors(inner):
            return name
        if isinstance(inner, Dict) and any(holds_tensors(inner.get(n)) for n in WRAPPERS):
            return name
    return None


def _averaged(level: Level, around: list[Level]) -> Level | None:
    """Averaged weights that a dict holds, bare or in a wrapper of their own."""
    for name in EMA_WRAPPERS:
        path, inner = (*level.path, name), level.node.get(name)
        if not isinstance(inner, Dict):
            continue
        if holds_tensors(inner):
            return Level(path, inner)
        for wrapper in WRAPPERS:
            nested = inner.get(wrapper)
            if isinstance(nested, Dict) and holds_tensors(nested):
                around.append(Level(path, inner))
                return Level((*path, wrapper), nested)
    return None


def _refuse_module(value: object, path: Path) -> None:
    """Refuse a pickled torch.nn.Module: an instance with its tables of parts."""
    if not isinstance(value, Call) or value.states is None:
        return
    for state in value.states:
        if (
            isinstance(state, Dict)
            and isinstance(state.get("_modules"), Dict)
            and isinstance(state.get("_parameters"), Dict)
        ):
            raise UnsupportedError(
                "a whole pickled module, not its weights",
                where=" / ".join(path) or None,
                found=describe(value),
                hint="Where you trust the file: load it with torch, and save its state_dict().",
            )


def split_averaged(node: Dict) -> tuple[list[tuple[object, object]], Pairs]:
    """Apart: the weights in a dict, and those under names `ema_<name with underscores>`.

    If all names are of that form, they are plain ones of a model that spells them so.
    """
    plain: list[tuple[object, object]] = []
    averaged: Pairs = []
    for name, value in node.items():
        if isinstance(name, str) and name.startswith(EMA_PREFIX):
            averaged.append((name, value))
        else:
            plain.append((name, value))
    return (plain, averaged) if plain else (list(node.items()), [])


def unmangled(plain: list[tuple[object, object]], averaged: Pairs) -> Pairs:
    """Averaged weights under the names of the plain ones: mmcv writes their dots as underscores."""
    names: dict[str, str] = {}
    for name, _ in plain:
        if isinstance(name, str):
            bare = name.removeprefix(MODULE_PREFIX)
            for spelled in (name, bare, name.replace(".", "_"), bare.replace(".", "_")):
                names.setdefault(EMA_PREFIX + spelled, name)
    return [(names.get(name, name.removeprefix(EMA_PREFIX)), value) for name, value in averaged]
