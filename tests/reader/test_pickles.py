"""The pickle machine: what it yields, where a pickle ends, and what it refuses."""

from __future__ import annotations

import collections
import datetime
import pickle
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornet_convert.checkpoint.inert import Call, Dict, Global, Set
from hornet_convert.checkpoint.opcodes import OPCODES
from hornet_convert.checkpoint.pickle_scan import TruncatedError, scan
from hornet_convert.checkpoint.pickles import Machine, Meaning
from hornet_convert.errors import FileRefusedError, MalformedError
from tests.reader.examples import examples

SCALARS = (
    st.sampled_from([None, True, False, 2**300, -(2**600), 0, -1, 255, 65536, 2**31, -(2**31)])
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "é\n\\", "x" * 300, "\0'"])
    | st.binary(max_size=8)
)
KEYS = st.text(max_size=3) | st.integers() | st.tuples(st.booleans(), st.binary(max_size=2))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.sets(KEYS, max_size=3)
        | st.frozensets(KEYS, max_size=3)
    ),
    max_leaves=12,
)


def same(one: object, other: object) -> bool:
    """Equal, and of equal types throughout."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return same(list(one.items()), list(other.items()))
    return repr(one) == repr(other) if isinstance(one, float) else one == other


def read(data: bytes) -> object:
    """Scan a pickle and carry it out."""
    assert len(data) == scan(data, 0, len(data))
    return Machine(data, 0, Meaning()).run()


def thawed(value: object) -> Any:
    """The Python value that an inert one describes, where it describes plain data."""
    match value:
        case list():
            return [thawed(part) for part in value]
        case tuple():
            return tuple(thawed(part) for part in value)
        case Dict():
            return {thawed(key): thawed(part) for key, part in value.items()}
        case Set():
            made = (thawed(part) for part in value.elements)
            return frozenset(made) if value.frozen else set(made)
        case Call(function=Global(module="builtins" | "__builtin__", name="set")):
            return set(thawed(value.args[0]))
        case Call(function=Global(module="builtins" | "__builtin__", name="frozenset")):
            return frozenset(thawed(value.args[0]))
        case Call(function=Global(module="_codecs", name="encode"), args=(str() as text, str(how))):
            return text.encode(how)
        case Call(function=Global(module="builtins" | "__builtin__", name="bytes")):
            return b""
        case _:
            return value


@examples(200)
@given(value=VALUES, protocol=st.integers(0, 5))
def test_plain_data_of_every_protocol(value: object, protocol: int) -> None:
    """Plain data comes out as it went in, at any protocol."""
    assert same(value, thawed(read(pickle.dumps(value, protocol))))


@examples(50)
@given(values=st.lists(VALUES, min_size=2, max_size=4), protocol=st.integers(0, 5))
def test_the_end_of_each_of_several_pickles(values: list[object], protocol: int) -> None:
    """Pickles back to back are told apart."""
    data, position = b"".join(pickle.dumps(value, protocol) for value in values), 0
    for value in values:
        start, position = position, scan(data, position, len(data))
        assert pickle.dumps(value, protocol) == data[start:position]
    assert len(data) == position


@examples(100)
@given(value=VALUES, protocol=st.integers(0, 5), data=st.data())
def test_every_cut_is_noticed(value: object, protocol: int, data: st.DataObject) -> None:
    """A pickle that ends early asks for more than is there, never for nothing."""
    whole = pickle.dumps(value, protocol)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(TruncatedError) as error:
        scan(whole[:cut], 0, cut)
    assert cut < error.value.need <= len(whole)


def test_every_opcode_is_known() -> None:
    """The table has exactly the opcodes of pickletools, with their stack effects."""
    import pickletools

    assert {op.name: ord(op.code) for op in pickletools.opcodes} == {
        row.name: code for code, row in OPCODES.items()
    }
    for op in pickletools.opcodes:
        mine = OPCODES[ord(op.code)]
        assert (pickletools.markobject in op.stack_before) == mine.marked, op.name


def test_foreign_objects_become_descriptions() -> None:
    """Instances and calls are recorded with arguments, elements, items and state."""
    stamp = read(pickle.dumps(datetime.date(2022, 9, 15), 2))
    assert isinstance(stamp, Call)
    assert ("datetime.date", "called") == (stamp.type_name, stamp.how)
    counter = read(pickle.dumps(collections.defaultdict(list, {"a": [1]}), 2))
    assert isinstance(counter, Call)
    assert counter.pairs is not None
    assert [("a", [1])] == list(counter.pairs.items())
    queue = read(pickle.dumps(collections.deque([1, 2], 5), 4))
    assert isinstance(queue, Call)
    assert [1, 2] == queue.elements
    error = read(pickle.dumps(ValueError("x"), 2))
    assert isinstance(error, Call)
    assert ("x",) == error.args


def test_names_and_their_use_are_noted() -> None:
    """Each name appears once, with the most that is done to it."""
    data = b"\x80\x02cos\nsystem\n0cos\nsystem\n(X\x01\0\0\0xtR0ca\nb\n)\x810cc\nd\n."
    machine = Machine(data, 0, Meaning())
    machine.run()
    assert {"os.system": "called", "a.b": "built", "c.d": "named"} == machine.globals_used


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02]q\0h\0a.",  # a list in itself
        b"\x80\x02}q\0X\x01\0\0\0ah\0s.",  # a dict in itself
        b"\x80\x02(]q\0h\0h\0tq\x01h\x01.",
        b"cx\ny\nq\0)R(h\0tR.",  # a call of a call
        b"\x80\x02]q\0(h\0tq\x01h\0h\x01a.",
    ],
)
def test_self_reference_is_data(data: bytes) -> None:
    """A structure that contains itself is built without following it."""
    assert read(data) is not None


def test_sharing_is_kept_and_not_multiplied() -> None:
    """A billion-laughs pickle stays as small as it is written."""
    data = (
        b"]q\0"
        + b"".join(
            b"](" + b"h" + bytes((i,)) * 1 + (b"h" + bytes((i,))) * 9 + b"eq" + bytes((i + 1,))
            for i in range(100)
        )
        + b"."
    )
    tracemalloc.start()
    read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_deep_nesting_needs_no_recursion() -> None:
    """Nine thousand lists within each other are built, described and freed."""
    depth = 9_000
    value = read(b"](" * 1 + b"](" * (depth - 1) + b"e" * depth + b".")
    for _ in range(depth - 1):
        assert isinstance(value, list)
        value = value[0]
    assert [] == value
    tuples = read(b")" + b"\x85" * 100_000 + b".")
    del tuples


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b".", "stack runs empty"),
        (b"0.", "stack runs empty"),
        (b"(.", "stack runs empty"),
        (b"t.", "without one"),
        (b"(N00t.", "without one"),
        (b"N(a.", "stack runs empty"),
        (b"q\0.", "stack runs empty"),
        (b"h\0.", "memo"),
        (b"g9\n.", "memo"),
        (b"Np-1\n.", "negative"),
        (b"\xff.", "not a pickle opcode"),
        (b"\x80\x06N.", "protocol 6"),
        (b"I12x\n.", "integer that is none"),
        (b"I1_0\n.", "integer that is none"),
        (b"L\n.", "integer that is none"),
        (b"Fx\n.", "number that is none"),
        (b"Sabc\n.", "without its quotes"),
        (b"X\x01\0\0\0\xff.", "not UTF-8"),
        (b"V\\u12\n.", "broken escape"),
        (b"NNa.", "no list"),
        (b"NNNs.", "no dict"),
        (b"}(Nu.", "no value"),
        (b"N(N\x90.", "no set"),
        (b"(\x91(N\x90.", "no set"),
        (b"NNR.", "not a tuple"),
        (b"N)R.", "cannot be called"),
        (b"(o.", "no class"),
        (b"NNb.", "has none"),
        (b"KxNN\x93.", "not text"),
        (b"NQ.", "outside the pickle"),
        (b"Px\n.", "outside the pickle"),
        (b"\x97.", "buffer"),
        (b"N\x98.", "buffer"),
    ],
)
def test_nonsense_is_refused(data: bytes, words: str) -> None:
    """Each way of being no pickle has its own sentence, and a position."""
    with pytest.raises(MalformedError) as error:
        read(data)
    assert words in error.value.message
    assert "byte " in (error.value.where or "")


@examples(500)
@given(data=st.binary(max_size=60), tail=st.sampled_from([b".", b"N.", b""]))
def test_any_bytes_are_refused_or_read(data: bytes, tail: bytes) -> None:
    """Arbitrary bytes end in a value or in a refusal, never in another exception."""
    assert outcome(data + tail)


def outcome(data: bytes) -> str:
    """The message of the refusal, or the type of what was read."""
    try:
        return type(read(data[: scan(data, 0, len(data))])).__name__
    except FileRefusedError as error:
        return str(error)


OPCODE_BYTES = st.sampled_from(sorted(OPCODES)).map(lambda code: bytes((code,)))
PIECES = st.lists(
    OPCODE_BYTES
    | st.sampled_from([b"(", b")", b"]", b"}", b"N", b"K\x01", b"q\0", b"h\0", b"X\x01\0\0\0a"])
    | st.sampled_from([b"cos\nsystem\n", b"R", b"b", b"t", b"u", b"e", b"s", b"a", b"\x93", b"o"]),
    max_size=25,
)


@examples(1000)
@given(pieces=PIECES)
def test_any_opcodes_are_refused_or_read(pieces: list[bytes]) -> None:
    """Arbitrary sequences of opcodes end in a value or in a refusal."""
    assert outcome(b"".join(pieces) + b".")
