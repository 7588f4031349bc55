"""Tensors are views of storages: each is checked against real bytes before it is made."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from hornet_convert.checkpoint.inert import Call
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.errors import MalformedError
from tests.reader.assemble import call, items, named, storage, tensor, text, zip_file
from tests.reader.reading import read

VALUES = struct.pack("<6f", *range(6))


def test_a_size_claim_of_the_pickle_is_checked(path: Path) -> None:
    """Two different claims about one storage are refused, whichever comes first."""
    weights = items(
        (text("a"), tensor(storage("0", 6), (6,), (1,))),
        (text("b"), tensor(storage("0", 12, "torch\nHalfStorage"), (12,), (1,))),
    )
    path.write_bytes(zip_file(weights, {"0": VALUES}))
    with pytest.raises(MalformedError, match="two conflicting records"):
        read(path)


OUT_OF_BOUNDS: dict[str, Callable[[], bytes]] = {
    "one element too many": lambda: tensor(storage("0", 6), (7,), (1,)),
    "offset": lambda: tensor(storage("0", 6), (6,), (1,), first=1),
    "stride": lambda: tensor(storage("0", 6), (3,), (3,)),
    "huge stride": lambda: tensor(storage("0", 6), (2,), (1 << 62,)),
    "huge offset": lambda: tensor(storage("0", 6), (1,), (1,), first=1 << 62),
    "huge shape": lambda: tensor(storage("0", 6), (1 << 40, 1 << 40), (1 << 40, 1)),
    "negative offset": lambda: tensor(storage("0", 6), (2,), (1,), first=-1),
    "negative stride": lambda: tensor(storage("0", 6), (2,), (-1,), first=5),
    "negative shape": lambda: tensor(storage("0", 6), (-2,), (1,)),
    "beyond 64 bits": lambda: tensor(storage("0", 6), (1 << 64,), (0,)),
    "rank mismatch": lambda: tensor(storage("0", 6), (2, 3), (1,)),
    "too many axes": lambda: tensor(storage("0", 6), (1,) * 65, (1,) * 65),
    "no tuple": lambda: tensor(storage("0", 6), (), ()).replace(b"(t(t", b"N(t"),
    "negative count": lambda: tensor(storage("0", -6), (6,), (1,)),
    "huge count": lambda: tensor(storage("0", 1 << 62), (6,), (1,)),
    "flags": lambda: tensor(storage("0", 6), (6,), (1,), flags=b"K\x01"),
    "unknown storage type": lambda: tensor(storage("0", 6, "torch\nXStorage"), (6,), (1,)),
    "storage type of a stranger": lambda: tensor(storage("0", 6, "os\nFloatStorage"), (6,), (1,)),
    "an element set": lambda: tensor(storage("0", 6), (6,), (1,)) + b"K\x01K\x2as",
    "a key with NUL": lambda: tensor(storage("0\0", 6), (6,), (1,)),
    "an integer key": lambda: tensor(storage("0", 6).replace(text("0"), b"K\0"), (6,), (1,)),
    "a parameter without its flags": lambda: call(
        named("torch._utils", "_rebuild_parameter"), tensor(storage("0", 6), (6,), (1,))
    ),
    "attributes that are a text": lambda: call(
        named("torch._utils", "_rebuild_parameter_with_state"),
        *(tensor(storage("0", 6), (6,), (1,)), b"\x88", b"N", text("b")),
    ),
    "no storage": lambda: tensor(b"N", (6,), (1,)),
    "missing key": lambda: tensor(storage("1", 6), (6,), (1,)),
    "key out of its folder": lambda: tensor(storage("../data/0", 6), (6,), (1,)),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_tensors_beyond_their_storage_are_refused(name: str, path: Path) -> None:
    """Offsets, shapes and strides are checked against real bytes, the key in work is named."""
    body = items((text("stem.0.weight"), OUT_OF_BOUNDS[name]()))
    path.write_bytes(zip_file(body, {"0": VALUES}))
    with pytest.raises(MalformedError) as error:
        read(path)
    assert "byte " in (error.value.where or "")


def test_strange_but_sound_views_are_read(path: Path) -> None:
    """Overlapping, expanded and empty views inside the storage are copied out rightly."""
    body = items(
        (text("overlapping"), tensor(storage("0", 6), (3, 2), (1, 1))),
        (text("expanded"), tensor(storage("0", 6), (2, 2), (0, 1), first=4)),
        (text("empty, far off"), tensor(storage("0", 6), (0, 1 << 40), (1, 1), first=1 << 50)),
        (text("scalar"), tensor(storage("0", 6), (), (), first=5)),
        (text("ones"), tensor(storage("0", 6), (1, 1), (1 << 60, 1 << 60), first=2)),
        (text("far"), tensor(storage("0", 6), (1, 2), ((1 << 63) - 1, 0), first=3)),
    )
    path.write_bytes(zip_file(body, {"0": VALUES}))
    found = read(path)
    floats = {name: struct.unpack(f"<{len(raw) // 4}f", raw) for name, raw in found.items()}
    assert {
        "overlapping": (0, 1, 1, 2, 2, 3),
        "expanded": (4, 5, 4, 5),
        "empty, far off": (),
        "scalar": (5,),
        "ones": (2,),
        "far": (3, 3),
    } == floats


@pytest.mark.parametrize("once", [False, True], ids=["many tensors", "one with many names"])
@pytest.mark.parametrize("strides", [(0,), (1,)], ids=["expanded", "dense"])
def test_what_tensors_take_written_out_is_bounded_by_the_file(
    strides: tuple[int], once: bool, path: Path
) -> None:
    """Four times the file and 1 MiB, for all together, whether elements or names repeat."""
    values = bytes(1 << 20)
    whole = tensor(storage("0", 1 << 18), (1 << 18,), strides)
    for count in (4, 6):
        weights = ((text(f"w{i}"), b"h\x05" if once else whole) for i in range(count))
        path.write_bytes(zip_file(whole + b"q\x05" + items(*weights), {"0": values}))
        if count == 4:
            open_checkpoint(path).close()
        else:
            with pytest.raises(MalformedError, match="repeat their elements too often"):
                open_checkpoint(path)


def test_copies_of_one_dict_are_counted_as_memory(path: Path) -> None:
    """A list of pairs handed to many dicts, for a few bytes each, is copied each time."""
    pairs = b"](" + (text("k") + b"N\x86") * 10_000 + b"e"
    function = named("collections", "OrderedDict") + b"q\x01"
    copies = b"h\x01h\x02R0" * 10_000
    path.write_bytes(zip_file(function + pairs + b"\x85q\x02R" + copies + b"N", {}))
    with pytest.raises(MalformedError, match="too many objects"):
        open_checkpoint(path)


def test_rebuilding_nested_without_end_is_foreign(path: Path) -> None:
    """A call whose arguments are the same call's, thousands deep, is followed nowhere."""
    function = named("torch._tensor", "_rebuild_from_type_v2") + b"q\x010)q\x020"
    deeper = b"(h\x01Nh\x02Ntq\x020" * 3000
    path.write_bytes(zip_file(function + deeper + b"h\x01h\x02R", {}))
    with open_checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, Call)
