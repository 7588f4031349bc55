"""Values made by the names that torch's restricted loader knows, each as a piece of a pickle."""

from __future__ import annotations

import struct

from torch._weights_only_unpickler import _get_allowed_globals

from hornet_convert.checkpoint.torch_names import STORAGE_TYPES
from tests.reader.assemble import call, integers, items, named, row, storage, tensor, text

VALUES = struct.pack("<6f", *range(6))
PLACE = storage("0", 6)
W = tensor(PLACE, (2, 3), (3, 1))
ORDERED = named("collections", "OrderedDict")


def _rebuilt(name: str, *arguments: bytes) -> bytes:
    return call(named("torch._utils", name), *arguments)


_PLAIN = (PLACE, b"K\x00", integers((2, 3)), integers((3, 1)))
# A value made by a name that torch's restricted loader knows; W stands beside it.
NAMES: dict[str, bytes] = {
    "torch._utils._rebuild_tensor": _rebuilt("_rebuild_tensor", *_PLAIN),
    "torch._utils._rebuild_tensor_v2": W,
    "torch._utils._rebuild_tensor_v3": _rebuilt(
        "_rebuild_tensor_v3", storage("1", 24, "torch.storage\nUntypedStorage"), *_PLAIN[1:],
        b"\x89", ORDERED + b")R", named("torch", "float32"),
    ),
    "torch._utils._rebuild_parameter": _rebuilt("_rebuild_parameter", W, b"\x88", ORDERED + b")R"),
    "torch._utils._rebuild_parameter_with_state": _rebuilt(
        "_rebuild_parameter_with_state", W, b"\x88", ORDERED + b")R", b"}"
    ),
    "torch._tensor._rebuild_from_type_v2": call(
        named("torch._tensor", "_rebuild_from_type_v2"), named("torch._utils", "_rebuild_tensor"),
        named("torch", "Tensor"), row(*_PLAIN), b"}",
    ),
    "collections.OrderedDict": ORDERED + b")R",
    "collections.Counter": named("collections", "Counter") + b")R",
    "torch.Size": call(named("torch", "Size"), integers((2,))),
    "torch.device": call(named("torch", "device"), text("cpu")),
    "torch.float32": named("torch", "float32"),
    "torch.int4": named("torch", "int4"),
    "torch.uint1": named("torch", "uint1"),
    "torch.per_tensor_affine": named("torch", "per_tensor_affine"),
    "torch.FloatStorage": named("torch", "FloatStorage"),
    "torch.storage.UntypedStorage": named("torch.storage", "UntypedStorage"),
    "torch.Tensor": named("torch", "Tensor"),
    "torch.nn.parameter.Parameter": call(named("torch.nn.parameter", "Parameter"), W),
    "torch.serialization._get_layout": call(
        named("torch.serialization", "_get_layout"), text("torch.strided")
    ),
    "_codecs.encode": call(named("_codecs", "encode"), text("a"), text("latin1")),
    "builtins.bytearray": call(named("builtins", "bytearray"), text("a"), text("latin1")),
    "builtins.set": call(named("builtins", "set"), b"](K\1e"),
    "builtins.complex": call(named("builtins", "complex"), b"K\1", b"K\2"),
    "argparse.Namespace": named("argparse", "Namespace") + b")\x81}" + text("lr") + b"K\1sb",
    "numpy.dtype": call(named("numpy", "dtype"), text("f4")),
    "os.system": call(named("os", "system"), text("true")),
    "torch._utils._rebuild_meta_tensor_no_storage": _rebuilt(
        "_rebuild_meta_tensor_no_storage", named("torch", "float32"), *_PLAIN[2:], b"\x89"
    ),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _rebuilt(
        "_rebuild_device_tensor_from_cpu_tensor", W, named("torch", "float32"), text("cpu"), b"\x89"
    ),
    "torch._utils._rebuild_sparse_tensor": _rebuilt(
        "_rebuild_sparse_tensor",
        call(named("torch.serialization", "_get_layout"), text("torch.sparse_coo")),
        row(
            tensor(storage("1", 3, "torch\nLongStorage"), (1, 0), (1, 1)),
            tensor(PLACE, (0,), (1,)), integers((2,)),
        ),
    ),
    "torch._utils._rebuild_qtensor": _rebuilt(
        "_rebuild_qtensor", storage("1", 24, "torch\nQInt8Storage"), *_PLAIN[1:],
        row(named("torch", "per_tensor_affine"), b"G" + struct.pack(">d", 1.0), b"K\0"),
        b"\x89", ORDERED + b")R",
    ),
}  # fmt: skip


def _of_the_list(name: str) -> bytes:
    """A value for any name on the restricted loader's list: a storage used, a class called."""
    module, _, last = name.rpartition(".")
    if last.endswith("Storage") and module != "torch.storage":
        count = 2 * len(VALUES) // STORAGE_TYPES[last][1]
        return tensor(storage("2", count, f"{module}\n{last}"), (count,), (1,))
    found = named(module, last)
    can_be_called = last.endswith("Tensor") and "cuda" not in module  # which needs the device
    return call(found) if can_be_called else found


NAMES |= {name: _of_the_list(name) for name in sorted(_get_allowed_globals()) if name not in NAMES}


# What bears on no value: torch looks at it and may refuse, we do not.
_FLAGS = (b"\x88", ORDERED + b")R")
UNSEEN: dict[str, bytes] = {
    "a gradient needed, given as a number": _rebuilt(
        "_rebuild_tensor_v2", *_PLAIN, b"K\5", _FLAGS[1]
    ),
    "a gradient needed of integers": _rebuilt(
        "_rebuild_tensor_v2", storage("1", 6, "torch\nIntStorage"), *_PLAIN[1:], *_FLAGS
    ),
    "hooks that are none": _rebuilt("_rebuild_tensor_v2", *_PLAIN, b"\x89K\5"),
    "an attribute that cannot be set": _rebuilt(
        "_rebuild_parameter_with_state", W, *_FLAGS, items((text("shape"), b"N"))
    ),
    "a device that is unknown": tensor(storage("1", 6).replace(b"cpu", b"zzz"), (2, 3), (3, 1)),
}
