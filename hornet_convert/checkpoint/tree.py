"""Walks over the inert tree of a checkpoint: no recursion, and nothing shared is met twice."""

from __future__ import annotations

from collections.abc import Iterator

from hornet_convert.checkpoint.inert import Call, Dict, Global, RefusedTensor, Set, describe
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import printable

Leaf = Tensor | RefusedTensor
_CONTAINERS = (list, tuple, Dict, Set, Call)
_LEAVES = (Tensor, RefusedTensor, Global)
_SHOWN_PARTS = 8


def leaves(root: object, seen: set[int]) -> Iterator[Leaf | Global]:
    """Every tensor and name in a tree, but for containers whose id is in `seen`.

    Containers met are added to `seen`; they must stay alive as long as it is used.
    """
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _CONTAINERS):
            if id(node) not in seen:
                seen.add(id(node))
                waiting.extend(reversed(_parts(node)))
        elif isinstance(node, _LEAVES):
            yield node


def _parts(node: object) -> list[object] | tuple[object, ...]:
    """Everything directly inside an inert value, keys of dicts too."""
    if isinstance(node, list | tuple):
        return node
    if isinstance(node, Dict):
        return node.flat
    if isinstance(node, Set):
        return node.elements
    if isinstance(node, Call):
        own = [node.function, *node.args, node.kwargs, node.pairs]
        return own + (node.elements or []) + (node.states or [])
    return ()


def tensors_in(root: object) -> Iterator[tuple[str, Leaf]]:
    """(printable path, tensor) of all tensors anywhere in a tree; of containers, each once."""
    seen: set[int] = set()
    # A way is a linked list (way, key) from the value up to the root, whose way is None.
    waiting: list[tuple[object, object]] = [(None, root)]
    while waiting:
        way, node = waiting.pop()
        if isinstance(node, Tensor | RefusedTensor):
            yield _shown(way), node
        elif isinstance(node, _CONTAINERS) and id(node) not in seen:
            seen.add(id(node))
            if isinstance(node, Dict):
                below = [((way, key), value) for key, value in node.items()]
            else:
                below = [((way, index), value) for index, value in enumerate(_parts(node))]
            waiting.extend(reversed(below))


def _shown(way: object) -> str:
    """A way from the root as printable text, its beginning left out where it is long."""
    parts: list[str] = []
    while isinstance(way, tuple) and len(parts) < _SHOWN_PARTS:
        way, key = way
        parts.append(printable(key, 120) if isinstance(key, str) else describe(key))
    if way is not None:
        parts.append("…")
    return " / ".join(reversed(parts))
