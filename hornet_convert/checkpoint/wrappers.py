"""Which of the dicts in a checkpoint holds the weights that are meant.

The rule. A *set* is a dict with tensors directly in it.

1. `--key a.b` takes the set under `b` in the dict under `a`.
2. Without it, known keys are followed down from the top, up to four deep. `WRAPPERS` lead to plain
   weights; a key of `EMA_WRAPPERS` on the way makes them averaged ones. A dict on the way to a set
   is its wrapper, whatever else it holds. The one plain set is taken; with `--ema`, or where there
   is no plain one, the one averaged set.
3. With a rival the file is refused, and `--key` decides. Rivals are: a second such set; tensors in
   something other than a dict under such a key; and a set anywhere else, in whatever it lies, with
   at least half of the names of the one taken (prefixes such as `module.` aside), be its tensors
   stored or made by a call, such as `torch.Tensor(…)`, that only torch carries out.

Averaged (EMA) weights are known by the names that trainers give them. The authors' trainer writes
`model_ema` beside `model`, timm `state_dict_ema` beside `state_dict`, mmcv buffers called `ema_…`
among the weights; it often exchanges the two before it saves, which no file tells. mmengine writes
`ema_state_dict` beside `state_dict` and always exchanges them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final

from hornet_convert.checkpoint.inert import Call, Dict, Set, describe
from hornet_convert.checkpoint.prefixes import MODULE, bare
from hornet_convert.checkpoint.tree import Leaf, shown, walk
from hornet_convert.errors import AmbiguousError, UnsupportedError, UsageError
from hornet_convert.text import listed, printable

WRAPPERS: Final = ("state_dict", "model", "model_state_dict", "module", "net", "network")
EMA_WRAPPERS: Final = (
    "model_ema", "ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "ema_model",
)  # fmt: skip
EMA_PREFIX: Final = "ema_"
MMENGINE: Final = (("state_dict",), ("ema_state_dict",))  # paths of the average and of the raw ones
DEEPEST: Final = 4  # keys

Pairs = list[tuple[object, object]]
Places = dict[tuple[str, ...], object]
"""Values of a tree by the keys that lead to them."""


def known_places(root: object) -> Places:
    """Everything that known keys lead to, each value once as plain and once as averaged."""
    found: Places = {}
    seen: set[tuple[int, bool]] = set()
    waiting: deque[tuple[tuple[str, ...], object]] = deque([((), root)])
    while waiting:
        path, value = waiting.popleft()
        if (id(value), is_averaged(path)) not in seen:
            seen.add((id(value), is_averaged(path)))
            found[path] = value
            inside = _inside(value) if len(path) < DEEPEST else {}
            known = [key for key in inside if key in WRAPPERS or key in EMA_WRAPPERS]
            waiting.extend(((*path, key), inside[key]) for key in known)
    return found


def candidates(known: Places) -> Places:
    """The known places with tensors: directly in a dict, or anywhere in something else.

    But for those that are wrappers of others.
    """
    seen: set[int] = set()

    def holds_tensors(value: object) -> bool:
        parts = walk(value, seen) if isinstance(value, Call | list | tuple | Set) else ()
        return _is_set(value) or any(isinstance(part, Leaf) for _, part in parts)

    found = {path: value for path, value in known.items() if holds_tensors(value)}
    ways = {path[:end] for path in found for end in range(len(path))}
    return {path: value for path, value in found.items() if path not in ways}


def at_key(root: object, key: str) -> tuple[str, ...]:
    """The way to the set at keys joined by dots; where several fit, that of the longest keys.

    Raises UsageError if there is none.
    """
    waiting: list[tuple[tuple[str, ...], object, str]] = [((), root, key)]
    while waiting:
        path, value, rest = waiting.pop()
        if not rest and _is_set(value):
            return path
        inside = _inside(value) if rest else {}
        fitting = sorted((k for k in inside if f"{rest}.".startswith(f"{k}.")), key=len)
        waiting += [((*path, k), inside[k], rest[len(k) + 1 :]) for k in fitting]
    sets = [repr(shown(way, ".")) for way, value in walk(root, set()) if _is_set(value)]
    raise UsageError(
        f"there are no weights under {printable(key)!r}",
        expected="the keys that lead to a dict of tensors, joined by dots",
        found=f"such dicts under {listed(sets)}" if sets else "no such dict",
        hint="`hornet-convert inspect` shows what the file holds.",
    )


def choose(root: object, known: Places, ema: bool) -> tuple[str, ...] | None:
    """The way to the set that is meant; None if none of the known places holds one.

    With `ema` averaged ones come first, and plain ones only where there are no others. Raises
    AmbiguousError if there is a rival, UnsupportedError for a whole pickled module.
    """
    found = candidates(known)
    for averaged in (True, False) if ema else (False, True):
        meant = {path: value for path, value in found.items() if is_averaged(path) == averaged}
        if not meant:
            continue
        taken, *_ = meant
        # Averaged weights that nobody asked for may have a rival among the plain ones.
        asked = ema or not averaged
        others = [known[path] for path in known if asked and is_averaged(path) != averaged]
        seen = {id(value) for value in (*others, *meant.values())}
        seen -= {id(known[taken[:end]]) for end in range(len(taken))}
        sets = [f"{'.'.join(path)!r} ({describe(value)})" for path, value in meant.items()]
        sets += _elsewhere(root, meant[taken], seen)
        if len(sets) > 1:
            raise AmbiguousError(
                "several sets of weights in this file, and nothing says which is meant",
                found=listed(sets),
                hint="Say which with --key: its keys joined by dots.",
            )
        if not isinstance(meant[taken], Dict):
            raise UnsupportedError(
                "the weights are not in a dict; this may be a whole pickled module",
                where=" / ".join(taken) or None,
                found=describe(meant[taken]),
                hint="Where you trust the file: load it with torch, and save its state_dict().",
            )
        return taken
    return None


def _elsewhere(root: object, taken: object, seen: set[int]) -> list[str]:
    """Sets outside of what is `seen` that have at least half of the names of the one taken."""
    names = _names(split(pairs(taken))[0])
    return [
        f"{shown(way, '.')!r} ({describe(value)})"
        for way, value in walk(root, seen)
        if names and 2 * len(names & _names(pairs(value))) >= len(names)
    ]


def _names(weights: Pairs) -> set[str]:
    """Names of tensors, and of what calls give: to torch these may be tensors. No prefixes."""
    return {
        bare(name)
        for name, value in weights
        if isinstance(name, str) and isinstance(value, Leaf | Call)
    }


def pairs(value: object) -> Pairs:
    """The pairs of a dict, or those in a list of pairs."""
    if isinstance(value, Dict):
        return list(value.items())
    rows = value if isinstance(value, list | tuple) else ()
    return [(row[0], row[1]) for row in rows if isinstance(row, list | tuple) and len(row) == 2]


def _is_set(value: object) -> bool:
    return isinstance(value, Dict) and any(isinstance(part, Leaf) for _, part in value.items())


def _inside(value: object) -> dict[str, object]:
    """What a dict holds under text, the only keys that are safe to hash."""
    items = value.items() if isinstance(value, Dict) else ()
    return {key: part for key, part in items if isinstance(key, str)}


def is_averaged(path: tuple[str, ...]) -> bool:
    """Whether the keys that lead to weights say that they are averaged."""
    return any(key in EMA_WRAPPERS for key in path)


def exchanged(root: object, paths: Collection[tuple[str, ...]]) -> bool:
    """Whether mmengine wrote a file with weights at `paths` so that `state_dict` is the average.

    Source: `EMAHook.before_save_checkpoint` and `Runner.save_checkpoint` of mmengine.
    """
    meta = root.get("meta") if isinstance(root, Dict) else None
    by_mmengine = isinstance(meta, Dict) and meta.get("mmengine_version") is not None
    return by_mmengine and all(path in paths for path in MMENGINE)


def split(weights: Pairs) -> tuple[Pairs, Pairs]:
    """Apart: the weights, and those under names `ema_<name with underscores>`.

    If all names are of that form, they are plain ones of a model that spells them so.
    """
    marked = [isinstance(name, str) and name.startswith(EMA_PREFIX) for name, _ in weights]
    if all(marked):
        return weights, []
    rows = list(zip(weights, marked, strict=True))
    return [row for row, mark in rows if not mark], [row for row, mark in rows if mark]


def unmangled(plain: Pairs, averaged: Pairs) -> Pairs:
    """Averaged weights under the names of the plain ones: mmcv writes their dots as underscores."""
    names: dict[str, str] = {}
    for name, _ in plain:
        if isinstance(name, str):
            inner = name.removeprefix(MODULE)
            for spelled in (name, inner, name.replace(".", "_"), inner.replace(".", "_")):
                names.setdefault(spelled, name)
    bare_names = [str(name).removeprefix(EMA_PREFIX) for name, _ in averaged]
    return [(names.get(n, n), value) for n, (_, value) in zip(bare_names, averaged, strict=True)]
