"""Walks over the inert tree of a checkpoint: no recursion, and nothing shared is met twice."""

from __future__ import annotations

from collections.abc import Iterator

from hornet_convert.checkpoint.inert import Call, Dict, RefusedTensor, Set, describe
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import printable

Leaf = Tensor | RefusedTensor
_SHOWN_PARTS = 8


def children(node: object) -> Iterator[tuple[object, object]]:
    """(key or index, value) of everything directly inside an inert value; keys are values too."""
    if isinstance(node, list | tuple):
        yield from enumerate(node)
    elif isinstance(node, Dict):
        for key, value in node.items():
            yield key, value
            if not isinstance(key, str | int):
                yield "a key", key
    elif isinstance(node, Set):
        yield from enumerate(node.elements)
    elif isinstance(node, Call):
        yield "function", node.function
        yield from enumerate(node.args)
        yield from (("kwargs", node.kwargs), ("items", node.pairs))
        yield from enumerate(node.elements or ())
        yield from (("state", state) for state in node.states or ())


def inside(root: object, seen: set[int]) -> Iterator[tuple[object, object]]:
    """Every (way, value) in a tree, the root first, but for containers whose id is in `seen`.

    A way is a linked list (way, key) from the value up to the root, whose way is None: see
    `show_way`. Containers met are added to `seen`; they must stay alive as long as it is used.
    """
    waiting: list[tuple[object, object]] = [(None, root)]
    while waiting:
        way, node = waiting.pop()
        if isinstance(node, list | tuple | Dict | Set | Call):
            if id(node) in seen:
                continue
            seen.add(id(node))
            below = [((way, key), value) for key, value in children(node)]
            waiting += reversed(below)
        yield way, node


def tensors_in(root: object) -> Iterator[tuple[str, Leaf]]:
    """(printable path, tensor) of all tensors anywhere in a tree; of containers, each once."""
    for way, node in inside(root, set()):
        if isinstance(node, Tensor | RefusedTensor):
            yield show_way(way), node


def show_way(way: object) -> str:
    """A way from the root as printable text, its beginning left out where it is long."""
    parts: list[str] = []
    while isinstance(way, tuple) and len(parts) < _SHOWN_PARTS:
        way, key = way
        parts.append(printable(key, 120) if isinstance(key, str) else describe(key))
    if way is not None:
        parts.append("…")
    return " / ".join(reversed(parts))
