"""What each pickle opcode does to the machine: `STEPS`, one row for each.

Taking too much off the stack is an IndexError, which the machine names. Numbers in text are read in
the one form that pickle writes: readers differ on `010`, `1_0`, `0x1` and ` 1`.
"""

from __future__ import annotations

import codecs
import collections
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hornet_convert.checkpoint.inert import Call, Dict, Global, Set, attribute_names, describe
from hornet_convert.checkpoint.pickle_stream import OPCODES, TooLargeError
from hornet_convert.errors import MalformedError

if TYPE_CHECKING:
    from hornet_convert.checkpoint.pickles import Machine

    Action = Callable[[Machine, bytes], None]

MAX_INTEGER: Final = 1024  # bytes, or digits where written as text
_MAX_MEMO: Final = 1 << 32  # places, as many as LONG_BINPUT can name
# Set as an attribute, these would hide what a dict holds from whoever asks it.
_METHODS_OF_DICTS: Final = frozenset(dir(collections.OrderedDict) + dir(collections.Counter))


_DECIMAL: Final = re.compile(rb"0|-?[1-9][0-9]*")
_REAL: Final = re.compile(rb"-?(?:[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|inf|nan)")
_QUOTED: Final = re.compile(
    rb"""(['"])(?:[^\\]|\\(?:[\\'"nrt]|x[0-9a-f]{2}))*\1""", re.DOTALL
)  # what repr() writes


def _decoded(raw: bytes, encoding: str = "utf-8", errors: str = "surrogatepass") -> str:
    """Text; lone surrogates pass, as they do in pickle."""
    try:
        return raw.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise MalformedError(f"text that is not {encoding}", found=repr(raw[:40])) from error


def _python_2_text(raw: bytes) -> str | bytes:
    """A string of Python 2: text if it can be, as torch.load reads it."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _matched(raw: bytes, form: re.Pattern[bytes], what: str) -> bytes:
    if not form.fullmatch(raw):
        raise MalformedError(what, found=repr(raw[:40]))
    return raw


def _quoted_text(raw: bytes) -> str | bytes:
    """A string of Python 2 in protocol 0, with quotes and escapes."""
    _matched(raw, _QUOTED, "a string without its quotes or escapes")
    return _python_2_text(codecs.escape_decode(raw[1:-1])[0])


def _decimal(raw: bytes) -> int:
    return int(_matched(_bounded(raw), _DECIMAL, "invalid integer"))


def _integer(raw: bytes) -> int:
    return int.from_bytes(_bounded(raw), "little", signed=True)


def _count(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _bounded(raw: bytes) -> bytes:
    if len(raw) > MAX_INTEGER:
        raise TooLargeError("a number is too large", expected=f"at most {MAX_INTEGER} bytes")
    return raw


def _pushed(value: Callable[[bytes], object]) -> Action:
    return lambda m, raw: m.stack.append(value(raw))


def _collected(value: Callable[[list[object]], object]) -> Action:
    def act(m: Machine, raw: bytes) -> None:
        found = value(m.to_mark())  # first: it changes the stack
        m.stack.append(found)

    return act


def _text(m: Machine, raw: bytes) -> None:
    if not raw.isascii():
        m.spend(3 * len(raw))  # a single wide character makes all of them four bytes wide
    m.stack.append(_decoded(raw))


def _dict(flat: list[object]) -> Dict:
    if len(flat) % 2:
        raise MalformedError("a dict with a key that has no value")
    return Dict(flat)


def _mark(m: Machine, raw: bytes) -> None:
    m.below.append(m.stack)
    m.stack = []


def _pop(m: Machine, raw: bytes) -> None:
    if m.stack or not m.below:
        m.stack.pop()
    else:
        m.to_mark()


def _tuple_of(count: int) -> Action:
    def act(m: Machine, raw: bytes) -> None:
        m.stack.append(tuple([m.stack.pop() for _ in range(count)][::-1]))

    return act


def _append(m: Machine, values: list[object]) -> None:
    target = m.stack[-1]
    if isinstance(target, Call):
        target.elements = target.elements or []
        target = target.elements
    if not isinstance(target, list):
        raise MalformedError("appending to something other than a list", found=describe(target))
    target.extend(values)


def _set_items(m: Machine, flat: list[object]) -> None:
    target = m.stack[-1]
    if isinstance(target, Call):
        target.pairs = target.pairs or Dict()
        target = target.pairs
    if not isinstance(target, Dict):
        raise MalformedError("setting a key in something other than a dict", found=describe(target))
    target.flat.extend(_dict(flat).flat)


def _add_items(m: Machine, raw: bytes) -> None:
    values, target = m.to_mark(), m.stack[-1]
    if not isinstance(target, Set) or target.frozen:
        raise MalformedError("adding to something other than a set", found=describe(target))
    target.elements.extend(values)


def _get(m: Machine, index: int) -> None:
    if index not in m.memo:
        raise MalformedError(f"the pickle refers to its memo at {index}, where nothing was put")
    m.stack.append(m.memo[index])


def _put(m: Machine, index: int) -> None:
    # Larger ones can be made to share one hash, which would take quadratic time.
    if not 0 <= index < _MAX_MEMO:
        what = "the pickle puts a value at a negative or too large place of its memo"
        raise MalformedError(what, expected=f"0 to {_MAX_MEMO - 1}", found=describe(index))
    m.memo[index] = m.stack[-1]


def _named(m: Machine, raw: bytes) -> Global:
    module, _, name = raw.partition(b"\n")
    return m.named(_decoded(module), _decoded(name))


def _stack_global(m: Machine, raw: bytes) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.stack.append(m.named(module, name))


def _extension(m: Machine, raw: bytes) -> None:
    # A code of copyreg's registry, which stands for a name known only to the program that wrote it.
    m.stack.append(m.named("copyreg.extension", str(_count(raw))))


def _make(m: Machine, way: str, kwargs: object = None) -> None:
    args, function = m.stack.pop(), m.stack.pop()
    m.make(function, args, way, kwargs)


def _instance(m: Machine, cls: object, args: list[object]) -> None:
    # INST and OBJ call what they are given, but for a class without _
    m.make(cls, tuple(args), "called" if args else "built")


def _obj(m: Machine, raw: bytes) -> None:
    cls, *args = m.to_mark() or [None]
    _instance(m, cls, args)


def _build(m: Machine, raw: bytes) -> None:
    state, target = m.stack.pop(), m.stack[-1]
    if isinstance(target, Call):
        target.states = target.states or []
        target.states.append(state)
    elif isinstance(target, Dict) and target.type_name != "dict":
        for name in attribute_names(state):
            if not isinstance(name, str) or name in _METHODS_OF_DICTS:
                raise MalformedError("a dict with attributes of another kind", found=describe(name))
        if isinstance(state, Dict):  # copied as it is now, beside what was set before
            m.spend(8 * len(state.flat))
            target.state = target.state or Dict()
            target.state.flat.extend(state.flat)
    else:
        m.meaning.build(target, state)


def _persistent(m: Machine, pid: object) -> None:
    m.stack.append(m.meaning.persistent(pid))


def _protocol(m: Machine, raw: bytes) -> None:
    if raw[0] > 5:
        raise MalformedError(f"unknown pickle protocol {raw[0]}", expected="0 to 5")


def _out_of_band(m: Machine, raw: bytes) -> None:
    raise MalformedError("the pickle asks for a buffer passed beside it, which no file can have")


# (opcodes, bytes of memory they take at most beyond their argument, what they do)
_ROWS: Final[tuple[tuple[str, int, Action], ...]] = (
    ("NONE", 8, _pushed(lambda _: None)),
    ("NEWTRUE", 8, _pushed(lambda _: True)),
    ("NEWFALSE", 8, _pushed(lambda _: False)),
    ("BININT1 BININT2", 40, _pushed(_count)),
    ("BININT LONG1 LONG4", 48, _pushed(_integer)),
    # 00 and 01 are False and True.
    ("INT", 48, _pushed(lambda raw: raw == b"01" if raw in (b"00", b"01") else _decimal(raw))),
    ("LONG", 48, _pushed(lambda raw: _decimal(raw.removesuffix(b"L")))),
    ("FLOAT", 32, _pushed(lambda raw: float(_matched(_bounded(raw), _REAL, "invalid number")))),
    ("BINFLOAT", 32, _pushed(lambda raw: struct.unpack(">d", raw)[0])),
    ("STRING", 80, _pushed(_quoted_text)),
    ("BINSTRING SHORT_BINSTRING", 80, _pushed(_python_2_text)),
    ("UNICODE", 80, _pushed(lambda raw: _decoded(raw, "raw-unicode-escape", "strict"))),
    ("BINUNICODE SHORT_BINUNICODE BINUNICODE8", 80, _text),
    ("BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8", 48, _pushed(lambda raw: raw)),
    ("EMPTY_TUPLE", 8, _pushed(lambda _: ())),
    ("EMPTY_LIST", 72, _pushed(lambda _: [])),
    ("EMPTY_DICT", 136, _pushed(lambda _: Dict())),
    ("EMPTY_SET", 120, _pushed(lambda _: Set([], frozen=False))),
    ("TUPLE1", 64, _tuple_of(1)),
    ("TUPLE2", 72, _tuple_of(2)),
    ("TUPLE3", 80, _tuple_of(3)),
    ("TUPLE", 64, _collected(tuple)),
    ("LIST", 72, _collected(lambda values: values)),
    ("DICT", 136, _collected(_dict)),
    ("FROZENSET", 120, _collected(lambda values: Set(values, frozen=True))),
    ("MARK", 96, _mark),
    ("POP", 0, _pop),
    ("POP_MARK", 0, lambda m, raw: m.to_mark().clear()),
    ("DUP", 8, lambda m, raw: m.stack.append(m.stack[-1])),
    ("APPEND", 16, lambda m, raw: _append(m, [m.stack.pop()])),
    ("APPENDS", 16, lambda m, raw: _append(m, m.to_mark())),
    ("SETITEM", 16, lambda m, raw: _set_items(m, [m.stack.pop(), m.stack.pop()][::-1])),
    ("SETITEMS", 16, lambda m, raw: _set_items(m, m.to_mark())),
    ("ADDITEMS", 16, _add_items),
    ("BINGET", 8, lambda m, raw: _get(m, raw[0])),
    ("LONG_BINGET", 8, lambda m, raw: _get(m, _count(raw))),
    ("GET", 8, lambda m, raw: _get(m, _decimal(raw))),
    ("BINPUT", 8, lambda m, raw: _put(m, raw[0])),
    ("LONG_BINPUT", 136, lambda m, raw: _put(m, _count(raw))),
    ("PUT", 136, lambda m, raw: _put(m, _decimal(raw))),
    ("MEMOIZE", 136, lambda m, raw: _put(m, len(m.memo))),
    ("GLOBAL", 280, lambda m, raw: m.stack.append(_named(m, raw))),
    ("STACK_GLOBAL", 280, _stack_global),
    ("EXT1 EXT2 EXT4", 280, _extension),
    ("REDUCE", 240, lambda m, raw: _make(m, "called")),
    ("NEWOBJ", 240, lambda m, raw: _make(m, "built")),
    ("NEWOBJ_EX", 240, lambda m, raw: _make(m, "built", m.stack.pop())),
    ("INST", 440, lambda m, raw: _instance(m, _named(m, raw), m.to_mark())),
    ("OBJ", 240, _obj),
    ("BUILD", 72, _build),
    ("PERSID", 160, lambda m, raw: _persistent(m, _decoded(raw))),
    ("BINPERSID", 160, lambda m, raw: _persistent(m, m.stack.pop())),
    ("PROTO", 0, _protocol),
    ("FRAME", 0, lambda m, raw: m.stream.require(_count(raw))),
    ("NEXT_BUFFER READONLY_BUFFER", 0, _out_of_band),
)
STEPS: Final = {
    code: (cost, read, act)
    for names, cost, act in _ROWS
    for code, (op, read) in OPCODES.items()
    if op.name in names.split()
}
