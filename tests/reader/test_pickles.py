"""The pickle machine: what it yields, where a pickle ends, what it refuses, and its bounds."""

from __future__ import annotations

import collections
import contextlib
import datetime
import pickle
import pickletools
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornet_convert.checkpoint.inert import Call, Dict, Global, Set
from hornet_convert.checkpoint.pickle_stream import Stream, TooLargeError
from hornet_convert.checkpoint.pickles import MAX_MEMORY, Machine, Meaning
from hornet_convert.checkpoint.tensors import Storage
from hornet_convert.checkpoint.torch_objects import TorchMeaning
from hornet_convert.errors import FileRefusedError, MalformedError

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


class Answers(Meaning):
    """Takes every persistent id for what it stands for."""

    def persistent(self, pid: object) -> object:
        return pid


def stream(data: bytes) -> Stream:
    """Pickles in memory."""
    return Stream(lambda at, count: data[at : at + count], 0, len(data))


def machine(data: bytes) -> Machine:
    """A machine before the first opcode of a pickle."""
    return Machine(stream(data), Meaning(), MAX_MEMORY + len(data))


def read(data: bytes) -> object:
    """The value of a pickle."""
    return machine(data).run()


def same(item: object, other: object) -> bool:
    """Equal, and of equal types throughout."""
    if type(item) is not type(other):
        return False
    if isinstance(item, list | tuple) and isinstance(other, list | tuple):
        return len(item) == len(other) and all(map(same, item, other))
    if isinstance(item, dict) and isinstance(other, dict):
        return same(list(item.items()), list(other.items()))
    return repr(item) == repr(other) if isinstance(item, float) else item == other


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
        case Call(function=Global(module="_codecs", name="encode"), args=(str() as text, str(way))):
            return text.encode(way)
        case Call(function=Global(module="builtins" | "__builtin__", name="bytes")):
            return b""
        case _:
            return value


@settings(max_examples=200)
@given(values=st.lists(VALUES, min_size=1, max_size=3), protocol=st.integers(0, 5))
def test_plain_data_of_every_protocol(values: list[object], protocol: int) -> None:
    """Plain data comes out as it went in, one pickle behind the other."""
    data, position = stream(b"".join(pickle.dumps(value, protocol) for value in values)), 0
    for value in values:
        assert same(value, thawed(Machine(data, Meaning()).run()))
        position += len(pickle.dumps(value, protocol))
        assert position == data.tell()


@settings(max_examples=100)
@given(value=VALUES, protocol=st.integers(0, 5), data=st.data())
def test_every_cut_is_noticed(value: object, protocol: int, data: st.DataObject) -> None:
    """A pickle that ends early is cut off, not malformed in another way."""
    whole = pickle.dumps(value, protocol)
    with pytest.raises(MalformedError, match="ends within a pickle"):
        read(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_python_2_strings_are_text_if_they_can_be() -> None:
    """As torch.load decodes them; in protocol 0 with the escapes of repr()."""
    for form in (b"U\x03%b.", b"T\x03\0\0\0%b."):
        assert "a\xe9" == read(form % b"a\xc3\xa9")
        assert b"a\xff\xe9" == read(form % b"a\xff\xe9")
    assert "it's\n" == read(b'S"it\'s\\n"\n.')
    assert b"\xff\\" == read(b"S'\\xff\\\\'\n.")


def test_foreign_objects_become_descriptions() -> None:
    """Instances and calls are recorded with arguments, elements, items and state."""
    stamp = read(pickle.dumps(datetime.date(2022, 9, 15), 2))
    assert isinstance(stamp, Call)
    assert ("datetime.date", "called") == (stamp.type_name, stamp.way)
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


def test_attributes_of_a_dict_are_those_of_every_state() -> None:
    """Each state adds to those before, as it is when it is given."""
    ordered = b"ccollections\nOrderedDict\n)R"
    first, second = b"}q\0K\1K\2s", b"}X\1\0\0\0bK\4s"
    states = first.replace(b"K\1", b"X\1\0\0\0a") + b"b" + second + b"b"
    body = ordered + b"q\1" + states + b"0h\0X\1\0\0\0cK\5s0h\1."
    done = Machine(stream(body), TorchMeaning(5, lambda found: Storage(0, 0))).run()
    assert isinstance(done, Dict)
    assert done.state is not None
    assert {"a": 2, "b": 4} == dict(done.state.items())


def test_names_and_their_use_are_noted() -> None:
    """Each name appears once, with the most that is done to it; it may hold spaces."""
    data = b"\x80\x02cos\nsystem\n0cos\nsystem\n(X\x01\0\0\0xtR0ca\nb\n)\x810ca c\n\xc3\xa9 d\n."
    done = machine(data)
    done.run()
    assert {"os.system": "called", "a.b": "built", "a c.é d": "named"} == done.globals_used


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
        (b"N\x86.", "stack runs empty"),
        (b"N(a.", "stack runs empty"),
        (b"q\0.", "stack runs empty"),
        (b"t.", "without one"),
        (b"(N00t.", "without one"),
        (b"h\0.", "memo"),
        (b"g9\n.", "memo"),
        (b"Np-1\n.", "negative"),
        (b"Np4294967296\n.", "too large place"),
        (b"\xff.", "not a pickle opcode"),
        (b"\x80\x06N.", "protocol 6"),
        *(
            (b"%b\n." % line, "invalid integer")
            for line in (
                b"I12x|I1_0|I010|I+1|I 1|I1 |I0x1|I-0|I|I1\0|I000|L|L010L|L1LL|L0x6L|g01|Np01"
            ).split(b"|")
        ),
        *((b"F%b\n." % line, "invalid number") for line in (b"x", b"1_0", b" 1", b"1e", b"")),
        (b"Sabc\n.", "without its quotes"),
        (b"S'a\\101'\n.", "or escapes"),
        (b"X\x01\0\0\0\xff.", "not utf-8"),
        (b"V\\u12\n.", "not raw-unicode-escape"),
        (b"NNa.", "other than a list"),
        (b"NNNs.", "other than a dict"),
        (b"}(Nu.", "no value"),
        (b"N(N\x90.", "other than a set"),
        (b"(\x91(N\x90.", "other than a set"),
        (b"NNR.", "not a tuple"),
        (b"N)R.", "cannot be called"),
        (b"(o.", "cannot be called"),
        (b"NNb.", "has none"),
        (b"}}b.", "has none"),
        (b"KxNN\x93.", "not text"),
        (b"NQ.", "outside the pickle"),
        (b"Px\n.", "outside the pickle"),
        (b"\x97.", "buffer"),
        (b"N\x98.", "buffer"),
        (b"\x95" + b"\xff" * 8 + b"N.", "ends within"),
    ],
)
def test_nonsense_is_refused(data: bytes, words: str) -> None:
    """Each way of being no pickle has its own sentence, and a position."""
    with pytest.raises(MalformedError) as error:
        read(data)
    assert words in error.value.message
    assert "byte " in (error.value.where or "")


@pytest.mark.parametrize(
    "data",
    [
        b"L" + b"9" * 5_000 + b"L\n.",
        b"I" + b"9" * 5_000 + b"\n.",
        b"\x8b" + (5_000).to_bytes(4, "little") + b"\xff" * 5_000 + b".",
        b"g" + b"9" * 5_000 + b"\n.",
        b"c" + b"a" * 100_000 + b"\nb\n.",
        b"V" + b"a" * 100_000 + b"\n.",
        b"N0" * 1_100_000 + b"N.",
        b"(ia\nb\n0" * 400_000 + b".",
        b"(" * 1_000_000 + b".",
    ],
    ids=["LONG", "INT", "LONG4", "GET", "GLOBAL", "UNICODE", "opcodes", "objects", "marks"],
)
def test_everything_is_bounded(data: bytes) -> None:
    """Long numbers and lines, and more opcodes or objects than a file of that size may have."""
    with pytest.raises(TooLargeError):
        read(data)


@pytest.mark.parametrize("size", [1 << 10, 1 << 40])
@pytest.mark.parametrize("code", [b"X", b"T", b"B", b"\x8b", b"\x8d", b"\x8e", b"\x96"])
def test_a_claim_is_not_believed(code: bytes, size: int) -> None:
    """A string of gigabytes is refused unread, also in a (sparse) file that has as many bytes."""

    def no_more(at: int, count: int) -> bytes:
        assert count <= 1 << 20
        return (code + b"\xff\xff\xff\x7f\0\0\0\0").ljust(count, b"\0")

    with pytest.raises(MalformedError, match=r"ends within|too large"):
        Machine(Stream(no_more, 0, size), Meaning()).run()


def test_wide_text_is_counted_before_it_is_made() -> None:
    """One wide character makes all of a text four bytes wide."""
    raw = b"x" * (40 << 20) + "\U0001f600".encode()
    data = b"X" + len(raw).to_bytes(4, "little") + raw + b"."
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        read(data)
    assert tracemalloc.get_traced_memory()[1] < 2 * len(raw)
    tracemalloc.stop()


def test_names_put_together_are_counted() -> None:
    """Long parts that are shared make many long names, a chain of getattr ever longer ones."""
    parts = b"".join(b"V" + b"%06d" % i * 10_000 + b"\nr" + bytes((i, 1, 0, 0)) for i in range(99))
    pairs = (
        b"j" + bytes((a, 1, 0, 0)) + b"j" + bytes((b, 1, 0, 0))
        for a in range(99)
        for b in range(99)
    )
    chain = (
        b"cbuiltins\ngetattr\nq\x03ca\nb\n" + b"q\x04h\x03h\x04V" + b"a" * 60_000 + b"\nq\x01\x86R"
    )
    chain += b"q\x04h\x03h\x04h\x01\x86R" * 5_000
    for data in (parts + b"\x93".join(pairs), chain):
        with pytest.raises(TooLargeError):
            read(data + b".")


def test_a_large_memo_index_is_only_a_number() -> None:
    """LONG_BINPUT at 2^32 - 1 takes no room for the places before it."""
    tracemalloc.start()
    assert read(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.") is None
    assert tracemalloc.get_traced_memory()[1] < 1 << 16
    tracemalloc.stop()


UNITS = (
    *(b"]", b"}", b")", b"N", b"\x8f", b"K\x01", b"J\xff\xff\xff\x7f", b"U\x01a", b"I9999\n"),
    *(b"G" + b"\x01" * 8, b"NQ", b"N\x85", b"](NNe", b"}(NNu", b"(NNd", b"\x8f(N\x90", b"N\x94"),
    *(b"h\x01)R", b"h\x01)\x81", b"h\x01)R}b", b"ca\nb\n", b"(ia\nb\n", b"M\x01\x01", b"("),
)


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_the_count_of_memory_is_an_upper_estimate(unit: bytes) -> None:
    """No opcode leaves more in memory than is counted for it."""
    data = b"cx\ny\nq\x01" + unit * 5000 + b"N."
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    done = Machine(stream(data), Answers())
    done.run()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used <= MAX_MEMORY - done.memory + 50_000


OPCODES = [op.code.encode("latin-1") for op in pickletools.opcodes]
PIECES = st.lists(
    st.sampled_from(OPCODES)
    | st.sampled_from([b"(", b")", b"]", b"}", b"N", b"K\x01", b"q\0", b"h\0", b"X\x01\0\0\0a"])
    | st.sampled_from([b"cos\nsystem\n", b"R", b"b", b"t", b"u", b"e", b"s", b"a", b"\x93", b"o"])
    | st.binary(max_size=4),
    max_size=25,
)


@settings(max_examples=1000)
@given(pieces=PIECES)
def test_any_opcodes_are_refused_or_read(pieces: list[bytes]) -> None:
    """Arbitrary bytes end in a value or in a refusal, never in another exception."""
    with contextlib.suppress(FileRefusedError):
        read(b"".join(pieces) + b".")
