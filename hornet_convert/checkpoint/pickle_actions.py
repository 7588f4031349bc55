"""What each pickle opcode does to the machine: `ACTIONS`, one function per opcode.

The stack never runs empty here and no argument is cut: the scan has seen to that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hornet_convert.checkpoint.inert import Call, Dict, Set, describe
from hornet_convert.checkpoint.opcodes import OPCODES
from hornet_convert.checkpoint.pickle_arguments import (
    binary_integer,
    escaped_text,
    integer,
    integer_or_bool,
    quoted_text,
    real,
    text,
    text_or_bytes,
)
from hornet_convert.errors import MalformedError

if TYPE_CHECKING:
    from hornet_convert.checkpoint.pickles import Machine

_MAX_MEMO: Final = 1 << 32  # places, as many as LONG_BINPUT can name


def _constant(value: object) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(value)


def _unpacked(form: str) -> Callable[[Machine], None]:
    packed = struct.Struct(form)

    def action(m: Machine) -> None:
        m.stack.append(packed.unpack_from(m.data, m.pos)[0])
        m.pos += packed.size

    return action


def _counted(width: int, convert: Callable[[bytes], object]) -> Callable[[Machine], None]:
    def action(m: Machine) -> None:
        m.stack.append(convert(m.take(int.from_bytes(m.take(width), "little"))))

    return action


def _from_line(convert: Callable[[bytes], object]) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(convert(m.line()))


def _mark(m: Machine) -> None:
    m.marks.append(len(m.stack))


def _pop(m: Machine) -> None:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.stack.pop()


def _dup(m: Machine) -> None:
    m.stack.append(m.stack[-1])


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def action(m: Machine) -> None:
        m.stack[-count:] = [tuple(m.stack[-count:])]

    return action


def _dict_of(flat: list[object]) -> Dict:
    if len(flat) % 2:
        raise MalformedError("a dict with a key that has no value")
    return Dict(flat)


def _append(m: Machine) -> None:
    value = m.stack.pop()
    _elements(m.stack[-1]).append(value)


def _appends(m: Machine) -> None:
    values = m.to_mark()
    _elements(m.stack[-1]).extend(values)


def _elements(target: object) -> list[object]:
    if isinstance(target, list):
        return target
    if not isinstance(target, Call):
        raise MalformedError("an element is appended to what is no list", found=describe(target))
    if target.elements is None:
        target.elements = []
    return target.elements


def _set_items(m: Machine, flat: list[object]) -> None:
    target = m.stack[-1]
    if isinstance(target, Call):
        if target.pairs is None:
            target.pairs = Dict()
        target = target.pairs
    if not isinstance(target, Dict):
        raise MalformedError("a key is set in what is no dict", found=describe(target))
    target.flat.extend(_dict_of(flat).flat)


def _set_item(m: Machine) -> None:
    flat = m.stack[-2:]
    del m.stack[-2:]
    _set_items(m, flat)


def _add_items(m: Machine) -> None:
    values = m.to_mark()
    target = m.stack[-1]
    if not isinstance(target, Set) or target.frozen:
        raise MalformedError("an element is added to what is no set", found=describe(target))
    target.elements.extend(values)


def _get(m: Machine, index: int) -> None:
    if index not in m.memo:
        raise MalformedError(f"the pickle refers to its memo at {index}, where nothing was put")
    m.stack.append(m.memo[index])


def _put(m: Machine, index: int) -> None:
    # Larger ones can be made to share one hash, which would take quadratic time.
    if not 0 <= index < _MAX_MEMO:
        raise MalformedError(
            "the pickle puts a value at a negative or too large place of its memo",
            expected=f"0 to {_MAX_MEMO - 1}",
            found=describe(index),
        )
    m.memo[index] = m.stack[-1]


def _extension(width: int) -> Callable[[Machine], None]:
    # A code of copyreg's registry, which stands for a name known only to the program that wrote it.
    return lambda m: m.stack.append(
        m.named("copyreg.extension", str(int.from_bytes(m.take(width), "little")))
    )


def _global(m: Machine) -> None:
    module = text(m.line())
    m.stack.append(m.named(module, text(m.line())))


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.stack.append(m.named(module, name))


def _reduce(m: Machine) -> None:
    args, function = m.stack.pop(), m.stack.pop()
    m.stack.append(m.made(function, args, "called"))


def _newobj(m: Machine) -> None:
    args, cls = m.stack.pop(), m.stack.pop()
    m.stack.append(m.made(cls, args, "built"))


def _newobj_ex(m: Machine) -> None:
    kwargs, args, cls = m.stack.pop(), m.stack.pop(), m.stack.pop()
    m.stack.append(m.made(cls, args, "built", kwargs))


def _inst(m: Machine) -> None:
    module = text(m.line())
    cls = m.named(module, text(m.line()))
    m.stack.append(m.made(cls, tuple(m.to_mark()), "built"))


def _obj(m: Machine) -> None:
    parts = m.to_mark()
    if not parts:
        raise MalformedError("an instance of no class")
    m.stack.append(m.made(parts[0], tuple(parts[1:]), "built"))


def _build(m: Machine) -> None:
    state = m.stack.pop()
    target = m.stack[-1]
    if isinstance(target, Call):
        if target.states is None:
            target.states = []
        target.states.append(state)
    elif isinstance(target, Dict):
        target.state = state
    else:
        m.meaning.build(target, state)


def _persistent(m: Machine) -> None:
    m.stack.append(m.meaning.persistent(m.stack.pop()))


def _skip_frame(m: Machine) -> None:
    m.pos += 8


def _protocol(version: int) -> None:
    if version > 5:
        raise MalformedError(f"unknown pickle protocol {version}", expected="0 to 5")


def _out_of_band(m: Machine) -> None:
    raise MalformedError("the pickle asks for a buffer passed beside it, which no file can have")


_BY_NAME: Final[dict[str, Callable[[Machine], None]]] = {
    "MARK": _mark,
    "STOP": lambda m: None,
    "POP": _pop,
    "POP_MARK": lambda m: m.to_mark().clear(),
    "DUP": _dup,
    "FLOAT": _from_line(real),
    "INT": _from_line(integer_or_bool),
    "BININT": _unpacked("<i"),
    "BININT1": lambda m: m.stack.append(m.byte()),
    "LONG": _from_line(integer),
    "BININT2": _unpacked("<H"),
    "NONE": _constant(None),
    "PERSID": lambda m: m.stack.append(m.meaning.persistent(text(m.line()))),
    "BINPERSID": _persistent,
    "REDUCE": _reduce,
    "STRING": _from_line(quoted_text),
    "BINSTRING": _counted(4, text_or_bytes),
    "SHORT_BINSTRING": _counted(1, text_or_bytes),
    "UNICODE": _from_line(escaped_text),
    "BINUNICODE": _counted(4, text),
    "APPEND": _append,
    "BUILD": _build,
    "GLOBAL": _global,
    "DICT": lambda m: m.stack.append(_dict_of(m.to_mark())),
    "EMPTY_DICT": lambda m: m.stack.append(Dict()),
    "APPENDS": _appends,
    "GET": lambda m: _get(m, integer(m.line())),
    "BINGET": lambda m: _get(m, m.byte()),
    "INST": _inst,
    "LONG_BINGET": lambda m: _get(m, int.from_bytes(m.take(4), "little")),
    "LIST": lambda m: m.stack.append(m.to_mark()),
    "EMPTY_LIST": lambda m: m.stack.append([]),
    "OBJ": _obj,
    "PUT": lambda m: _put(m, integer(m.line())),
    "BINPUT": lambda m: _put(m, m.byte()),
    "LONG_BINPUT": lambda m: _put(m, int.from_bytes(m.take(4), "little")),
    "SETITEM": _set_item,
    "TUPLE": lambda m: m.stack.append(tuple(m.to_mark())),
    "EMPTY_TUPLE": _constant(()),
    "SETITEMS": lambda m: _set_items(m, m.to_mark()),
    "BINFLOAT": _unpacked(">d"),
    "BINBYTES": _counted(4, bytes),
    "SHORT_BINBYTES": _counted(1, bytes),
    "PROTO": lambda m: _protocol(m.byte()),
    "NEWOBJ": _newobj,
    "EXT1": _extension(1),
    "EXT2": _extension(2),
    "EXT4": _extension(4),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "LONG1": _counted(1, binary_integer),
    "LONG4": _counted(4, binary_integer),
    "SHORT_BINUNICODE": _counted(1, text),
    "BINUNICODE8": _counted(8, text),
    "BINBYTES8": _counted(8, bytes),
    "EMPTY_SET": lambda m: m.stack.append(Set([], frozen=False)),
    "ADDITEMS": _add_items,
    "FROZENSET": lambda m: m.stack.append(Set(m.to_mark(), frozen=True)),
    "NEWOBJ_EX": _newobj_ex,
    "STACK_GLOBAL": _stack_global,
    "MEMOIZE": lambda m: _put(m, len(m.memo)),
    "FRAME": _skip_frame,
    "BYTEARRAY8": _counted(8, bytes),
    "NEXT_BUFFER": _out_of_band,
    "READONLY_BUFFER": _out_of_band,
}

ACTIONS: Final = {row.code: _BY_NAME[row.name] for row in OPCODES.values()}
