"""The bounds of the pickle reader: on claims, counts, numbers and memory."""

from __future__ import annotations

import io
import pickletools
import tracemalloc

import pytest

from hornet_convert.checkpoint.opcodes import OPCODES
from hornet_convert.checkpoint.pickle_scan import scan
from hornet_convert.checkpoint.pickles import Machine, Meaning
from hornet_convert.errors import MalformedError


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"L" + b"9" * 5_000 + b"L\n.", "LONG"),
        (b"I" + b"9" * 5_000 + b"\n.", "INT"),
        (b"\x8b" + (5_000).to_bytes(4, "little") + b"\xff" * 5_000 + b".", "LONG4"),
        (b"\x8b\xff\xff\xff\xff.", "LONG4"),
        (b"g" + b"9" * 5_000 + b"\n.", "GET"),
        (b"F" + b"9" * 5_000 + b"\n.", "FLOAT"),
        (b"c" + b"a" * 100_000 + b"\nb\n.", "GLOBAL"),
        (b"V" + b"a" * 100_000 + b"\n.", "UNICODE"),
        (b"X\xff\xff\xff\x7f.", "BINUNICODE"),
        (b"\x8d" + b"\xff" * 8 + b".", "BINUNICODE8"),
        (b"\x96" + b"\xff" * 8 + b".", "BYTEARRAY8"),
        (b"\x95" + b"\xff" * 8 + b"N.", "FRAME"),
        (b"(" * 20_000 + b".", "marks"),
    ],
)
def test_everything_is_bounded_before_anything_is_built(data: bytes, words: str) -> None:
    """Claims and counts beyond the limits are refused by the scan, which builds nothing."""
    tracemalloc.start()
    with pytest.raises(MalformedError) as error:
        scan(data, 0, len(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in error.value.message
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"N" * 1_100_000 + b".", "on the stack"),
        (b"N0" * 1_100_000 + b"N.", "opcodes"),
        (b"(ia\nb\n0" * 400_000 + b".", "bytes of objects"),
    ],
    ids=["stack", "opcodes", "objects"],
)
def test_counts_are_bounded(data: bytes, words: str) -> None:
    """A pickle of nothing but opcodes is refused by their number or their cost."""
    with pytest.raises(MalformedError) as error:
        scan(data, 0, len(data))
    assert words in error.value.message


def test_a_large_memo_index_is_only_a_number() -> None:
    """LONG_BINPUT at 2^32 - 1 takes no room for the places before it."""
    tracemalloc.start()
    data = b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff."
    scan(data, 0, len(data))
    assert Machine(data, 0, Meaning()).run() is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 16


def test_memo_indices_are_bounded() -> None:
    """Beyond 32 bits, indices can be chosen to collide in a hash table: quadratic time."""
    last = b"N" + b"p%d\n" % ((1 << 32) - 1) + b"."
    assert Machine(last, 0, Meaning()).run() is None
    for index in (1 << 32, (1 << 61) - 1, 3 * ((1 << 61) - 1)):
        with pytest.raises(MalformedError, match="memo"):
            Machine(b"N" + b"p%d\n" % index + b".", 0, Meaning()).run()


UNITS = (
    *(
        b"]",
        b"}",
        b")",
        b"N",
        b"\x8f",
        b"K\x01",
        b"J\xff\xff\xff\x7f",
        b"U\x01a",
        b"G" + b"\x01" * 8,
    ),
    *(b"h\x01)R", b"h\x01)\x81", b"N\x85", b"](NNe", b"}(NNu", b"NQ", b"h\x01)R}b", b"}}b"),
    *(b"ca\nb\n", b"(ia\nb\n", b"N\x94", b"I9999\n", b"(NNd", b"\x8f(N\x90"),
)


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_memory_stays_below_what_the_scan_counts(unit: bytes) -> None:
    """The cost table is an upper estimate of what carrying out each opcode leaves in memory."""

    class Answers(Meaning):
        def persistent(self, pid: object) -> object:
            return pid

    times = 20_000
    data = b"cx\ny\nq\x01" + unit * times + b"N."
    assert len(data) == scan(data, 0, len(data))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    machine = Machine(data, 0, Answers())
    machine.run()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    cost, position = 0, 0
    while position < len(unit):  # the scan's own cost of one unit
        row = OPCODES[unit[position]]
        cost += row.cost
        position += _length(unit, position)
    assert used <= times * cost + 100_000


def _length(data: bytes, position: int) -> int:
    ops = pickletools.genops(io.BytesIO(data[position:] + b"."))
    next(ops)
    return int(next(ops)[2] or 0)
