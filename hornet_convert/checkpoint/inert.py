"""What a pickle yields here: values that describe and do nothing.

Scalars, strings, bytes, lists and tuples stay what they are. Everything else becomes one of the
records below. They compare by identity, never hash or print what they hold, and may refer to
themselves or share parts: whoever walks a tree of them keeps a list of what was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import MalformedError
from hornet_convert.text import printable

Contents: TypeAlias = tuple[object, dict[str, str], dict[str, str]]
"""What every container yields: its tree, the names it uses, its own text metadata."""


class Global:
    """A name that a pickle asks to import. Nothing was imported."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    @property
    def dotted(self) -> str:
        """`module.name`, as found in the file: escape before showing."""
        return f"{self.module}.{self.name}"


class Call:
    """What would come out of calling or building something foreign. Nothing was called.

    `function` is a Global or the outcome of another Call, `kwargs` a Dict of named arguments or
    None, `way` "called" (REDUCE) or "built" (NEWOBJ, OBJ, INST): an instance of a class.
    """

    __slots__ = ("args", "elements", "function", "kwargs", "pairs", "states", "way")

    def __init__(
        self, function: object, args: tuple[object, ...], way: str, kwargs: object = None
    ) -> None:
        self.function = function
        self.args = args
        self.way = way
        self.kwargs = kwargs
        self.elements: list[object] | None = None  # appended: the object is a kind of list
        self.pairs: Dict | None = None  # set by key: the object is a kind of dict
        self.states: list[object] | None = None  # given by BUILD: its attributes

    @property
    def type_name(self) -> str:
        """Name of the class or function, or a description of it if it has no name."""
        function = self.function
        return function.dotted if isinstance(function, Global) else "the outcome of another call"


class Dict:
    """A dict in the file's order. Keys may be anything, also twice; nothing is hashed."""

    __slots__ = ("flat", "state", "type_name")

    def __init__(self, flat: list[object] | None = None, type_name: str = "dict") -> None:
        self.flat = [] if flat is None else flat  # key, value, key, value, …
        self.state: Dict | None = None  # attributes, such as the _metadata of a state dict
        self.type_name = type_name

    def __len__(self) -> int:
        return len(self.flat) // 2

    def items(self) -> Iterator[tuple[object, object]]:
        """Pairs of key and value, doubled keys included."""
        flat = iter(self.flat)
        return zip(flat, flat, strict=True)

    def get(self, key: str) -> object:
        """The last value set under a text key, as in a real dict; None if there is none."""
        found = None
        for name, value in self.items():
            if isinstance(name, str) and name == key:
                found = value
        return found


class Set:
    """A set or frozenset, unhashed: an element may stand in it twice."""

    __slots__ = ("elements", "frozen")

    def __init__(self, elements: list[object], frozen: bool) -> None:
        self.elements = elements
        self.frozen = frozen


class RefusedTensor:
    """A tensor of a kind that is not read. `kind` completes "a … tensor"."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


def attribute_names(state: object) -> list[object]:
    """Names of the attributes that a state sets. Raises MalformedError if it is no dict of them."""
    if state is None:
        return []
    if not isinstance(state, Dict):
        raise MalformedError("attributes that are not a dict", found=describe(state))
    return state.flat[::2]


def describe(value: object) -> str:
    """What a value is, in a few printable words, without looking inside it."""
    match value:
        case None | bool() | int() | float():
            return "None" if value is None else printable(f"{type(value).__name__} {value}", 40)
        case str():
            return f"text {printable(value, 40)!r}"
        case bytes():
            return f"{len(value)} bytes"
        case list() | tuple() | Dict():
            kind = value.type_name if isinstance(value, Dict) else type(value).__name__
            return f"{kind} of {len(value)}"
        case Set():
            return f"set of {len(value.elements)}"
        case Global():
            return f"the name {printable(value.dotted)}"
        case Call(way="built"):
            return f"an instance of {printable(value.type_name)}"
        case Call():
            return f"the outcome of {printable(value.type_name)}()"
        case Tensor():
            return "a tensor"
        case RefusedTensor():
            return f"a {value.kind} tensor"
        case _:
            return type(value).__name__
