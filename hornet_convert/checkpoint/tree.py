"""Walks over the inert tree of a checkpoint: no recursion, and nothing shared is entered twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from hornet_convert.checkpoint.inert import Call, Dict, Global, RefusedTensor, Set, describe
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.text import listed, printable

Leaf = Tensor | RefusedTensor
Way: TypeAlias = "tuple[Way, object] | None"
"""The keys that lead to a value, from the last one up: (way to what holds it, its key)."""

_CONTAINERS = (list, tuple, Dict, Set, Call)
_SHOWN_KEYS = 8

Thing = tuple[tuple[object, ...], object]
"""A value of the tree and the keys that lead to it."""

_MAX_LINES: Final = 1000
_SHOWN: Final = 5


def walk(root: object, seen: set[int]) -> Iterator[tuple[Way, object]]:
    """(way, value) of everything in a tree, in the file's order, but for what is in `seen`.

    `seen` holds the ids of containers. Those met are added; they must stay alive as long as it is
    used.
    """
    start: tuple[Way, object] = (None, root)
    levels = [iter([start])]
    while levels:
        for way, node in levels[-1]:
            if not isinstance(node, _CONTAINERS):
                yield way, node
            elif id(node) not in seen:
                seen.add(id(node))
                yield way, node
                levels.append(_inside(way, node))
                break
        else:
            levels.pop()


def _inside(way: Way, node: object) -> Iterator[tuple[Way, object]]:
    """Everything directly inside a container, keys too where they are no text."""
    if isinstance(node, Dict):
        for key, value in node.items():
            if not isinstance(key, str):
                yield (way, key), key
            yield (way, key), value
    elif isinstance(node, Call):
        for name in ("function", "args", "kwargs", "pairs", "elements", "states"):
            yield (way, name), getattr(node, name)
    elif isinstance(node, list | tuple | Set):
        for index, value in enumerate(node.elements if isinstance(node, Set) else node):
            yield (way, index), value


def tensors_in(root: object) -> Iterator[tuple[str, Leaf]]:
    """(printable path, tensor) of all tensors anywhere in a tree."""
    for way, node in walk(root, set()):
        if isinstance(node, Leaf):
            yield shown(way), node


def shown(way: Way, separator: str = " / ") -> str:
    """A way from the root as printable text, its beginning left out where it is long."""
    keys: list[str] = []
    while way is not None and len(keys) < _SHOWN_KEYS:
        way, key = way
        keys.append(key_name(key))
    if way is not None:
        keys.append("…")
    return separator.join(reversed(keys))


def key_name(key: object) -> str:
    """A key as printable text: its own, or what it is."""
    return printable(key, 80) if isinstance(key, str) else describe(key)


def describe_things(things: Sequence[Thing]) -> list[str]:
    """A printable line for each: where it lies, what it is, what is foreign in it.

    No part is looked at twice.
    """
    seen: set[int] = set()
    lines = [_line(path, value, seen) for path, value in things[:_MAX_LINES]]
    more = len(things) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def _line(path: tuple[object, ...], value: object, seen: set[int]) -> str:
    tensors, foreign = 0, dict[str, None]()
    for _, node in walk(value, seen):
        tensors += isinstance(node, Leaf)
        if isinstance(node, Global):
            foreign[printable(node.dotted, 80)] = None
    parts = [describe(value)]
    if tensors and not isinstance(value, Leaf):
        parts.append(f"{tensors} tensors in it")
    if foreign:
        parts.append(f"foreign types: {listed(list(foreign), most=_SHOWN)}")
    return f"{' / '.join(map(key_name, path))}: {'; '.join(parts)}"
