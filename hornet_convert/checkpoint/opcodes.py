"""Every pickle opcode, protocols 0 to 5: the form of its argument and what it does to the stack.

Source: CPython's Lib/pickletools.py. `cost` is an upper estimate, in bytes, of what carrying out
the opcode leaves in memory beyond the bytes of the file it stands in.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Opcode(NamedTuple):
    """One opcode.

    `argument` is a number of bytes, "line" or "lines" (text ended by newlines), or "n<k>": a
    length of k little-endian bytes, then that many bytes. `marked` opcodes first take everything
    down to the last mark off the stack, and the mark; then `pops` more. Then `pushes` are put on.
    """

    code: int
    name: str
    argument: int | str
    marked: bool
    pops: int
    pushes: int
    cost: int


MARK: Final = ord("(")
STOP: Final = ord(".")
POP: Final = ord("0")
FRAME: Final = 0x95

_ROWS: Final = (
    # code, name, argument, marked, pops, pushes, cost
    (MARK, "MARK", 0, False, 0, 0, 40),
    (STOP, "STOP", 0, False, 1, 0, 0),
    (POP, "POP", 0, False, 1, 0, 0),
    (ord("1"), "POP_MARK", 0, True, 0, 0, 0),
    (ord("2"), "DUP", 0, False, 1, 2, 8),
    (ord("F"), "FLOAT", "line", False, 0, 1, 32),
    (ord("I"), "INT", "line", False, 0, 1, 48),
    (ord("J"), "BININT", 4, False, 0, 1, 40),
    (ord("K"), "BININT1", 1, False, 0, 1, 8),
    (ord("L"), "LONG", "line", False, 0, 1, 48),
    (ord("M"), "BININT2", 2, False, 0, 1, 40),
    (ord("N"), "NONE", 0, False, 0, 1, 8),
    (ord("P"), "PERSID", "line", False, 0, 1, 160),
    (ord("Q"), "BINPERSID", 0, False, 1, 1, 160),
    (ord("R"), "REDUCE", 0, False, 2, 1, 240),
    (ord("S"), "STRING", "line", False, 0, 1, 72),
    (ord("T"), "BINSTRING", "n4", False, 0, 1, 72),
    (ord("U"), "SHORT_BINSTRING", "n1", False, 0, 1, 72),
    (ord("V"), "UNICODE", "line", False, 0, 1, 72),
    (ord("X"), "BINUNICODE", "n4", False, 0, 1, 72),
    (ord("a"), "APPEND", 0, False, 2, 1, 16),
    (ord("b"), "BUILD", 0, False, 2, 1, 72),
    (ord("c"), "GLOBAL", "lines", False, 0, 1, 280),
    (ord("d"), "DICT", 0, True, 0, 1, 136),
    (ord("}"), "EMPTY_DICT", 0, False, 0, 1, 136),
    (ord("e"), "APPENDS", 0, True, 1, 1, 16),
    (ord("g"), "GET", "line", False, 0, 1, 8),
    (ord("h"), "BINGET", 1, False, 0, 1, 8),
    (ord("i"), "INST", "lines", True, 0, 1, 440),
    (ord("j"), "LONG_BINGET", 4, False, 0, 1, 8),
    (ord("l"), "LIST", 0, True, 0, 1, 72),
    (ord("]"), "EMPTY_LIST", 0, False, 0, 1, 72),
    (ord("o"), "OBJ", 0, True, 0, 1, 240),
    (ord("p"), "PUT", "line", False, 1, 1, 136),
    (ord("q"), "BINPUT", 1, False, 1, 1, 8),
    (ord("r"), "LONG_BINPUT", 4, False, 1, 1, 136),
    (ord("s"), "SETITEM", 0, False, 3, 1, 16),
    (ord("t"), "TUPLE", 0, True, 0, 1, 64),
    (ord(")"), "EMPTY_TUPLE", 0, False, 0, 1, 8),
    (ord("u"), "SETITEMS", 0, True, 1, 1, 16),
    (ord("G"), "BINFLOAT", 8, False, 0, 1, 32),
    (ord("B"), "BINBYTES", "n4", False, 0, 1, 48),
    (ord("C"), "SHORT_BINBYTES", "n1", False, 0, 1, 48),
    (0x80, "PROTO", 1, False, 0, 0, 0),
    (0x81, "NEWOBJ", 0, False, 2, 1, 240),
    (0x82, "EXT1", 1, False, 0, 1, 280),
    (0x83, "EXT2", 2, False, 0, 1, 280),
    (0x84, "EXT4", 4, False, 0, 1, 280),
    (0x85, "TUPLE1", 0, False, 1, 1, 64),
    (0x86, "TUPLE2", 0, False, 2, 1, 72),
    (0x87, "TUPLE3", 0, False, 3, 1, 80),
    (0x88, "NEWTRUE", 0, False, 0, 1, 8),
    (0x89, "NEWFALSE", 0, False, 0, 1, 8),
    (0x8A, "LONG1", "n1", False, 0, 1, 48),
    (0x8B, "LONG4", "n4", False, 0, 1, 48),
    (0x8C, "SHORT_BINUNICODE", "n1", False, 0, 1, 72),
    (0x8D, "BINUNICODE8", "n8", False, 0, 1, 72),
    (0x8E, "BINBYTES8", "n8", False, 0, 1, 48),
    (0x8F, "EMPTY_SET", 0, False, 0, 1, 120),
    (0x90, "ADDITEMS", 0, True, 1, 1, 16),
    (0x91, "FROZENSET", 0, True, 0, 1, 120),
    (0x92, "NEWOBJ_EX", 0, False, 3, 1, 240),
    (0x93, "STACK_GLOBAL", 0, False, 2, 1, 280),
    (0x94, "MEMOIZE", 0, False, 1, 1, 136),
    (FRAME, "FRAME", 8, False, 0, 0, 0),
    (0x96, "BYTEARRAY8", "n8", False, 0, 1, 48),
    (0x97, "NEXT_BUFFER", 0, False, 0, 1, 8),
    (0x98, "READONLY_BUFFER", 0, False, 1, 1, 8),
)

OPCODES: Final = {row[0]: Opcode(*row) for row in _ROWS}
