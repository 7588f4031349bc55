"""The meaning of the few names that torch writes into a checkpoint, and of nothing else.

Source: torch/_utils.py, torch/serialization.py, torch/_tensor.py (torch 2.13, and the forms that
older ones wrote). A tensor is made only after its numbers were checked against the real bytes of
its storage.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.inert import (
    Call,
    Dict,
    Global,
    RefusedTensor,
    attribute_names,
    describe,
)
from hornet_convert.checkpoint.pickles import Meaning
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME, DType, Storage, Tensor
from hornet_convert.checkpoint.torch_names import REFUSED_CALLS, STORAGE_MODULES, STORAGE_TYPES
from hornet_convert.errors import MalformedError
from hornet_convert.text import printable

MAX_AXES: Final = 64

_KEY: Final = re.compile(r"[0-9A-Za-z_.-]{1,100}")
# Attributes that, set on a tensor, would change what it holds, or that torch lets nobody set.
_CHANGING_ATTRIBUTES: Final = re.compile(
    r"data|real|imag|shape|dtype|device|layout|ndim|nbytes|itemsize|m?[TH]|__.*", re.DOTALL
)
_PLAIN_CLASSES: Final = frozenset(
    {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"}
)


@dataclass(frozen=True)
class StorageId:
    """A persistent id ('storage', type, key, location, elements[, view]), its parts checked.

    `dtype` is torch's name of the element type, `view` what a legacy file adds.
    """

    dtype: str
    itemsize: int
    key: str
    location: object
    numel: int
    view: object = None

    @classmethod
    def parse(cls, pid: object, parts: int) -> StorageId:
        """From a tuple of so many parts. Raises MalformedError."""
        if not isinstance(pid, tuple) or len(pid) != parts or pid[0] not in ("storage", b"storage"):
            raise MalformedError("an unknown kind of stored object", found=describe(pid))
        _, kind, key, location, numel, *view = pid
        if not (isinstance(kind, Global) and kind.module in STORAGE_MODULES):
            raise MalformedError("a storage of an unknown type", found=describe(kind))
        if kind.name not in STORAGE_TYPES or type(numel) is not int or numel < 0:
            found = f"{describe(numel)} elements, {describe(kind)}"
            raise MalformedError("a storage of an unknown type or size", found=found)
        return cls(*STORAGE_TYPES[kind.name], storage_key(key), location, numel, *view)


def storage_key(key: object) -> str:
    """A storage's key as text: torch's zip reader stops at a NUL, older torch wrote integers."""
    if type(key) is int:
        # As text, because integers can be made to share one hash, which takes quadratic time.
        return f"integer {key}"
    if isinstance(key, str) and _KEY.fullmatch(key):
        return key
    raise MalformedError("a storage key that is not a plain name", found=describe(key))


@dataclass(frozen=True, eq=False)
class StorageView:
    """A run of elements of a storage, `swapped` bytes of which form one number."""

    storage: Storage
    dtype: str
    swapped: int


class TorchMeaning(Meaning):
    """What torch's names mean, over storages that `locate` finds in a container.

    `parts` is the length of a persistent id, and `claims` what each key was said to hold.
    """

    def __init__(self, parts: int, locate: Callable[[StorageId], Storage]) -> None:
        self.parts = parts
        self.locate = locate
        self.claims: dict[str, StorageId] = {}

    def persistent(self, pid: object) -> object:
        """The storage that a persistent id names."""
        found = StorageId.parse(pid, self.parts)
        claim = self.claims.setdefault(found.key, found)
        if (claim.dtype, claim.numel) != (found.dtype, found.numel):
            raise MalformedError(f"two conflicting records of one storage, {found.key!r}")
        if found.location in ("meta", b"meta"):
            return RefusedTensor("meta (shape only, no values)")
        swapped = found.itemsize // 2 if found.dtype.startswith("complex") else found.itemsize
        return StorageView(self.locate(found), found.dtype, swapped)

    def call(self, call: Call) -> object:
        """An inert dict, shape, parameter or tensor where torch would make one."""
        return _made(call)

    def build(self, target: object, state: object) -> None:
        """Accept the flags that old parameters carry; refuse what could change a tensor."""
        if not isinstance(target, Tensor | RefusedTensor):
            return super().build(target, state)
        match state:
            case (bool(), _, None | Dict(flat=[])):  # whether it needs a gradient, …, no hooks
                return None
        raise MalformedError("a tensor is changed after it was made", found=describe(state))


def _made(call: Call) -> object:
    function = call.function
    if not isinstance(function, Global) or call.kwargs is not None:
        return call
    name = function.dotted
    if name in REFUSED_CALLS:
        return RefusedTensor(REFUSED_CALLS[name])
    action = CALLS.get(name)
    if action is None or (call.way == "built" and name not in _CLASSES):
        return call
    return action(call)


def _tensor(
    view: object, first: object, shape: object, strides: object, dtype: DType | None = None
) -> Tensor | RefusedTensor:
    """A tensor over a storage, `dtype` None meaning the storage's own; all numbers checked."""
    if isinstance(view, RefusedTensor):
        return view
    if not isinstance(view, StorageView):
        raise MalformedError("a tensor without a storage", found=describe(view))
    if dtype is None:
        if view.dtype not in BY_TORCH_NAME:
            return RefusedTensor(f"quantised ({view.dtype})")
        dtype = BY_TORCH_NAME[view.dtype]
    sizes, steps = _counts(shape, "shape"), _counts(strides, "strides")
    (start,) = _counts((first,), "offset")
    if len(sizes) != len(steps) or len(sizes) > MAX_AXES:
        found = f"{len(sizes)} and {len(steps)} numbers"
        raise MalformedError("the shape and strides of a tensor do not fit", found=found)
    if 0 in sizes:
        start = needed = 0
    else:
        needed = start + 1 + sum((n - 1) * s for n, s in zip(sizes, steps, strict=True))
    room = view.storage.nbytes // dtype.itemsize
    if needed > room:
        raise MalformedError(
            "a tensor reaches beyond its storage",
            expected=f"at most {room} elements",
            found=f"offset {start}, shape {sizes}, strides {steps}: {needed} elements",
        )
    if view.storage.big_endian and view.swapped != dtype.swapped:
        return RefusedTensor(f"big-endian ({view.dtype} seen as {dtype.torch})")
    return Tensor(dtype, sizes, steps, start, view.storage)


def _counts(value: object, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise MalformedError(f"the {what} of a tensor is not a tuple", found=describe(value))
    numbers = tuple(n for n in value if type(n) is int and 0 <= n < 1 << 63)
    if len(numbers) != len(value):
        found = ", ".join(describe(n) for n in value[:MAX_AXES])
        raise MalformedError(f"invalid {what} of a tensor", expected="integers from 0", found=found)
    return numbers


def _arity(call: Call, least: int, most: int) -> tuple[object, ...]:
    if not least <= len(call.args) <= most:
        what = f"{printable(call.type_name)} with the wrong number of arguments"
        raise MalformedError(what, expected=f"{least} to {most}", found=str(len(call.args)))
    return call.args


def _rebuild_tensor(call: Call) -> object:
    view, first, shape, strides = _arity(call, 4, 4)
    return _tensor(view, first, shape, strides)


def _rebuild_tensor_v2(call: Call) -> object:
    view, first, shape, strides, _, _, *flags = _arity(call, 6, 7)
    return _with_flags(_tensor(view, first, shape, strides), *flags)


def _rebuild_tensor_v3(call: Call) -> object:
    view, first, shape, strides, _, _, dtype, *flags = _arity(call, 7, 8)
    if not isinstance(dtype, Global) or dtype.module != "torch":
        raise MalformedError("a tensor of an unknown element type", found=describe(dtype))
    if dtype.name not in BY_TORCH_NAME:
        return RefusedTensor(printable(dtype.name, 40))
    tensor = _tensor(view, first, shape, strides, BY_TORCH_NAME[dtype.name])
    return _with_flags(tensor, *flags)


def _with_flags(tensor: object, flags: object = None) -> object:
    """Refuse a view that negates or conjugates its bytes: torch looks at the name of a flag only.

    So `neg` negates even where it is set to False.
    """
    if flags is None:
        return tensor
    if not isinstance(flags, Dict):
        raise MalformedError("the flags of a tensor are not a dict", found=describe(flags))
    return RefusedTensor(f"lazily computed ({describe(flags.flat[0])})") if flags.flat else tensor


def _parameter(call: Call) -> object:
    """A parameter is its tensor. Further arguments are flags, hooks and attributes."""
    tensor, *_ = _arity(call, *_OF_PARAMETERS[call.type_name.rpartition(".")[2]])
    if not isinstance(tensor, Tensor | RefusedTensor):
        raise MalformedError("a parameter made of something else", found=describe(tensor))
    return _with_attributes(tensor, call.args[3]) if len(call.args) == 4 else tensor


def _rebuild_from_type(call: Call) -> object:
    function, cls, args, state = _arity(call, 4, 4)
    nested = isinstance(function, Global) and function.dotted == call.type_name
    if nested or not isinstance(args, tuple):  # never nested by torch; it could be without end
        return call
    tensor = _made(Call(function, args, "called"))
    if not isinstance(tensor, Tensor):
        return tensor if isinstance(tensor, RefusedTensor) else call
    if not isinstance(cls, Global) or cls.dotted not in _PLAIN_CLASSES:
        name = printable(cls.dotted) if isinstance(cls, Global) else describe(cls)
        return RefusedTensor(name)
    return _with_attributes(tensor, state)


def _with_attributes(tensor: object, state: object) -> object:
    """Attributes of a tensor are dropped, unless one would replace its values."""
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        for name in attribute_names(part):
            if not isinstance(name, str) or _CHANGING_ATTRIBUTES.fullmatch(name):
                raise MalformedError("a tensor is changed after it was made", found=describe(name))
    return tensor


def _size(call: Call) -> object:
    (numbers,) = _arity(call, 1, 1)
    return numbers if isinstance(numbers, tuple) else call


def _dict(call: Call) -> object:
    """An empty dict, one made from pairs as Python 2 wrote it, or the copy of a dict."""
    name = call.type_name.rpartition(".")[2]
    if call.way == "called" and len(call.args) == 1:
        (made_from,) = call.args
        if isinstance(made_from, Dict):
            return Dict(list(made_from.flat), name)
        if isinstance(made_from, list | tuple) and name == "OrderedDict":
            flat: list[object] = []
            for pair in made_from:
                if not isinstance(pair, list | tuple) or len(pair) != 2:
                    break
                flat += pair
            if len(flat) == 2 * len(made_from):
                return Dict(flat, name)
    if call.args:  # building an instance ignores them, as calling does not
        raise MalformedError(f"{name} made from something other than pairs or a dict")
    return Dict(type_name=name)


# The least and the most arguments.
_OF_PARAMETERS: Final = {
    "_rebuild_parameter": (3, 3),
    "_rebuild_parameter_with_state": (4, 4),
    "Parameter": (1, 2),
}
# Calls that give a dense tensor, a shape or a plain container.
CALLS: Final[dict[str, Callable[[Call], object]]] = {
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.nn.parameter.Parameter": _parameter,
}
_CLASSES: Final = frozenset(
    {"collections.OrderedDict", "collections.Counter", "torch.Size", "torch.nn.parameter.Parameter"}
)
