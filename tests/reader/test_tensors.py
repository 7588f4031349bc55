"""Tensors are views of storages: each is checked against real bytes before it is made."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from hornet_convert.checkpoint.inert import Call
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import MalformedError
from tests.reader.assemble import Zip, items, named, storage, tensor, text, zip_entries

VALUES = struct.pack("<6f", *range(6))


def read(path: Path) -> dict[str, bytes]:
    """The bytes of every tensor."""
    with open_checkpoint(path) as checkpoint:
        tensors = select_state_dict(checkpoint.root).tensors
        return {name: checkpoint.read(tensor).tobytes() for name, tensor in tensors.items()}


def test_a_size_claim_of_the_pickle_is_checked(tmp_path: Path) -> None:
    """Two different claims about one storage are refused, whichever comes first."""
    weights = items(
        (text("a"), tensor(storage("0", 6), (6,), (1,))),
        (text("b"), tensor(storage("0", 12, "torch\nHalfStorage"), (12,), (1,))),
    )
    path = tmp_path / "x.pth"
    path.write_bytes(Zip(zip_entries(weights, {"0": VALUES})).build())
    with pytest.raises(MalformedError, match="two claims"):
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
    "2^40 elements of stride 0": lambda: tensor(storage("0", 6), (1 << 40,), (0,)),
    "no tuple": lambda: tensor(storage("0", 6), (), ()).replace(b"(t(t", b"N(t"),
    "negative count": lambda: tensor(storage("0", -6), (6,), (1,)),
    "huge count": lambda: tensor(storage("0", 1 << 62), (6,), (1,)),
    "flags": lambda: tensor(storage("0", 6), (6,), (1,), flags=b"K\x01"),
    "unknown storage type": lambda: tensor(storage("0", 6, "torch\nXStorage"), (6,), (1,)),
    "storage type of a stranger": lambda: tensor(storage("0", 6, "os\nFloatStorage"), (6,), (1,)),
    "no storage": lambda: tensor(b"N", (6,), (1,)),
    "missing key": lambda: tensor(storage("1", 6), (6,), (1,)),
    "key out of its folder": lambda: tensor(storage("../data/0", 6), (6,), (1,)),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_tensors_beyond_their_storage_are_refused(name: str, tmp_path: Path) -> None:
    """Offsets, shapes and strides are checked against real bytes, the key in work is named."""
    body = items((text("stem.0.weight"), OUT_OF_BOUNDS[name]()))
    path = tmp_path / "x.pth"
    path.write_bytes(Zip(zip_entries(body, {"0": VALUES})).build())
    with pytest.raises(MalformedError) as error:
        read(path)
    assert "byte " in (error.value.where or "")


def test_strange_but_sound_views_are_read(tmp_path: Path) -> None:
    """Overlapping, expanded and empty views inside the storage are copied out rightly."""
    body = items(
        (text("overlapping"), tensor(storage("0", 6), (3, 2), (1, 1))),
        (text("expanded"), tensor(storage("0", 6), (2, 2), (0, 1), first=4)),
        (text("empty, far off"), tensor(storage("0", 6), (0, 1 << 40), (1, 1), first=1 << 50)),
        (text("scalar"), tensor(storage("0", 6), (), (), first=5)),
        (text("ones"), tensor(storage("0", 6), (1, 1), (1 << 60, 1 << 60), first=2)),
        (text("far"), tensor(storage("0", 6), (1, 2), ((1 << 63) - 1, 0), first=3)),
    )
    path = tmp_path / "x.pth"
    path.write_bytes(Zip(zip_entries(body, {"0": VALUES})).build())
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


def test_expanded_tensors_are_bounded_together(tmp_path: Path) -> None:
    """Each alone is small enough; what all would take written out counts, within it or not."""
    path = tmp_path / "x.pth"
    million = tensor(storage("0", 6), (1 << 20,), (0,))  # 4 MiB
    for count in (16, 17):
        body = items(*((text(f"w{i}"), million) for i in range(count)))
        path.write_bytes(Zip(zip_entries(body, {"0": VALUES})).build())
        if count == 16:
            with open_checkpoint(path) as checkpoint:
                assert 16 == len(select_state_dict(checkpoint.root).tensors)
        else:
            with pytest.raises(MalformedError, match="repeat their elements"):
                open_checkpoint(path)


def test_views_that_repeat_nothing_are_not_counted(tmp_path: Path) -> None:
    """Many tensors over one storage, as tied weights are, take no part in that sum."""
    values = bytes(4 << 20)
    whole = tensor(storage("0", 1 << 20), (1 << 10, 1 << 10), (1, 1 << 10))
    body = items(*((text(f"w{i}"), whole) for i in range(40)))
    path = tmp_path / "x.pth"
    path.write_bytes(Zip(zip_entries(body, {"0": values})).build())
    with open_checkpoint(path) as checkpoint:
        assert 40 == len(select_state_dict(checkpoint.root).tensors)


def test_rebuilding_nested_without_end_is_foreign(tmp_path: Path) -> None:
    """A call whose arguments are the same call's, thousands deep, is followed nowhere."""
    function = named("torch._tensor", "_rebuild_from_type_v2") + b"q\x010)q\x020"
    deeper = b"(h\x01Nh\x02Ntq\x020" * 3000
    path = tmp_path / "x.pth"
    path.write_bytes(Zip(zip_entries(function + deeper + b"h\x01h\x02R", {})).build())
    with open_checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, Call)
