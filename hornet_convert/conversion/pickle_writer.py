"""The pickle in a `.pth`: a state dict and nothing else, written opcode by opcode.

Protocol 2, as torch writes it; `torch.load(weights_only=True)` reads it. Source: CPython's
Lib/pickletools.py, torch/serialization.py, torch/_utils.py.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from hornet_convert.checkpoint.tensors import Described, dense_strides
from hornet_convert.checkpoint.torch_names import STORAGE_TYPES

Wrapper = Literal["bare", "model", "state_dict"]
"""`model`: as the authors save; `state_dict`: beside a `meta` of texts, as mmengine saves."""

_STORAGE: Final = {
    torch: name for name, (torch, _) in STORAGE_TYPES.items() if name != "UntypedStorage"
}
_ORDERED_DICT: Final = b"ccollections\nOrderedDict\n"
_REBUILD: Final = b"ctorch._utils\n_rebuild_tensor_v2\n"
# Element types that have no storage class of their own, such as the 8-bit floats.
_REBUILD_UNTYPED: Final = b"ctorch._utils\n_rebuild_tensor_v3\n"
_UNTYPED: Final = "ctorch.storage\nUntypedStorage\n"


def pickled(
    tensors: Mapping[str, Described], wrapper: Wrapper, metadata: Mapping[str, str]
) -> bytes:
    """The pickle of tensors whose storages are named "0", "1", … in their order.

    `metadata` becomes the `meta` of a `state_dict` wrapper; the others have none.
    """
    state = _state_dict(tensors)
    if wrapper == "model":
        state = b"}" + _text("model") + state + b"s"
    elif wrapper == "state_dict":
        texts = b"".join(_text(name) + _text(value) for name, value in sorted(metadata.items()))
        meta = _text("meta") + b"}(" + texts + b"u"
        state = b"}(" + meta + _text("state_dict") + state + b"u"
    return b"\x80\x02" + state + b"."


def _state_dict(tensors: Mapping[str, Described]) -> bytes:
    memo = _Memo()
    parts = [memo.once(_ORDERED_DICT), b")R("]
    for key, (name, tensor) in enumerate(tensors.items()):
        dtype = tensor.dtype
        typed = dtype.torch in _STORAGE
        storage = f"ctorch\n{_STORAGE[dtype.torch]}\n" if typed else _UNTYPED
        numel = tensor.nbytes // dtype.itemsize if typed else tensor.nbytes
        parts += (
            _text(name),
            memo.once(_REBUILD if typed else _REBUILD_UNTYPED),
            b"((",
            memo.once(_text("storage")),
            memo.once(storage.encode()),
            _text(str(key)),
            memo.once(_text("cpu")),
            _integer(numel) + b"tQ",
            _integer(0) + _integers(tensor.shape) + _integers(dense_strides(tensor.shape)),
            b"\x89" + memo.once(_ORDERED_DICT) + b")R",
            b"tR" if typed else memo.once(f"ctorch\n{dtype.torch}\n".encode()) + b"tR",
        )
    return b"".join((*parts, b"u"))


class _Memo:
    """Writes a value out the first time and refers to it afterwards."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}

    def once(self, opcodes: bytes) -> bytes:
        """The opcodes, or those that fetch what they gave before."""
        if opcodes in self._places:
            return b"h" + bytes((self._places[opcodes],))
        place = self._places[opcodes] = len(self._places)
        return opcodes + b"q" + bytes((place,))


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<L", len(raw)) + raw


def _integers(numbers: Sequence[int]) -> bytes:
    if not numbers:
        return b")"
    return b"(" + b"".join(map(_integer, numbers)) + b"t"


def _integer(number: int) -> bytes:
    """A number from 0 up, in the shortest form."""
    if number < 1 << 8:
        return b"K" + struct.pack("<B", number)
    if number < 1 << 16:
        return b"M" + struct.pack("<H", number)
    if number < 1 << 31:
        return b"J" + struct.pack("<l", number)
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little")
    return b"\x8a" + bytes((len(raw),)) + raw
