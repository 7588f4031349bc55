"""The meaning of the few names that torch writes into a checkpoint, and of nothing else.

Source: torch/_utils.py, torch/serialization.py, torch/_tensor.py (torch 2.13, and the forms that
older ones wrote). A tensor is made only after its numbers were checked against the real bytes of
its storage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.inert import Call, Dict, Global, RefusedTensor, describe
from hornet_convert.checkpoint.pickles import Meaning
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME, DType, Storage, Tensor
from hornet_convert.checkpoint.torch_names import REFUSED_CALLS, STORAGE_MODULES, STORAGE_TYPES
from hornet_convert.errors import MalformedError, printable

MAX_AXES: Final = 64
MAX_EXPANDED: Final = 64 << 20  # bytes a tensor may take written out, if the file itself is smaller

# Attributes that, set on a tensor, would change what it holds.
_CHANGING_ATTRIBUTES: Final = frozenset({"data", "real", "imag"})
_PLAIN_CLASSES: Final = frozenset(
    {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"}
)


@dataclass(frozen=True, eq=False)
class StorageView:
    """A run of elements of a storage, as a persistent id gives it."""

    storage: Storage
    dtype: str
    itemsize: int


class TorchMeaning(Meaning):
    """What torch's names mean, over storages that a container looks up."""

    def __init__(self, file_size: int) -> None:
        self.largest = max(MAX_EXPANDED, file_size)
        self.expanded = 0  # bytes that all tensors which repeat elements take written out
        self.copied: dict[int, list[object]] = {}  # by id: kept, so that no id is used again

    def call(self, call: Call) -> object:
        """An inert dict, shape, parameter or tensor where torch would make one."""
        function = call.function
        if not isinstance(function, Global) or call.kwargs is not None:
            return call
        name = function.dotted
        if name in REFUSED_CALLS:
            return RefusedTensor(REFUSED_CALLS[name])
        action = _CALLS.get(name)
        if action is None or (call.how == "built" and name not in _CLASSES):
            return call
        return action(self, call)

    def build(self, target: object, state: object) -> None:
        """Accept the flags that old parameters carry; refuse what would change a tensor."""
        if isinstance(target, Tensor | RefusedTensor) and isinstance(state, tuple):
            if len(state) == 3:
                return
            raise MalformedError("a tensor is changed after it was made")
        super().build(target, state)

    def tensor(
        self,
        view: object,
        first: object,
        shape: object,
        strides: object,
        dtype: DType | None = None,
    ) -> Tensor | RefusedTensor:
        """A tensor over a storage, `dtype` None meaning the storage's own; all numbers checked."""
        if isinstance(view, RefusedTensor):
            return view
        if not isinstance(view, StorageView):
            raise MalformedError("a tensor over what is no storage", found=describe(view))
        if dtype is None:
            if view.dtype not in BY_TORCH_NAME:
                return RefusedTensor(f"quantised ({view.dtype})")
            dtype = BY_TORCH_NAME[view.dtype]
        sizes, steps = _counts(shape, "shape"), _counts(strides, "strides")
        if type(first) is not int or not 0 <= first < 1 << 63:
            raise MalformedError("the offset of a tensor is no count", found=describe(first))
        if len(sizes) != len(steps) or len(sizes) > MAX_AXES:
            raise MalformedError(
                "the shape and strides of a tensor do not fit",
                expected=f"equally many, at most {MAX_AXES}",
                found=f"{len(sizes)} and {len(steps)}",
            )
        numel = math.prod(sizes)
        if numel == 0:
            first = 0
        elif (
            needed := first + 1 + sum((n - 1) * s for n, s in zip(sizes, steps, strict=True))
        ) > view.storage.nbytes // dtype.itemsize:
            raise MalformedError(
                "a tensor reaches beyond its storage",
                expected=f"at most {view.storage.nbytes // dtype.itemsize} elements",
                found=f"offset {first}, shape {sizes}, strides {steps}: {needed} elements",
            )
        elif numel > needed - first:
            self._charge(numel * dtype.itemsize, f"shape {sizes}, strides {steps}")
        if view.storage.big_endian and view.itemsize != dtype.itemsize:
            return RefusedTensor("big-endian (of a storage with another element size)")
        return Tensor(dtype, sizes, steps, first, view.storage)

    def _charge(self, nbytes: int, found: str) -> None:
        """Count a tensor larger than what it stands on; all of them together are bounded."""
        self.expanded += nbytes
        if self.expanded > self.largest:
            raise MalformedError(
                "tensors that repeat their elements beyond all measure",
                expected=f"at most {self.largest} bytes written out, of all of them together",
                found=f"{self.expanded} bytes up to the one of {found}",
            )


def storage_type(value: object) -> tuple[str, int]:
    """(torch name of the element type, bytes of an element) of a storage class."""
    if (
        not isinstance(value, Global)
        or value.module not in STORAGE_MODULES
        or value.name not in STORAGE_TYPES
    ):
        raise MalformedError("a storage of an unknown type", found=describe(value))
    return STORAGE_TYPES[value.name]


def _counts(value: object, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise MalformedError(f"the {what} of a tensor is no tuple", found=describe(value))
    numbers = tuple(n for n in value if type(n) is int and 0 <= n < 1 << 63)
    if len(numbers) != len(value):
        raise MalformedError(
            f"the {what} of a tensor holds what is no count",
            expected="integers from 0",
            found=", ".join(describe(n) for n in value[:MAX_AXES]),
        )
    return numbers


def _arity(call: Call, least: int, most: int) -> tuple[object, ...]:
    if not least <= len(call.args) <= most:
        raise MalformedError(
            f"{printable(call.type_name)} with the wrong number of arguments",
            expected=f"{least} to {most}",
            found=str(len(call.args)),
        )
    return call.args


def _rebuild_tensor(meaning: TorchMeaning, call: Call) -> object:
    view, first, shape, strides = _arity(call, 4, 4)
    return meaning.tensor(view, first, shape, strides)


def _rebuild_tensor_v2(meaning: TorchMeaning, call: Call) -> object:
    view, first, shape, strides, _, _, *flags = _arity(call, 6, 7)
    return _with_flags(meaning.tensor(view, first, shape, strides), flags)


def _rebuild_tensor_v3(meaning: TorchMeaning, call: Call) -> object:
    view, first, shape, strides, _, _, dtype, *flags = _arity(call, 7, 8)
    if not isinstance(dtype, Global) or dtype.module != "torch":
        raise MalformedError("a tensor of an unknown element type", found=describe(dtype))
    if dtype.name not in BY_TORCH_NAME:
        return RefusedTensor(printable(dtype.name, 40))
    tensor = meaning.tensor(view, first, shape, strides, BY_TORCH_NAME[dtype.name])
    return _with_flags(tensor, flags)


def _with_flags(tensor: object, rest: list[object]) -> object:
    """Refuse a view that negates or conjugates the bytes it stands on."""
    flags = rest[0] if rest else None
    if flags is None or (isinstance(flags, Dict) and not len(flags)):
        return tensor
    if not isinstance(flags, Dict):
        raise MalformedError("the flags of a tensor are no dict", found=describe(flags))
    for name, value in flags.items():
        if value is not False:
            return RefusedTensor(f"lazily computed ({describe(name)})")
    return tensor


def _rebuild_parameter(meaning: TorchMeaning, call: Call) -> object:
    return _tensor_argument(_arity(call, 3, 3)[0], call)


def _rebuild_parameter_with_state(meaning: TorchMeaning, call: Call) -> object:
    data, _, _, state = _arity(call, 4, 4)
    return _with_attributes(_tensor_argument(data, call), state)


def _parameter(meaning: TorchMeaning, call: Call) -> object:
    return _tensor_argument(_arity(call, 1, 2)[0], call)


def _tensor_argument(value: object, call: Call) -> object:
    if isinstance(value, Tensor | RefusedTensor):
        return value
    raise MalformedError(f"{printable(call.type_name)} of what is no tensor", found=describe(value))


def _rebuild_from_type(meaning: TorchMeaning, call: Call) -> object:
    function, cls, args, state = _arity(call, 4, 4)
    if not isinstance(function, Global) or not isinstance(args, tuple):
        return call
    if _CALLS.get(function.dotted) is _rebuild_from_type:
        return call  # never nested by torch; followed, it could nest without end
    inner = meaning.call(Call(function, args, "called"))
    if not isinstance(inner, Tensor):
        return inner if isinstance(inner, RefusedTensor) else call
    if not isinstance(cls, Global) or cls.dotted not in _PLAIN_CLASSES:
        return RefusedTensor(f"{describe(cls)}-class")
    return _with_attributes(inner, state)


def _with_attributes(tensor: object, state: object) -> object:
    """Attributes of a tensor are dropped, unless one would replace its values."""
    parts = state if isinstance(state, tuple) else (state,)
    for part in parts:
        if part is None:
            continue
        if not isinstance(part, Dict):
            raise MalformedError("the attributes of a tensor are no dict", found=describe(part))
        for name, _ in part.items():
            if not isinstance(name, str) or name in _CHANGING_ATTRIBUTES:
                raise MalformedError("a tensor is changed after it was made", found=describe(name))
    return tensor


def _size(meaning: TorchMeaning, call: Call) -> object:
    (numbers,) = _arity(call, 1, 1)
    return numbers if isinstance(numbers, tuple) else call


def _ordered_dict(meaning: TorchMeaning, call: Call) -> object:
    """An empty one, or as Python 2 wrote them: made from a list of pairs."""
    flat: list[object] = []
    pairs = call.args[0] if len(call.args) == 1 else []
    if len(call.args) > 1 or not isinstance(pairs, list):
        return call
    # One list in many calls of a few bytes each would be copied each time. Python 2 made a new
    # list for each call.
    if pairs:
        if id(pairs) in meaning.copied:
            raise MalformedError(
                "two dicts made from one list",
                expected="a list of its own for each",
                found=describe(pairs),
                hint="torch writes no such thing: get the file from its source again.",
            )
        meaning.copied[id(pairs)] = pairs
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            return call
        flat.extend(pair)
    return Dict(flat, "OrderedDict")


_CALLS: Final = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter_with_state,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.nn.parameter.Parameter": _parameter,
}
_CLASSES: Final = frozenset(
    {"collections.OrderedDict", "torch.Size", "torch.nn.parameter.Parameter"}
)
