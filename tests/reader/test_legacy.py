"""The legacy container: five pickles and the storages, with every count checked."""

from __future__ import annotations

import os
import pickle
import struct
import time
from pathlib import Path

import pytest
import torch

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import (
    FileRefusedError,
    MalformedError,
    NotACheckpointError,
    UnsupportedError,
)
from tests.reader.assemble import (
    MAGIC,
    call,
    integer,
    items,
    legacy_file,
    named,
    pickled,
    row,
    storage,
    tensor,
    text,
)

VALUES = struct.pack("<6f", *range(6))
NONE = (b"N",)
BODY = items((text("w"), tensor(storage("0", 6, extra=NONE), (2, 3), (3, 1))))
SOUND = legacy_file(BODY, {"0": (6, VALUES)})


def read(path: Path) -> dict[str, bytes]:
    """The bytes of every tensor."""
    with open_checkpoint(path) as checkpoint:
        assert "legacy" == checkpoint.container
        tensors = select_state_dict(checkpoint.root).tensors
        return {name: checkpoint.read(tensor).tobytes() for name, tensor in tensors.items()}


def test_the_assembled_file_is_what_torch_writes(tmp_path: Path) -> None:
    """Torch itself reads the file that the other tests break."""
    path = tmp_path / "x.pth"
    path.write_bytes(SOUND)
    loaded = torch.load(path, weights_only=True)
    assert [[0, 1, 2], [3, 4, 5]] == loaded["w"].tolist()
    assert {"w": VALUES} == read(path)


def test_views_of_storages_as_torch_0_3_wrote_them(tmp_path: Path) -> None:
    """Part of a storage under a key of its own; torch agrees."""
    view = row(text("view"), integer(2), integer(4))
    body = items(
        (text("all"), tensor(storage("0", 6, extra=NONE), (6,), (1,))),
        (text("part"), tensor(storage("0", 6, extra=(view,)), (2, 2), (1, 2))),
    )
    path = tmp_path / "x.pth"
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}))
    loaded = torch.load(path, weights_only=True)
    assert [[2, 4], [3, 5]] == loaded["part"].tolist()
    assert {"all": VALUES, "part": struct.pack("<4f", 2, 4, 3, 5)} == read(path)
    beyond = row(text("view"), integer(3), integer(4))
    body = items((text("part"), tensor(storage("0", 6, extra=(beyond,)), (4,), (1,))))
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}))
    with pytest.raises(MalformedError, match="view reaches beyond"):
        read(path)
    other = row(text("view"), integer(1), integer(4))
    named_as_storage = row(text("0"), integer(2), integer(4))
    for views in ((view, other), (named_as_storage,)):
        wheres = [storage("0", 6, extra=(extra,)) for extra in views]
        body = items(*((text(f"w{i}"), tensor(w, (4,), (1,))) for i, w in enumerate(wheres)))
        path.write_bytes(legacy_file(body, {"0": (6, VALUES)}))
        with pytest.raises(MalformedError, match="two claims about one view"):
            read(path)
    body = items((text("part"), tensor(storage("0", 6, extra=(view,)), (5,), (1,))))
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}))
    with pytest.raises(MalformedError, match="reaches beyond its storage"):
        read(path)


def test_python_2_spellings(tmp_path: Path) -> None:
    """Byte strings for text, long integers, an OrderedDict made from pairs, integer keys."""

    def old(value: str) -> bytes:
        return b"U" + bytes((len(value),)) + value.encode()

    where = row(old("storage"), named("torch.cuda", "FloatStorage"), integer(7), old("cuda:0"))
    where = where[:-1] + b"L6L\nNtQ"
    hooks = call(named("collections", "OrderedDict"), b"]")
    parts = (where, integer(0), b"(L2L\nK\x03t", b"(K\x03K\x01t", b"I00\n", hooks)
    value = call(named("torch._utils", "_rebuild_tensor_v2"), *parts)
    body = call(named("collections", "OrderedDict"), b"](](" + old("w") + value + b"ee")
    path = tmp_path / "x.pth"
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}, keys=[7]))
    assert {"w": VALUES} == read(path)


def test_one_list_makes_one_dict(tmp_path: Path) -> None:
    """Python 2 made a list for each dict; one for many would be copied for a few bytes each."""
    path = tmp_path / "x.pth"
    function = named("collections", "OrderedDict") + b"q\x01"
    pair = text("k") + b"K\x01\x86"
    for body in (
        function + b"](" + pair + b"e\x85Rh\x01](" + pair + b"e\x85R\x86",
        function + b"]\x85q\x02Rh\x01h\x02R\x86",
    ):
        path.write_bytes(legacy_file(body, {}))
        with open_checkpoint(path) as checkpoint:
            assert isinstance(checkpoint.root, tuple)
    path.write_bytes(legacy_file(function + b"](" + pair + b"e\x85q\x02Rh\x01h\x02R\x86", {}))
    with pytest.raises(MalformedError, match="two dicts made from one list"):
        read(path)


def test_rebuild_tensor_of_torch_0_3_and_parameters(tmp_path: Path) -> None:
    """The forms of older torch: no flags, parameters as instances with a state."""
    where = storage("0", 6, extra=NONE)
    shape = b"(K\x02K\x03t", b"(K\x03K\x01t"
    plain = call(named("torch._utils", "_rebuild_tensor"), where, integer(0), *shape)
    body = items(
        (text("plain"), plain),
        (text("parameter"), call(named("torch.nn.parameter", "Parameter"), plain)),
        (
            text("old parameter"),
            call(named("torch.nn.parameter", "Parameter"), plain) + b"(\x88\x89}tb",
        ),
    )
    path = tmp_path / "x.pth"
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}))
    assert {"plain": VALUES, "parameter": VALUES, "old parameter": VALUES} == read(path)
    for state in (b"(NNNNt", b"}", b"(t"):
        path.write_bytes(legacy_file(items((text("w"), plain + state + b"b")), {"0": (6, VALUES)}))
        with pytest.raises(MalformedError):
            read(path)


HEAD = legacy_file(b"N", {}).removesuffix(pickled(b"N") + pickle.dumps([], 2))
OTHERS: tuple[object, ...] = ({"w": [1.0, 2.0]}, [1, 2], ("a",), MAGIC + 1)
BROKEN: dict[str, tuple[bytes, str]] = {
    "trailing junk": (SOUND + b"x", "follows the last storage"),
    "a second file behind": (SOUND + SOUND, "follows the last storage"),
    "another protocol": (legacy_file(BODY, {"0": (6, VALUES)}, protocol=1002), "unknown version"),
    "count too large": (legacy_file(BODY, {"0": (7, VALUES)}), "another size"),
    "count negative": (legacy_file(BODY, {"0": (-1, VALUES)}), "another size"),
    "count huge": (legacy_file(BODY, {"0": (1 << 62, VALUES)}), "another size"),
    "storage cut": (SOUND[:-1], "ends within a storage"),
    "storage's count cut": (SOUND[: -len(VALUES) - 3], "ends within a storage"),
    "storage never filled": (legacy_file(BODY, {}, keys=[]), "does not hold"),
    "keys empty, data there": (legacy_file(BODY, {"0": (6, VALUES)}, keys=[]), "does not hold"),
    "unknown key": (legacy_file(BODY, {"0": (6, VALUES)}, keys=["0", "1"]), "nothing refers to"),
    "doubled key": (legacy_file(BODY, {"0": (6, VALUES)}, keys=["0", "0"]), "twice"),
    "keys no list": (legacy_file(BODY, {"0": (6, VALUES)}, keys={"0": 1}), "no list"),
    "keys no names": (legacy_file(BODY, {"0": (6, VALUES)}, keys=[("0",)]), "nothing refers to"),
    "keys a list in itself": (HEAD + pickled(BODY) + b"]q\0h\0a." + VALUES, "nothing refers to"),
    "two claims": (
        legacy_file(
            items(
                (text("a"), tensor(storage("0", 6, extra=NONE), (6,), (1,))),
                (text("b"), tensor(storage("0", 3, extra=NONE), (3,), (1,))),
            ),
            {"0": (6, VALUES)},
        ),
        "two claims",
    ),
    "claim beyond the file": (
        legacy_file(
            items((text("w"), tensor(storage("0", 1 << 40, extra=NONE), (6,), (1,)))),
            {"0": (1 << 40, VALUES)},
        ),
        "ends within a storage",
    ),
    "zip's persistent id": (
        legacy_file(items((text("w"), tensor(storage("0", 6), (6,), (1,)))), {"0": (6, VALUES)}),
        "unknown kind of stored object",
    ),
    "persistent id of a stranger": (
        legacy_file(items((text("w"), row(text("file"), text("/etc/passwd")) + b"Q")), {}),
        "unknown kind of stored object",
    ),
    "persistent id in text": (legacy_file(b"Pstorage\n", {}), "unknown kind of stored object"),
    "storage in the keys": (
        HEAD + pickled(BODY) + pickled(storage("0", 6, extra=NONE)) + VALUES,
        "outside the pickle",
    ),
    "storage in the system information": (
        HEAD[:-3] + pickled(storage("0", 6, extra=NONE)) + pickled(BODY),
        "",
    ),
    "third pickle missing": (HEAD, "ends within its pickles"),
    "string that never ends": (
        HEAD + b"\x80\x02X\xff\xff\xff\x0f" + b"a" * 100,
        "ends within its pickles",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_contradictions_are_refused(name: str, tmp_path: Path) -> None:
    """Every way in which counts, keys and data disagree."""
    data, words = BROKEN[name]
    path = tmp_path / "x.pth"
    path.write_bytes(data)
    with pytest.raises(FileRefusedError) as error:
        read(path)
    assert words in error.value.message
    assert str(path) in (error.value.where or "")


@pytest.mark.parametrize(
    "place", ["magic number", "protocol version", "system information", "keys"]
)
@pytest.mark.parametrize(
    "payload",
    [
        b"cposix\nsystem\n(S'true'\ntR0",
        b"(S'true'\niposix\nsystem\n0",
        b"cposix\nsystem\n0",
        b"\x82\x010",
    ],
    ids=["called", "built", "named", "extension"],
)
def test_names_outside_the_object_are_refused(place: str, payload: bytes, tmp_path: Path) -> None:
    """A name in any of the four pickles around the object: torch.load would import it too."""
    parts = {
        "magic number": pickle.dumps(MAGIC, 2),
        "protocol version": pickle.dumps(1001, 2),
        "system information": pickle.dumps({"little_endian": True}, 2),
        "object": pickled(BODY),
        "keys": pickle.dumps(["0"], 2),
    }
    tail = struct.pack("<q", 6) + VALUES
    path = tmp_path / "x.pth"
    path.write_bytes(b"".join(parts.values()) + tail)
    assert {"w": VALUES} == read(path)
    parts[place] = parts[place][:2] + payload + parts[place][2:]
    path.write_bytes(b"".join(parts.values()) + tail)
    with pytest.raises(MalformedError, match="asks to import names") as error:
        read(path)
    assert place in error.value.message


def with_integer_keys(keys: list[int], listed: list[object]) -> bytes:
    """A legacy file with a storage of no elements for each key."""
    head = text("storage") + b"q\x05ctorch\nFloatStorage\nq\x06" + text("cpu") + b"q\x07000"
    stored = (b"(h\x05h\x06" + integer(key) + b"h\x07K\x00NtQ0" for key in keys)
    return (
        HEAD
        + pickled(head + b"".join(stored) + BODY)
        + pickle.dumps(listed, 2)
        + bytes(8 * len(keys))
        + struct.pack("<q", 6)
        + VALUES
    )


def test_integer_keys_of_one_hash(tmp_path: Path) -> None:
    """Multiples of 2^61 - 1 share a hash: as dict keys they would take minutes."""
    path = tmp_path / "x.pth"
    keys = [i * ((1 << 61) - 1) for i in range(-10_000, 10_000)]
    path.write_bytes(with_integer_keys(keys, [*keys, "0"]))
    start = time.process_time()
    assert {"w": VALUES} == read(path)
    assert time.process_time() - start < 5


def test_integer_and_text_keys_are_told_apart(tmp_path: Path) -> None:
    """7 and '7' are two storages, as they are in torch; messages show integers as such."""
    path = tmp_path / "x.pth"
    path.write_bytes(with_integer_keys([0, -300], [0, -300, "0"]))
    assert {"w": VALUES} == read(path)
    path.write_bytes(with_integer_keys([-7], [-7, -7, "0"]))
    with pytest.raises(MalformedError) as error:
        read(path)
    assert ("a storage stands in the file twice", "-7") == (error.value.what, error.value.found)


def test_every_beginning_of_a_file_is_refused(tmp_path: Path) -> None:
    """A cut file is refused, and from its first distinct bytes on called cut, not foreign."""
    path = tmp_path / "x.pth"
    for length in range(2, len(SOUND)):
        path.write_bytes(SOUND[:length])
        with pytest.raises(FileRefusedError) as error:
            read(path)
        assert length < 5 or isinstance(error.value, MalformedError)


def test_other_pickles_are_no_checkpoints(tmp_path: Path) -> None:
    """A pickle of any protocol that torch did not write is named as such and not run."""
    path = tmp_path / "x.pkl"
    for protocol in range(6):
        for value in OTHERS:
            path.write_bytes(pickle.dumps(value, protocol))
            with pytest.raises(NotACheckpointError, match="pickle, but not one that torch wrote"):
                read(path)


def test_a_large_pickle_of_another_program_is_not_read_whole(tmp_path: Path) -> None:
    """Whether torch wrote a pickle shows in its first bytes; no more of it is read."""
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps([bytes(100_000)], 4))
    os.truncate(path, 1 << 40)
    with pytest.raises(NotACheckpointError, match="not one that torch wrote"):
        read(path)


def test_pickles_beyond_all_measure(tmp_path: Path) -> None:
    """A legacy file whose pickles would be most of a sparse terabyte is refused unread."""
    path = tmp_path / "x.pth"
    path.write_bytes(HEAD + b"\x80\x02(" + (b"X" + struct.pack("<I", 256 << 20)))
    os.truncate(path, 1 << 40)
    with pytest.raises(MalformedError, match="beyond all measure"):
        read(path)


def test_a_whole_module_is_named(tmp_path: Path) -> None:
    """A pickled network, also inside a wrapper, is refused by its class."""
    path = tmp_path / "x.pth"
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    for legacy in (False, True):
        for saved in (module, {"model": module, "epoch": 1}, {"state_dict": module}):
            torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
            with open_checkpoint(path) as checkpoint, pytest.raises(UnsupportedError) as error:
                select_state_dict(checkpoint.root)
            assert "torch.nn.modules.container.Sequential" in error.value.message
            assert error.value.hint


def test_pickles_longer_than_the_first_read(tmp_path: Path) -> None:
    """The pickles may be longer than what is read at once."""
    path = tmp_path / "x.pth"
    weights = {f"layer.{i}.weight": torch.full((2,), float(i)) for i in range(3000)}
    log = {"log": "x" * 700_000}
    torch.save({"model": weights, **log}, path, _use_new_zipfile_serialization=False)
    found = read(path)
    assert {name: value.numpy().tobytes() for name, value in weights.items()} == found
