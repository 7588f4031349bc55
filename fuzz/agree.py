"""Whether two readers made the same of a file: our inert tree against what a library loaded."""

from __future__ import annotations

import codecs
import types
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import _weights_only_unpickler as weights_only
from torch.serialization import StorageType

from hornet_convert.checkpoint.inert import Call, Dict, Global, RefusedTensor, Set
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checkpoint.torch_objects import StorageView

KNOWN: Final[dict[str, Any]] = weights_only._get_allowed_globals()
TENSORS: Final = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
# Calls that ours leaves open and a library carries out; with plain arguments they can be compared.
_PLAIN: Final[dict[str, Callable[..., Any]]] = {
    "_codecs.encode": codecs.encode,
    "builtins.bytearray": bytearray,
    "builtins.complex": complex,
    "torch.device": torch.device,
}
Part = tuple[str, Any, Any]
Read = Callable[[Tensor], Any]


class Foreign:
    """Stands for an instance of a class that torch's restricted loader does not import."""

    dotted = ""

    def __new__(cls, *args: object, **_: object) -> Foreign:
        """Take any arguments."""
        found = super().__new__(cls)
        found.args, found.pairs, found.elements, found.states = args, {}, [], []
        found.append, found.extend = found.elements.append, found.elements.extend
        return found

    def __init__(self, *_: object, **__: object) -> None:
        self.args: tuple[Any, ...]
        self.pairs: dict[Any, Any]
        self.elements: list[Any]
        self.states: list[Any]
        self.append: Any
        self.extend: Any

    def __setitem__(self, key: object, value: object) -> None:
        self.pairs[key] = value

    def __setstate__(self, state: object) -> None:
        self.states.append(state)


def known_as(module: str, name: str) -> str:
    """A name as Python 3 has it."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


def pickle_module(unpickler: Any) -> Any:
    """What `torch.load(weights_only=False)` can take for `pickle`: imports nothing from outside."""

    class Harmless(unpickler):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            dotted = known_as(module, name)
            return KNOWN.get(dotted) or type("Foreign", (Foreign,), {"dotted": dotted})

    def load(file: Any, **options: Any) -> Any:
        return Harmless(file, **options).load()

    return types.SimpleNamespace(Unpickler=Harmless, load=load, __name__="harmless")


def difference(mine: object, other: object, read: Read) -> str | None:
    """Where and how two trees differ first, if they do; they may share parts and go in circles."""
    todo: list[Part] = [("", mine, other)]
    seen: dict[tuple[int, int], Part] = {}  # holds what it names, so that no number is used again
    while todo:
        part = way, a, b = todo.pop()
        if (id(a), id(b)) in seen:
            continue
        seen[id(a), id(b)] = part
        found = _compared(a, b, read)
        if isinstance(found, str):
            return f"{way or 'the whole'}: {found}"
        todo += [(f"{way}/{key}", x, y) for key, x, y in found]
    return None


def _compared(a: Any, b: Any, read: Read) -> Iterable[Part] | str:
    """The parts that are to be the same in turn, or what is not."""
    match a:
        case RefusedTensor() | StorageView():  # ours gives no value that could be wrong
            return ()
        case Tensor():
            return _tensors((a.dtype.torch, a.shape, read(a).tobytes()), b)
        case Dict():
            return _dicts(a, b)
        case Call():
            return _calls(a, b)
        case Global():
            name = known_as(a.module, a.name)
            same = KNOWN.get(name, Foreign) is b or getattr(b, "dotted", None) == name
            same = same or (isinstance(b, StorageType) and "Storage" in a.name)
            return () if same else f"the name {name} and {_shown(b)}"
        case Set():
            keys = {_key(element) for element in a.elements}
            if not isinstance(b, set | frozenset):
                return f"a set and {_shown(b)}"
            same = keys == set(b) if all(map(_is_plain, keys)) else len(keys) >= len(b)
            return () if same else f"{_shown(keys)} and {_shown(b)}"
        case list() | tuple():
            if not isinstance(b, type(a)) or len(a) != len(b):
                return f"{type(a).__name__} of {len(a)} and {_shown(b)}"
            return zip(map(str, range(len(a))), a, b, strict=True)
    plain = bytes(b) if isinstance(b, bytearray) else b
    same = type(a) is type(plain) and repr(a) == repr(plain)
    return () if same else f"{a!r:.100} and {_shown(b)}"


def _tensors(mine: tuple[str, tuple[int, ...], bytes], b: Any) -> Iterable[Part] | str:
    if type(b) not in TENSORS or b.layout != torch.strided or b.is_quantized:
        return f"a tensor and {type(b).__name__}"
    flat = b.detach()
    if flat.dtype == torch.bool:  # a copy makes every byte 0 or 1
        flat = flat.view(torch.uint8)
    dense = torch.empty(flat.numel(), dtype=flat.dtype).copy_(flat.reshape(-1))
    theirs = (str(b.dtype)[6:], tuple(b.shape), bytes(dense.view(torch.uint8).numpy()))
    return () if mine == theirs else f"{mine!r:.200} and {theirs!r:.200}"


def _dicts(a: Dict, b: Any) -> Iterable[Part] | str:
    if not isinstance(b, dict) or type(b).__name__ != a.type_name:
        return f"{a.type_name} and {type(b).__name__}"
    pairs: dict[Any, list[Any]] = {}
    for key, value in a.items():  # the first of equal keys stays, and the last value
        pairs.setdefault(_key(key), [key, value])[1] = value
    if len(pairs) != len(b):
        if not all(map(_is_plain, pairs)):  # keys that are equal when they are made
            return ()
        return f"{len(pairs)} keys and {len(b)}: {[*pairs]!r:.100} and {[*b]!r:.100}"
    both = [*zip(pairs.values(), b.items(), strict=True)]
    state = [("its attributes", a.state or Dict(), vars(b))] if hasattr(b, "__dict__") else []
    keys = [("a key", mine[0], theirs[0]) for mine, theirs in both]
    return state + keys + [(f"{mine[0]}"[:40], mine[1], theirs[1]) for mine, theirs in both]


def _calls(a: Call, b: Any) -> Iterable[Part] | str:
    name = known_as(*a.type_name.rpartition(".")[::2])
    if isinstance(b, Foreign):
        pairs = a.pairs or Dict()
        if name != b.dotted:
            return f"a call of {name} and one of {b.dotted}"
        parts = (a.args, a.elements or [], pairs, a.states or [])
        return zip(_OF_FOREIGN, parts, (b.args, b.elements, b.pairs, b.states), strict=True)
    if name == "builtins.set" and isinstance(b, set):
        elements = a.args[0] if a.way == "called" and a.args else []
        return (("", Set(elements, False), b),) if isinstance(elements, list) else ()
    if name not in KNOWN:
        return f"a call of {name} and {_shown(b)}"
    if name not in _PLAIN or a.way != "called":  # ours gives no value that could be wrong
        return ()
    try:
        value = _PLAIN[name](*a.args)
    except Exception:  # of arguments that are inert: nothing to compare
        return ()
    return () if repr(value) == repr(b) else f"{value!r:.100} and {_shown(b)}"


_OF_FOREIGN: Final = ("its arguments", "its elements", "its items", "its states")


def _shown(value: object) -> str:
    try:
        return repr(value)[:100]
    except Exception:  # a storage of torch that is not whole
        return type(value).__name__


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    if isinstance(value, float) and value != value:  # a NaN is equal to itself alone
        return False
    return value is None or isinstance(value, bool | int | float | str | bytes)


def _key(value: object) -> Any:
    """What a dict of Python would tell keys apart by; an object of ours where it is not plain."""
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    return value if _is_plain(value) else _Same(value)


class _Same:
    """Equal to itself alone."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)
