"""Take the weights out of what a checkpoint holds, and say what else is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.inert import Dict, RefusedTensor, describe
from hornet_convert.checkpoint.surroundings import Surroundings
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checkpoint.wrappers import (
    EMA_PREFIX,
    EMA_WRAPPERS,
    MODULE_PREFIX,
    WRAPPERS,
    Path,
    Places,
    find_weights,
    split_averaged,
    unmangled,
)
from hornet_convert.errors import (
    FileRefusedError,
    MalformedError,
    UnsupportedError,
    UsageError,
    printable,
)

MAX_TENSORS: Final = 100_000
# Buffers of torch's and mmengine's averaged models beside the weights: how often was averaged.
_COUNTERS: Final = frozenset({"n_averaged", "steps"})
_OPTIMIZERS: Final = frozenset({"optimizer", "optimizer_state_dict", "param_groups"})
_SHOWN: Final = 5


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
        One printable line for each thing beside the weights; first, if only some of the names
        carried `prefix`, on how many of them it stood.
    """

    tensors: dict[str, Tensor]
    wrapper: Path
    prefix: str
    is_ema: bool
    ema_wrapper: Path | None
    dropped: tuple[str, ...]


def select_state_dict(root: object, ema: bool = False) -> StateDict:
    """The weights in a checkpoint's tree; with `ema`, or if there are no others, averaged ones.

    Raises UsageError if `ema` is asked for and there are none, UnsupportedError for a whole pickled
    module and for tensors of a kind that is not read, MalformedError for anything else that is no
    state dict.
    """
    places = find_weights(root)
    beside = Surroundings()
    if places.averaged is not None and (ema or places.plain is None):
        wrapper = places.averaged.path
        ema_wrapper: Path | None = wrapper
        pairs = list(places.averaged.node.items())
        is_ema = True
    elif places.plain is not None:
        wrapper = places.plain.path
        plain, averaged = split_averaged(places.plain.node)
        inline = (*wrapper, f"{EMA_PREFIX}*") if averaged else None
        ema_wrapper = inline if places.averaged is None else places.averaged.path
        is_ema = ema and bool(averaged)
        pairs = [*unmangled(plain, averaged)] if is_ema else plain
        if is_ema:
            beside.add((*wrapper, "*"), [value for _, value in plain])
        elif averaged:
            beside.add((*wrapper, f"{EMA_PREFIX}*"), [value for _, value in averaged])
    else:
        raise _no_weights(root)
    if ema and not is_ema:
        raise UsageError(
            "there are no averaged (EMA) weights in this file",
            expected=f"one of {', '.join(EMA_WRAPPERS)}, or names with {EMA_PREFIX!r}",
            hint="Leave out --ema.",
        )
    _note_around(places, wrapper, beside)
    tensors, prefix = _named_tensors(pairs, wrapper, beside)
    dropped = (*_partial_prefix(pairs, prefix), *beside.lines())
    return StateDict(tensors, wrapper, prefix, is_ema, ema_wrapper, dropped)


def _note_around(places: Places, wrapper: Path, beside: Surroundings) -> None:
    """Note everything in the dicts around the weights, but the way to the weights taken."""
    ways = {level.path for level in places.around} | {wrapper}
    for level in places.around:
        for key, value in level.node.items():
            # Only text is hashed: any other key may be made to hash for ever.
            if not isinstance(key, str) or (*level.path, key) not in ways:
                beside.add((*level.path, key), value)


def _named_tensors(
    pairs: list[tuple[object, object]], wrapper: Path, beside: Surroundings
) -> tuple[dict[str, Tensor], str]:
    """Name to tensor with the prefix taken off; everything of a kind that is wrong is listed."""
    where = f"the dict at {' / '.join(wrapper)}" if wrapper else None
    if len(pairs) > MAX_TENSORS:
        raise MalformedError(
            "a state dict beyond all measure",
            where=where,
            expected=f"at most {MAX_TENSORS} tensors",
            found=str(len(pairs)),
        )
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
    tensors: dict[str, Tensor] = {}
    doubled, refused, foreign, broken = list[str](), list[str](), list[str](), list[str]()
    seen: set[str] = set()
    for name, value in named:
        if prefix and name in _COUNTERS:
            beside.add((*wrapper, name), value)
            continue
        bare = name.removeprefix(prefix)
        shown = printable(bare)
        if bare in seen:
            doubled.append(shown)
        seen.add(bare)
        if not bare.isascii() and bare.encode("utf-8", "replace").decode() != bare:
            broken.append(shown)
        if isinstance(value, Tensor):
            tensors[bare] = value
        elif isinstance(value, RefusedTensor):
            refused.append(f"{shown} ({describe(value)})")
        else:
            foreign.append(f"{shown} ({describe(value)})")
    problems: tuple[tuple[list[str], str, type[FileRefusedError], str], ...] = (
        (doubled, "a state dict with doubled keys", MalformedError, "each key once"),
        (broken, "a state dict with keys that are no valid text", MalformedError, "Unicode text"),
        (refused, "tensors of a kind that is not read", UnsupportedError, "dense tensors"),
        (foreign, "a state dict with values that are no tensors", MalformedError, "tensors only"),
    )
    for names, what, error, expected in problems:
        if names:
            hint = "Where you trust the file: load it with torch, and save only what is needed."
            raise error(what, where=where, expected=expected, found=_listed(names), hint=hint)
    return tensors, prefix


def _prefix(names: list[str]) -> str:
    """The `module.` that DataParallel puts before the names, if most of them carry it."""
    counted = [name for name in names if name not in _COUNTERS]
    carrying = sum(name.startswith(MODULE_PREFIX) for name in counted)
    return MODULE_PREFIX if carrying and carrying * 2 >= len(counted) else ""


def _partial_prefix(pairs: list[tuple[object, object]], prefix: str) -> tuple[str, ...]:
    """One line if the prefix stood on some of the names only, which no trainer writes."""
    names = [name for name, _ in pairs if isinstance(name, str) and name not in _COUNTERS]
    carrying = sum(name.startswith(prefix) for name in names)
    if carrying == len(names):
        return ()
    return (f"the prefix {prefix!r}: on {carrying} of {len(names)} keys only, taken off these",)


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
            hint="Give the file that holds the weights.",
        )
    keys = [
        f"{printable(key, 60) if isinstance(key, str) else describe(key)}: {describe(value)}"
        for key, value in root.items()
    ]
    optimizer = any(isinstance(key, str) and key in _OPTIMIZERS for key, _ in root.items())
    return MalformedError(
        "only an optimizer's state, no weights" if optimizer else "no weights in this file",
        expected="names and tensors, bare or under one of " + ", ".join(WRAPPERS),
        found=_listed(keys) or "an empty dict",
        hint="Give the file that holds the weights.",
    )


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
