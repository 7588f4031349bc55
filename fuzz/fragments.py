"""Random pickles that are mostly well formed: values in every opcode, tensors in every rebuild."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Final

from hornet_convert.checkpoint.torch_names import STORAGE_TYPES
from tests.reader.assemble import call, integer, integers, items, named, pickled, row, storage, text

KEYS: Final = ("0", "1")  # of the storages that every seed has
NBYTES: Final = 48  # of each of them
NAMES: Final = (
    *("collections.OrderedDict", "collections.Counter", "collections.defaultdict"),
    *("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer", "torch.Size"),
    *("torch.device", "torch.serialization._get_layout", "torch.storage.TypedStorage"),
    *("_codecs.encode", "builtins.bytearray", "builtins.set", "builtins.complex", "builtins.list"),
    *("__builtin__.set", "builtins.getattr", "builtins.dict", "builtins.frozenset", "copyreg._x"),
    *("torch.float32", "torch.float", "torch.uint16", "torch.bfloat16", "torch.float8_e4m3fn"),
    *("torch.complex64", "torch.int64", "torch.int4", "torch.uint1", "torch.per_tensor_affine"),
    *("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"),
    *("torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_parameter"),
    *("torch._utils._rebuild_parameter_with_state", "torch._tensor._rebuild_from_type_v2"),
    *("torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor"),
    *("torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_nested_tensor"),
    *("torch._utils._rebuild_wrapper_subclass", "torch.FloatTensor", "torch.LongTensor"),
    *("torch._utils._rebuild_device_tensor_from_cpu_tensor", "torch.FloatStorage"),
    *("torch.DoubleStorage", "torch.HalfStorage", "torch.cuda.FloatStorage", "argparse.Namespace"),
)
TEXTS: Final = (
    *("w", "b", "model", "state_dict", "model_ema", "_metadata", "version", "storage", "cpu"),
    *("0", "1", "00", "data", "real", "neg", "conj", "grad", "meta", "cuda:0", "latin1", "keys"),
    *("module.w", "n_averaged", "", "\xe9", "\u20ac", "\ud800", "\0", "w\0", "requires_grad"),
)
NUMBERS: Final = (0, 1, 2, 3, 4, 6, 11, 12, 13, -1, 127, 128, 255, 256, 65535, 1 << 31, 1 << 63)


def number(r: random.Random) -> bytes:
    """An integer, by one of the opcodes for it."""
    value = r.choice(NUMBERS)
    forms = [integer(value), b"I%d\n" % value, b"L%dL\n" % value]
    if 0 <= value < 256:
        forms += [b"K" + bytes((value,))] * 3
    if 0 <= value < 1 << 16:
        forms.append(b"M" + struct.pack("<H", value))
    if -(1 << 31) <= value < 1 << 31:
        forms.append(b"J" + struct.pack("<i", value))
    raw = value.to_bytes(9, "little", signed=True)
    return r.choice([*forms, b"\x8b" + struct.pack("<i", len(raw)) + raw])


def word(r: random.Random, value: str | None = None) -> bytes:
    """Text, or what Python 2 wrote for it, by one of the opcodes for it."""
    value = r.choice(TEXTS) if value is None else value
    raw = value.encode("utf-8", "surrogatepass")
    size = len(raw)
    forms = [
        *[text(value)] * 4,
        b"\x8c" + bytes((size,)) + raw,
        b"\x8d" + struct.pack("<Q", size) + raw,
        b"V" + value.encode("raw-unicode-escape").replace(b"\0", b"\\u0000") + b"\n",
        b"U" + bytes((size,)) + raw,
        b"T" + struct.pack("<i", size) + raw,
        b"S" + ascii(value).encode() + b"\n",
    ]
    return r.choice(forms)


def raw_bytes(r: random.Random) -> bytes:
    """Bytes, by one of the opcodes for them or by the call that older protocols use."""
    value = bytes(r.choices(b"ab\0\xff\n", k=r.randrange(4)))
    size = len(value)
    encoded = call(named("_codecs", "encode"), text(value.decode("latin1")), text("latin1"))
    forms = (
        b"C" + bytes((size,)) + value,
        b"B" + struct.pack("<I", size) + value,
        b"\x8e" + struct.pack("<Q", size) + value,
        b"\x96" + struct.pack("<Q", size) + value,
        encoded,
        call(named("builtins", "bytearray"), encoded),
    )
    return r.choice(forms)


def real(r: random.Random) -> bytes:
    """A float, by one of the opcodes for it."""
    value = r.choice((0.0, -0.0, 1.5, 1e300, float("inf"), float("nan"), 1e-5))
    return r.choice((b"G" + struct.pack(">d", value), b"F" + repr(value).encode() + b"\n"))


def name(r: random.Random) -> bytes:
    """A name to import, as GLOBAL or STACK_GLOBAL has it."""
    module, _, last = r.choice(NAMES).rpartition(".")
    return r.choice((named(module, last), text(module) + text(last) + b"\x93"))


def _stored(r: random.Random, kind: str, extra: tuple[bytes, ...]) -> bytes:
    """A storage of the file, the same of two thirds of all, and now and then a view of it."""
    count = NBYTES // STORAGE_TYPES[kind][1]
    if extra and r.random() < 0.1:
        extra = (row(word(r, r.choice("vw")), integer(r.randrange(3)), integer(r.randrange(9))),)
    module = "torch.storage" if kind == "UntypedStorage" else "torch"
    return storage(r.choice(KEYS), count, f"{module}\n{kind}", extra)


def tensor(r: random.Random, extra: tuple[bytes, ...]) -> bytes:
    """A tensor of one of the storages, by one of the functions that rebuild them."""
    kind = r.choice(("FloatStorage",) * 8 + tuple(STORAGE_TYPES))
    shape = [r.randrange(4) for _ in range(r.randrange(4))]
    strides = [r.randrange(4) for _ in shape]
    first = integer(r.choice((0, 0, 0, 1, 5)))
    view = [_stored(r, kind, extra), first, integers(shape), integers(strides)]
    if r.random() < 0.1:
        view[2] = call(named("torch", "Size"), view[2])
    hooks = r.choice((call(named("collections", "OrderedDict")),) * 9 + (b"N",))
    grad = r.choice((b"\x88", b"\x89"))
    flags = r.choice((b"",) * 6 + (b"}", b"N", items((text("neg"), grad)), items((word(r), grad))))
    dtype = named("torch", r.choice(("float32", "int16", "uint16", "uint32", "bfloat16", "bool")))
    made = r.choices(
        (
            call(named("torch._utils", "_rebuild_tensor"), *view),
            call(named("torch._utils", "_rebuild_tensor_v2"), *view, grad, hooks, flags),
            call(named("torch._utils", "_rebuild_tensor_v3"), *view, grad, hooks, dtype, flags),
        ),
        (2, 8, 2),
    )[0]
    state = r.choice((b"N", b"}", items((word(r), number(r))), row(b"N", b"}")))
    parameter = named("torch.nn.parameter", "Parameter")
    forms = (
        made,
        call(named("torch._utils", "_rebuild_parameter"), made, grad, hooks),
        call(named("torch._utils", "_rebuild_parameter_with_state"), made, grad, hooks, state),
        call(
            named("torch._tensor", "_rebuild_from_type_v2"),
            named("torch._utils", "_rebuild_tensor"),
            r.choice((named("torch", "Tensor"), parameter)),
            row(*view),
            state,
        ),
        call(parameter, made, grad),
        parameter + row(made, grad) + b"\x81",
        made + row(grad, b"N", hooks) + b"b",
        made + row(*view) + b"b",
    )
    return r.choices(forms, (30, 4, 2, 4, 2, 2, 1, 1))[0]


def value(r: random.Random, extra: tuple[bytes, ...], depth: int = 3) -> bytes:
    """Any value; `extra` is what a legacy file adds to a persistent id."""
    scalars: list[Callable[[], bytes]] = [
        *(lambda: number(r), lambda: word(r), lambda: real(r), lambda: name(r)),
        lambda: r.choice((b"N", b"\x88", b"\x89", b"I00\n", b"I01\n")),
        *(lambda: raw_bytes(r), lambda: tensor(r, extra), lambda: tensor(r, extra)),
    ]
    if depth == 0 or r.random() < 0.4:
        return r.choice(scalars)()
    parts = [value(r, extra, depth - 1) for _ in range(r.randrange(4))]
    pairs = [(word(r), part) for part in parts]
    flat = b"".join(key + part for key, part in pairs)
    many, few = b"(" + b"".join(parts), b"".join(parts)
    each = b"".join(key + part + b"s" for key, part in pairs)
    ordered = named("collections", "OrderedDict")
    memo = b"q" + bytes((r.randrange(3),))
    forms = (
        *(many + b"t", many + b"l", b"](" + few + b"e", b"}(" + flat + b"u", b"(" + flat + b"d"),
        b"]" + b"".join(part + b"a" for part in parts),
        few + (b")", b"\x85", b"\x86", b"\x87")[len(parts)],
        b"}" + each,
        *(ordered + b")R" + each, ordered + b")\x81" + each, ordered + b")R(" + flat + b"u"),
        ordered + b")R" + each + items((word(r, "_metadata"), b"".join(parts[:1]) or b"N")) + b"b",
        ordered + b"](" + b"".join(row(*pair) for pair in pairs) + b"e\x85R",
        named("collections", "Counter") + b"}" + each + b"\x85R",
        named("torch", "Size") + row(*(number(r) for _ in parts)) + b"\x85R",
        call(named("torch", "device"), word(r, r.choice(("cpu", "cuda")))),
        call(named("builtins", r.choice(("set", "frozenset"))), many + b"l"),
        *(b"\x8f(" + few + b"\x90", many + b"\x91"),
        b"(" + named("argparse", "Namespace") + b"o}" + each + b"b",
        named("argparse", "Namespace") + b")\x81}" + each + b"b",
        b"]" + memo + b"h" + memo[1:] + b"a",
        value(r, extra, depth - 1) + memo + b"0h" + memo[1:],
        call(name(r), *parts),
        name(r) + many + b"t\x81",
        value(r, extra, depth - 1) + value(r, extra, 0) + b"b",
    )
    return r.choice(forms)


def body(r: random.Random, extra: tuple[bytes, ...] = ()) -> bytes:
    """A whole pickle: a dict of a few values, in most cases with weights among them."""
    pairs = [(word(r), r.choice((tensor, value))(r, extra)) for _ in range(r.randrange(1, 5))]
    whole = r.choice((items(*pairs), items(*pairs), value(r, extra)))
    used = b"".join(storage(key, NBYTES // 4, extra=extra) for key in KEYS)
    return pickled(used + whole if r.random() < 0.5 else whole)
