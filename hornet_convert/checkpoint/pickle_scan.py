"""A walk over a pickle that builds nothing: where it ends, and whether it is in bounds.

Only what passes this is carried out. So the machine in `pickles.py` never meets a cut argument, a
stack that runs empty, or more of anything than the limits here.
"""

from __future__ import annotations

from typing import Final

from hornet_convert.checkpoint.opcodes import FRAME, MARK, OPCODES, POP, STOP
from hornet_convert.errors import MalformedError

MAX_OPCODES: Final = 2_000_000
MAX_STACK: Final = 1_000_000
MAX_MARKS: Final = 10_000
MAX_STRING: Final = 256 << 20  # bytes
MAX_INTEGER: Final = 1024  # bytes, or digits where written as text
MAX_LINE: Final = 64 << 10  # bytes of a text argument
MAX_MEMORY: Final = 64 << 20  # bytes of objects, beyond the size of the file

# (length if it is fixed, itself included, else 0; marked; pops; pushes; cost) by opcode.
_ROWS = [
    (
        1 + op.argument if isinstance(op.argument, int) and code != FRAME else 0,
        op.marked,
        op.pops,
        op.pushes,
        op.cost,
    )
    if (op := OPCODES.get(code)) is not None
    else (0, False, 0, 0, 0)
    for code in range(256)
]
_SHORT = frozenset(OPCODES[ord(c)].code for c in "FILPgp")  # lines that hold a number or an id
_INTEGERS = frozenset((0x8A, 0x8B))


class TruncatedError(MalformedError):
    """The data ends within the pickle. `need` is how many bytes it must hold at least."""

    def __init__(self, need: int) -> None:
        super().__init__("the pickle is cut off", expected=f"at least {need} bytes of it")
        self.need = need


def scan(data: bytes, start: int, file_size: int) -> int:
    """Position after the pickle that starts at `start`.

    Raises TruncatedError if `data` ends first, MalformedError for everything that no unpickler
    would accept or that is beyond the limits. Time and memory are linear in its length.
    """
    pos, depth, floor, opcodes, cost = start, 0, 0, 0, 0
    marks: list[int] = []
    cost_limit = MAX_MEMORY + file_size
    size, rows = len(data), _ROWS
    while True:
        if pos >= size:
            raise TruncatedError(pos + 1)
        op = data[pos]
        at = pos
        length, marked, pops, pushes, price = rows[op]
        pos += length or _variable_length(data, pos, op)
        opcodes += 1
        cost += price
        if marked:
            if not marks:
                raise MalformedError(
                    "the pickle takes a mark off a stack without one", where=_at(at)
                )
            depth = marks.pop()
            floor = marks[-1] if marks else 0
        depth -= pops
        if depth < floor:
            if op != POP or not marks:
                raise MalformedError("the pickle's stack runs empty", where=_at(at))
            depth = marks.pop()  # POP on a mark takes the mark
            floor = marks[-1] if marks else 0
        depth += pushes
        if op == STOP:
            return pos
        if op == MARK:
            marks.append(depth)
            floor = depth
            if len(marks) > MAX_MARKS:
                raise _beyond("marks nested within each other", MAX_MARKS, at)
        if depth > MAX_STACK:
            raise _beyond("values on the stack", MAX_STACK, at)
        if opcodes > MAX_OPCODES:
            raise _beyond("opcodes", MAX_OPCODES, at)
        if cost > cost_limit:
            raise _beyond("bytes of objects", cost_limit, at)


def _variable_length(data: bytes, pos: int, op: int) -> int:
    """Length of an opcode with a text or counted argument, itself included."""
    row = OPCODES.get(op)
    if row is None:
        raise MalformedError(f"not a pickle opcode: 0x{op:02x}", where=_at(pos))
    if op == FRAME:
        _counted(data, pos, 8, MAX_STRING)
        return 9
    argument = str(row.argument)
    if argument.startswith("n"):
        width = int(argument[1:])
        limit = MAX_INTEGER if op in _INTEGERS else MAX_STRING
        return 1 + width + _counted(data, pos, width, limit)
    limit = MAX_INTEGER if op in _SHORT else MAX_LINE
    end = pos + 1
    for _ in range(2 if argument == "lines" else 1):
        newline = data.find(b"\n", end, end + limit)
        if newline < 0:
            if len(data) < end + limit:
                raise TruncatedError(len(data) + 1)
            raise _beyond(f"bytes in the text argument of {row.name}", limit, pos)
        end = newline + 1
    return end - pos


def _counted(data: bytes, pos: int, width: int, limit: int) -> int:
    """The count before an argument; the data must hold that many bytes after it."""
    start = pos + 1 + width
    if len(data) < start:
        raise TruncatedError(start)
    count = int.from_bytes(data[pos + 1 : start], "little")
    if count > limit:
        raise _beyond(f"bytes in the argument of {OPCODES[data[pos]].name}", limit, pos)
    if len(data) < start + count:
        raise TruncatedError(start + count)
    return count


def _beyond(what: str, limit: int, pos: int) -> MalformedError:
    return MalformedError(
        f"the pickle has too many {what}", where=_at(pos), expected=f"at most {limit}"
    )


def _at(pos: int) -> str:
    return f"byte {pos} of the pickle"
