"""Find the weights in what a checkpoint holds, and say what else is in it.

Wrappers, the `module.` prefix of DataParallel, and averaged (EMA) weights are recognised by the
names that the authors' trainer, OpenMMLab, timm and torch give them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.inert import Call, Dict, RefusedTensor, describe
from hornet_convert.checkpoint.surroundings import Surroundings
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import (
    FileRefusedError,
    MalformedError,
    UnsupportedError,
    UsageError,
    printable,
)

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
# Buffers of torch's and mmengine's averaged models beside the weights: how often was averaged.
_COUNTERS: Final = frozenset({"n_averaged", "steps"})
_SHOWN: Final = 5

Path = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StateDict:
    """The weights of a checkpoint, and where in it they were found.

    Parameters
    ----------
    tensors
        Name to tensor, in the file's order, without `prefix`.
    wrapper
        Keys that lead to the weights, such as ("model",).
    prefix
        What was taken off every name: "module." or "".
    is_ema
        Whether these are the averaged weights.
    ema_wrapper
        Where averaged weights lie, if there are any; its last part is "ema_*" if they stand
        among the others under names of that form.
    dropped
        One printable line for each thing beside the weights.
    """

    tensors: dict[str, Tensor]
    wrapper: Path
    prefix: str
    is_ema: bool
    ema_wrapper: Path | None
    dropped: tuple[str, ...]


def select_state_dict(root: object, ema: bool = False) -> StateDict:
    """The weights in a checkpoint's tree; with `ema`, the averaged ones.

    Raises UsageError if `ema` is asked for and there are none, UnsupportedError for a whole pickled
    module and for tensors of a kind that is not read, MalformedError for anything else that is no
    state dict.
    """
    levels, chosen, wrapper = _descend(root)
    averaged = _averaged(levels)
    if chosen is None and averaged is None:
        raise _no_weights(root)
    plain, mangled = ([], []) if chosen is None else _split_mangled(chosen)
    ema_wrapper = averaged[0] if averaged else ((*wrapper, EMA_PREFIX + "*") if mangled else None)
    if ema and ema_wrapper is None:
        raise UsageError(
            "there are no averaged (EMA) weights in this file",
            expected="one of " + ", ".join(EMA_WRAPPERS) + f", or names with {EMA_PREFIX!r}",
            hint="Leave out --ema.",
        )
    is_ema = ema or chosen is None
    taken = chosen
    if is_ema and averaged:
        wrapper, taken = averaged
        pairs: Pairs = list(taken.items())
    else:
        pairs = _unmangled(plain, mangled) if is_ema else plain
    beside = Surroundings()
    for path, level in levels:
        for key, value in level.items():
            way = (*path, key)
            if level is taken:
                if mangled and _is_mangled(key) != is_ema:
                    beside.add(way, value)
            elif value is not taken and way != wrapper[: len(way)]:
                beside.add(way, value)
    tensors, prefix = _tensors(pairs, wrapper, beside)
    return StateDict(tensors, wrapper, prefix, is_ema, ema_wrapper, beside.lines())


def _descend(root: object) -> tuple[list[tuple[Path, Dict]], Dict | None, Path]:
    """Dicts from the root down to the weights, the weights if found, and the way to them."""
    levels: list[tuple[Path, Dict]] = []
    path: Path = ()
    seen: set[int] = set()
    node = root
    while isinstance(node, Dict) and id(node) not in seen:
        seen.add(id(node))
        levels.append((path, node))
        for name in WRAPPERS:
            inner = node.get(name)
            if isinstance(inner, Dict) and id(inner) not in seen and _holds_tensors(inner):
                node, path = inner, (*path, name)
                break
            if _is_module(inner):
                raise _whole_module(inner, (*path, name))
        else:
            return levels, node if _has_tensor(node) else None, path
    if _is_module(node):
        raise _whole_module(node, path)
    return levels, None, path


def _has_tensor(node: Dict) -> bool:
    return any(isinstance(value, Tensor | RefusedTensor) for _, value in node.items())


def _holds_tensors(node: Dict) -> bool:
    """Whether a dict holds tensors itself or under a wrapper's name."""
    return _has_tensor(node) or any(
        isinstance(inner := node.get(name), Dict) and _has_tensor(inner) for name in WRAPPERS
    )


def _averaged(levels: list[tuple[Path, Dict]]) -> tuple[Path, Dict] | None:
    """Where a dict of averaged weights lies, and the dict."""
    for path, level in levels:
        for name in EMA_WRAPPERS:
            inner = level.get(name)
            if isinstance(inner, Dict):
                if _has_tensor(inner):
                    return (*path, name), inner
                for wrapper in WRAPPERS:
                    nested = inner.get(wrapper)
                    if isinstance(nested, Dict) and _has_tensor(nested):
                        return (*path, name, wrapper), nested
    return None


def _is_module(value: object) -> bool:
    """Whether a value is a pickled torch.nn.Module: an instance with its tables of parts."""
    if not isinstance(value, Call) or value.states is None:
        return False
    return any(
        isinstance(state, Dict)
        and isinstance(state.get("_modules"), Dict)
        and isinstance(state.get("_parameters"), Dict)
        for state in value.states
    )


Pairs = list[tuple[object, object]]


def _split_mangled(chosen: Dict) -> tuple[Pairs, list[tuple[str, object]]]:
    """Apart: the weights, and averaged ones that mmcv puts among them as `ema_<name with _>`."""
    mangled: list[tuple[str, object]] = []
    plain: Pairs = []
    for name, value in chosen.items():
        if isinstance(name, str) and _is_mangled(name):
            mangled.append((name, value))
        else:
            plain.append((name, value))
    return (plain, mangled) if plain else (list(chosen.items()), [])


def _is_mangled(name: object) -> bool:
    return isinstance(name, str) and name.startswith(EMA_PREFIX)


def _unmangled(plain: Pairs, mangled: list[tuple[str, object]]) -> Pairs:
    """The averaged weights under their own names: mmcv writes dots as underscores."""
    names: dict[str, str] = {}
    for name, _ in plain:
        if isinstance(name, str):
            bare = name.removeprefix(MODULE_PREFIX)
            for spelled in (name, bare, name.replace(".", "_"), bare.replace(".", "_")):
                names.setdefault(EMA_PREFIX + spelled, name)
    return [(names.get(name, name.removeprefix(EMA_PREFIX)), value) for name, value in mangled]


def _tensors(pairs: Pairs, wrapper: Path, beside: Surroundings) -> tuple[dict[str, Tensor], str]:
    """Name to tensor with the prefix taken off; everything that is wrong is listed at once."""
    where = f"the dict at {' / '.join(wrapper)}" if wrapper else None
    strange = [describe(name) for name, _ in pairs if not isinstance(name, str)]
    if strange:
        raise MalformedError(
            "a state dict with keys that are no names",
            where=where,
            expected="text keys",
            found=_listed(strange),
            hint="This may be an optimizer's state: give the file that holds the weights.",
        )
    named = [(name, value) for name, value in pairs if isinstance(name, str)]
    prefix = _prefix([name for name, _ in named])
    if prefix:
        for name, value in named:
            if name in _COUNTERS:
                beside.add((*wrapper, name), value)
        named = [(name, value) for name, value in named if name not in _COUNTERS]
    tensors: dict[str, Tensor] = {}
    doubled, refused, foreign, unencodable = [], [], [], []
    seen: set[str] = set()
    for name, value in named:
        bare = name.removeprefix(prefix)
        if bare in seen:
            doubled.append(printable(bare))
        seen.add(bare)
        if not bare.isascii() and bare.encode("utf-8", "replace").decode() != bare:
            unencodable.append(printable(bare))
        if isinstance(value, Tensor):
            tensors[bare] = value
        elif isinstance(value, RefusedTensor):
            refused.append(f"{printable(bare)} ({describe(value)})")
        else:
            foreign.append(f"{printable(bare)} ({describe(value)})")
    problems: tuple[tuple[list[str], str, type[FileRefusedError]], ...] = (
        (doubled, "a state dict with doubled keys", MalformedError),
        (unencodable, "a state dict with keys that are no valid text", MalformedError),
        (refused, "tensors of a kind that is not read", UnsupportedError),
        (foreign, "a state dict with values that are no tensors", MalformedError),
    )
    for names, what, error in problems:
        if names:
            raise error(what, where=where, found=_listed(names))
    return tensors, prefix


def _prefix(names: list[str]) -> str:
    """The `module.` that DataParallel puts before the names, if most of them carry it."""
    counted = [name for name in names if name not in _COUNTERS]
    carrying = sum(name.startswith(MODULE_PREFIX) for name in counted)
    return MODULE_PREFIX if carrying * 2 >= len(counted) and carrying else ""


def _whole_module(value: object, path: Path) -> UnsupportedError:
    return UnsupportedError(
        "a whole pickled module, not its weights",
        where=" / ".join(path) or None,
        found=describe(value),
        hint="Where you trust the file: load it with torch, and save its state_dict().",
    )


def _no_weights(root: object) -> FileRefusedError:
    """Why nothing in the file can be the weights."""
    if isinstance(root, Tensor | RefusedTensor):
        return MalformedError(
            "a single tensor, not a state dict",
            expected="a dict of names and tensors",
            hint="Give a file that holds all weights of a model.",
        )
    if not isinstance(root, Dict):
        return MalformedError(
            "no state dict in this file",
            expected="a dict of names and tensors",
            found=describe(root),
        )
    keys = [
        f"{printable(key, 60) if isinstance(key, str) else describe(key)}: {describe(value)}"
        for key, value in list(root.items())[:20]
    ]
    optimizer = {"optimizer", "optimizer_state_dict", "param_groups"} & {
        key for key, _ in root.items() if isinstance(key, str)
    }
    return MalformedError(
        "only an optimizer's state, no weights" if optimizer else "no weights in this file",
        expected="names and tensors, bare or under one of " + ", ".join(WRAPPERS),
        found=_listed(keys) or "an empty dict",
        hint="Give the file that holds the weights.",
    )


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
