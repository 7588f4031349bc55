"""Take the weights out of what a checkpoint holds, and say what else is in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeGuard

from hornet_convert.checkpoint.inert import Dict, RefusedTensor, describe
from hornet_convert.checkpoint.prefixes import Naming, naming_of
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checkpoint.tree import Thing, describe_things, key_name
from hornet_convert.checkpoint.wrappers import (
    EMA_PREFIX,
    EMA_WRAPPERS,
    MMENGINE,
    WRAPPERS,
    Pairs,
    at_key,
    candidates,
    choose,
    exchanged,
    is_averaged,
    known_places,
    pairs,
    split,
    unmangled,
)
from hornet_convert.errors import MalformedError, UnsupportedError, UsageError
from hornet_convert.text import listed, printable

MAX_TENSORS: Final = 100_000
# Buffers of torch's and mmengine's averaged models beside the weights: how often was averaged.
_COUNTERS: Final = ("n_averaged", "steps")
_OPTIMIZERS: Final = ("optimizer", "optimizer_state_dict", "param_groups")


@dataclass(frozen=True, eq=False)
class StateDict:
    """The weights of a checkpoint, and where in it they were found.

    `tensors` are in the file's order, by name without the `prefix` (such as "module.") that was
    taken off; `wrapper` are the keys that lead to them, such as ("model",). `ema_wrapper` is where
    averaged weights lie, if there are any; its last part is "ema_*" if they stand among the others
    under names of that form. `raw_wrapper` is where the weights that are not averaged lie, if
    mmengine exchanged the two. `dropped` has one printable line for each thing beside the weights;
    first, if only some of the names carried `prefix`, on how many of them it stood.
    """

    tensors: dict[str, Tensor]
    wrapper: tuple[str, ...] = ()
    prefix: str = ""
    is_ema: bool = False
    ema_wrapper: tuple[str, ...] | None = None
    raw_wrapper: tuple[str, ...] | None = None
    dropped: tuple[str, ...] = ()


def select_state_dict(
    root: object, *, key: str | None = None, ema: bool = False, prefix: str | None = None
) -> StateDict:
    """The weights in a checkpoint's tree; the rule by which they are chosen is in `wrappers.py`.

    `key` are the keys that lead to them, joined by dots; `ema` asks for averaged ones; `prefix` for
    the weights whose names begin so. By default what trainers are known to put before the names is
    taken off, see `prefixes.py`.

    Raises UsageError if there are no weights under `key` or `prefix`, or none that are averaged, or
    both `key` and `ema` are asked for; AmbiguousError if several sets could be meant;
    UnsupportedError for a whole pickled module or tensors of a kind that is not read;
    MalformedError for all else that is no state dict.
    """
    if key is not None and ema:
        raise UsageError("--key and --ema were both given", hint="Leave out one of them.")
    known = known_places(root)
    places = candidates(known)
    swapped = exchanged(root, places)
    path = choose(root, known, ema and not swapped) if key is None else at_key(root, key)
    if path is None:
        raise _no_weights(root)
    value, around = _follow(root, path)
    weights, inline = pairs(value), Pairs()
    ema_wrapper = next((way for way in (path, *places) if is_averaged(way)), None)
    raw_wrapper = None
    if swapped:
        ema_wrapper, raw_wrapper = MMENGINE
    elif not is_averaged(path):
        weights, inline = split(weights)
    inline_path = (*path, f"{EMA_PREFIX}*")
    if inline and ema_wrapper is None:
        ema_wrapper = inline_path
    is_ema = path == ema_wrapper
    if ema and inline:
        weights, inline = unmangled(weights, inline), weights
        is_ema, inline_path = True, (*path, "*")
    if ema and not is_ema:
        raise UsageError(
            "there are no averaged (EMA) weights in this file",
            expected=f"one of {', '.join(EMA_WRAPPERS)}, or names with {EMA_PREFIX!r}",
            hint="Leave out --ema.",
        )
    if inline:
        around.insert(0, (inline_path, [value for _, value in inline]))
    names = [name for name, _ in weights if isinstance(name, str) and not _is_counter(name)]
    naming = naming_of(names, prefix)
    if naming.shown:
        around += [((*path, name), value) for name, value in weights if _is_counter(name)]
        weights = [row for row in weights if not _is_counter(row[0])]
    around += _beside(weights, naming, path)
    tensors = _named(weights, naming, path)
    dropped = (*_partly(names, naming), *describe_things(around))
    return StateDict(tensors, path, naming.shown, is_ema, ema_wrapper, raw_wrapper, dropped)


def _follow(root: object, path: tuple[str, ...]) -> tuple[object, list[Thing]]:
    """What lies at the end of a path, and everything else in the dicts on the way."""
    beside: list[Thing] = []
    for depth, step in enumerate(path):
        if isinstance(root, Dict):
            inside = root.get(step)
            beside += [
                ((*path[:depth], key), value)
                for key, value in root.items()
                if value is not inside or key != step
            ]
            root = inside
    return root, beside


def _is_counter(name: object) -> bool:
    return isinstance(name, str) and name in _COUNTERS


def _beside(weights: Pairs, naming: Naming, path: tuple[str, ...]) -> list[Thing]:
    """The tensors that are of something else, by the part that they are of."""
    parts: dict[str, list[object]] = {}
    for name, value in weights:
        if isinstance(name, str) and naming.of(name) is None:
            outer = naming.prefix.removesuffix("backbone.")
            part = name.removeprefix(outer).partition(".")[0]
            parts.setdefault(f"{part}.*", []).append(value)
    return [((*path, part), values) for part, values in parts.items()]


def _partly(names: list[str], naming: Naming) -> list[str]:
    """A line on how many names carried the prefix, where it was not all, which is unusual."""
    ours = [name for name in names if naming.of(name) is not None]
    carrying = sum(naming.of(name) != name for name in ours)
    if not naming.shown or naming.only or carrying == len(ours):
        return []
    text = f"the prefix {naming.shown!r}: on {carrying} of {len(ours)} keys only, taken off these"
    return [text]


def _named(weights: Pairs, naming: Naming, path: tuple[str, ...]) -> dict[str, Tensor]:
    """Name to tensor, as the network names it; raises with all that is wrong of one kind."""
    where = f"the dict at {' / '.join(path)}" if path else None
    if len(weights) > MAX_TENSORS:
        raise MalformedError(
            f"too many tensors in a state dict: {len(weights)}, more than {MAX_TENSORS}",
            where=where,
            hint="Give the file that holds the weights of one model.",
        )
    strange = [key_name(name) for name, _ in weights if not _is_text(name)]
    named = [(naming.of(name), value) for name, value in weights if _is_text(name)]
    names = [name for name, _ in named if name is not None]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    ours = [row for row in weights if not _is_text(row[0]) or naming.of(row[0]) is not None]
    refused = [row for row in ours if isinstance(row[1], RefusedTensor)]
    foreign = [row for row in ours if not isinstance(row[1], Tensor | RefusedTensor)]
    for what, error, offenders in (
        ("keys that are not names", MalformedError, strange),
        ("doubled keys", MalformedError, [printable(name) for name in doubled]),
        ("tensors of a kind that is not read", UnsupportedError, _described(refused)),
        ("values that are not tensors", MalformedError, _described(foreign)),
    ):
        if offenders:
            raise error(
                f"a state dict with {what}",
                where=where,
                found=listed(offenders),
                hint="If the weights are elsewhere, say where with --key; else save them alone.",
            )
    return {n: value for n, value in named if n is not None and isinstance(value, Tensor)}


def _is_text(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and name.encode("utf-8", "replace").decode() == name


def _described(rows: Pairs) -> list[str]:
    return [f"{key_name(name)} ({describe(value)})" for name, value in rows]


def _no_weights(root: object) -> MalformedError:
    """Why nothing in the file can be the weights."""
    inside = list(root.items()) if isinstance(root, Dict) else []
    keys = [f"{key_name(key)}: {describe(value)}" for key, value in inside]
    optimizer = any(key in _OPTIMIZERS for key, _ in inside if isinstance(key, str))
    return MalformedError(
        "only an optimizer's state, no weights" if optimizer else "no weights in this file",
        expected="names and tensors, bare or under one of " + ", ".join(WRAPPERS),
        found=listed(keys) or describe(root),
        hint="Give the file that holds the weights, or say with --key where in this one they lie.",
    )
