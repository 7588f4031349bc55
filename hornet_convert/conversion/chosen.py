"""Which weights of a file must have been taken: the rule of `checkpoint/wrappers.py` once more.

Told from the other end, and by code that shares nothing with the choice: of everything that known
keys lead to, is what was taken the only thing that is meant, and was all of it taken?
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.inert import Call, Dict, RefusedTensor, Set
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.request import Request
from hornet_convert.family.keys import Column, expected_keys
from hornet_convert.text import printable

PLAIN: Final = {"state_dict", "model", "model_state_dict", "module", "net", "network"}
AVERAGED: Final = {
    "ema", "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "model_ema_state_dict",
}  # fmt: skip
_DEEPEST: Final = 4
_COUNTERS: Final = {"n_averaged", "steps"}
_MARKS: Final = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_OUTER_WORDS: Final = {"module", "model", "net", "network", "backbone", "encoder"}
_BESIDE: Final = {
    "neck", "rpn_head", "roi_head", "bbox_head", "mask_head", "mask_iou_head", "semantic_head",
    "panoptic_head", "decode_head", "auxiliary_head", "query_head", "data_preprocessor",
}  # fmt: skip
_LAYOUTS: Final[tuple[Column, ...]] = ("official", "openmmlab", "reference")

Way = tuple[str, ...]


@dataclass(frozen=True)
class Chosen:
    """The weights by name without `prefix`, the `way` to them, whether they are averages.

    `averages` says whether there are any, taken or not, `rule` what decided.
    """

    tensors: dict[str, Tensor]
    way: Way
    prefix: str
    averaged: bool
    averages: bool
    rule: str


def chosen(file: ModelFile, request: Request) -> Chosen | str:
    """What must have been taken at the place where something was; a sentence if it is another."""
    root, way, ema = file.checkpoint.root, file.state.wrapper, request.ema
    places = list(_known(root, ()))
    sets = [(at, value) for at, value in places if _is_set(value) or _holds_tensors(value)]
    sets = [(at, v) for at, v in sets if not any(o != at and o[: len(at)] == at for o, _ in sets)]
    swapped = _by_mmengine(root) and {("state_dict",), ("ema_state_dict",)} <= {
        at for at, _ in sets
    }
    taken = _at(root, way)
    if not isinstance(taken, Dict):
        return f"there are no weights under {printable('.'.join(way))}"
    if request.key is not None:
        fitting = [at for at in _ways_to(root, request.key, ()) if _is_set(_at(root, at))]
        if way != max(fitting, key=lambda at: [len(key) for key in at], default=None):
            return f"--key {printable(request.key)} was asked for, and {'.'.join(way)} taken"
    elif rival := _rival(root, taken, way, places, sets, ema and not swapped):
        return rival
    averaged = way == ("state_dict",) if swapped else _averaged(way)
    items = list(taken.items())
    marked = [isinstance(key, str) and key.startswith("ema_") for key, _ in items]
    if swapped or _averaged(way) or all(marked):
        marked = [False] * len(items)
    plain = [pair for pair, mark in zip(items, marked, strict=True) if not mark]
    if ema and not averaged:
        if not any(marked):
            return "averaged weights were asked for, and plain ones taken"
        named = {key: value for key, value in items if isinstance(key, str)}
        buffers = ((key, filter(named.__contains__, _as_buffer(key))) for key, _ in plain)
        plain = [(key, named.get(next(names, ""))) for key, names in buffers]
        averaged = True
    tensors, prefix = _without_prefix(plain, request.prefix)
    there = swapped or averaged or any(marked) or any(_averaged(at) for at, _ in sets)
    rule = "plain"
    if request.key is not None or ema or averaged:
        rule = "key" if request.key is not None else "ema" if ema else "only averaged"
    return Chosen(
        tensors, way, prefix, averaged, there, "exchanged" if swapped and not request.key else rule
    )


def choice_problem(wanted: Chosen, file: ModelFile) -> str | None:
    """Whether other weights were taken than those that are meant, in a sentence."""
    state = file.state
    for name in wanted.tensors.keys() | state.tensors:
        if wanted.tensors.get(name) is not state.tensors.get(name):
            return f"the tensor taken for {printable(name)} is not the one of that name in the file"
    if (state.prefix, state.is_ema) != (wanted.prefix, wanted.averaged):
        return "the record of where the weights were found is wrong"
    return None


def _known(value: object, way: Way) -> Iterator[tuple[Way, object]]:
    yield way, value
    if isinstance(value, Dict) and len(way) < _DEEPEST:
        for key in {k: None for k, _ in value.items() if isinstance(k, str)}:
            if key in PLAIN | AVERAGED:
                yield from _known(value.get(key), (*way, key))


def _rival(
    root: object,
    taken: Dict,
    way: Way,
    places: list[tuple[Way, object]],
    sets: list[tuple[Way, object]],
    ema: bool,
) -> str | None:
    """What could be meant as well as what was taken, in a sentence; None if nothing could."""
    kinds = {_averaged(at) for at, _ in sets}
    kind = ema if ema in kinds else not ema
    meant = [value for at, value in sets if _averaged(at) == kind]
    others = [value for at, value in places if _averaged(at) != kind and (ema or not kind)]
    if all(value is not taken for value in meant):
        what = "averaged" if _averaged(way) else "plain"
        return f"{what} weights were taken, and those that are meant lie elsewhere in the file"
    on_the_way = [_at(root, way[:end]) for end in range(len(way) + 1)]
    names = _bare_names(taken)
    names -= {name for name in names if name.startswith("ema_")} if len(names) > 1 else set()
    exempt = {id(value) for value in others} - {id(value) for value in on_the_way}
    for value in _everything(root, exempt):
        near = isinstance(value, Dict) and 2 * len(names & _bare_names(value)) >= len(names)
        if value not in on_the_way and (value in meant or near):
            return "several sets of weights could be meant, and one of them was taken"
    return None


def _everything(root: object, seen: set[int]) -> Iterator[object]:
    """Every value in a tree, containers once, but for those that are `seen`."""
    waiting = [root]
    while waiting:
        value = waiting.pop()
        inside: list[object] = []
        match value:
            case Dict():
                inside = value.flat
            case list() | tuple():
                inside = list(value)
            case Set():
                inside = value.elements
            case Call():
                inside = [value.args, value.kwargs, value.pairs, value.elements, value.states]
        if inside and id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        waiting += inside


def _holds_tensors(value: object) -> bool:
    """Whether tensors lie anywhere in something that is no dict."""
    return isinstance(value, Call | list | tuple | Set) and any(
        isinstance(part, Tensor | RefusedTensor) for part in _everything(value, set())
    )


def _is_set(value: object) -> bool:
    leaves = value.flat[1::2] if isinstance(value, Dict) else []
    return any(isinstance(part, Tensor | RefusedTensor) for part in leaves)


def _by_mmengine(root: object) -> bool:
    meta = root.get("meta") if isinstance(root, Dict) else None
    return isinstance(meta, Dict) and meta.get("mmengine_version") is not None


def _averaged(way: Way) -> bool:
    return not AVERAGED.isdisjoint(way)


def _at(value: object, way: Way) -> object:
    for key in way:
        value = value.get(key) if isinstance(value, Dict) else None
    return value


def _ways_to(value: object, key: str, way: Way) -> Iterator[Way]:
    """The keys one inside the other that, joined by dots, are `key`."""
    inside = (
        {k: part for k, part in value.items() if isinstance(k, str)}
        if isinstance(value, Dict)
        else {}
    )
    for inner, part in inside.items():
        if inner == key:
            yield (*way, inner)
        elif key.startswith(f"{inner}."):
            yield from _ways_to(part, key[len(inner) + 1 :], (*way, inner))


def _bare_names(value: object) -> set[str]:
    """Names of the tensors in a dict without what is put before them."""
    names = set()
    for key, part in value.items() if isinstance(value, Dict) else ():
        if isinstance(key, str) and isinstance(part, Tensor | RefusedTensor):
            words = [word for word in key.split(".") if word not in _MARKS]
            names.add(".".join(itertools.dropwhile(_OUTER_WORDS.__contains__, words)))
    return names


def _as_buffer(key: object) -> list[str]:
    """What mmcv calls the average of a weight: with underscores, perhaps without `module.`."""
    names = [str(key), str(key).removeprefix("module.")]
    return [f"ema_{name}" for full in names for name in (full, full.replace(".", "_"))]


def _without_prefix(
    rows: list[tuple[object, object]], given: str | None
) -> tuple[dict[str, Tensor], str]:
    """The tensors by the network's names, and what stood before these in the file.

    Told by the lists of the layouts' own keys: as few of the words in front are left out as make
    the most names ones of these lists.
    """
    texts = [key for key, _ in rows if isinstance(key, str) and key not in _COUNTERS]
    marks = dict.fromkeys(word for key in texts for word in key.split(".") if word in _MARKS)
    plain = {key: [word for word in key.split(".") if word not in _MARKS] for key in texts}
    words = _before(list(plain.values())) if given is None else _words(given)
    outer = words[:-1] if words[-1:] == ["backbone"] else words
    detector = any(key[len(outer) : len(outer) + 1] == ["backbone"] for key in plain.values())
    left_out = marks or words
    tensors = {}
    for key, value in rows:
        if not isinstance(key, str) or not isinstance(value, Tensor):
            continue
        inner = plain.get(key, key.split("."))
        within = inner[: len(words)] == words
        part = inner[len(outer)] if inner[: len(outer)] == outer and inner[len(outer) :] else ""
        elsewhere = not within if given is not None else detector and part in _BESIDE
        if not elsewhere and not (left_out and key in _COUNTERS):
            tensors[".".join(inner[len(words) :] if within else inner)] = value
    before = "".join(f"{mark}." for mark in marks) if len(marks) == 1 else ""
    return tensors, before + "".join(f"{word}." for word in words)


def _words(given: str) -> list[str]:
    return [word for word in given.split(".") if word and word not in _MARKS]


def _before(names: list[list[str]]) -> list[str]:
    """The words before the network's own names."""
    runs = Counter(tuple(itertools.takewhile(_OUTER_WORDS.__contains__, name)) for name in names)
    runs.pop((), None)
    if not runs:
        return []
    ((commonest, carrying),) = runs.most_common(1)
    if 2 * carrying < len(names):
        return []
    run = list(commonest)
    inside = [name for name in names if name[: len(run)] == run]
    known = [_in_a_list(".".join(name[n:]) for name in inside) for n in range(len(run) + 1)]
    if max(known):
        return run[: known.index(max(known))]
    return list(itertools.takewhile("module".__eq__, run))


def _in_a_list(names: Iterable[str]) -> int:
    """How many of the names are in the list of the layout that has most of them."""
    all_names = list(names)
    return max(
        sum(name in keys for name in all_names)
        for layout in _LAYOUTS
        for filters in (True, False)
        for keys in [expected_keys(layout, filters, classifier=True)]
    )
