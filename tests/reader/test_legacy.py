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
from hornet_convert.errors import FileRefusedError, MalformedError, NotACheckpointError
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
from tests.reader.reading import read

VALUES = struct.pack("<6f", *range(6))
NONE = (b"N",)
WHOLE = storage("0", 6, extra=NONE)
BODY = items((text("w"), tensor(WHOLE, (2, 3), (3, 1))))
SOUND = legacy_file(BODY, {"0": (6, VALUES)})
HEAD = legacy_file(b"N", {}).removesuffix(pickled(b"N") + pickle.dumps([], 2))


def test_the_assembled_file_is_what_torch_writes(path: Path) -> None:
    """Torch itself reads the file that the other tests break."""
    path.write_bytes(SOUND)
    assert [[0, 1, 2], [3, 4, 5]] == torch.load(path, weights_only=True)["w"].tolist()
    with open_checkpoint(path) as checkpoint:
        assert "legacy" == checkpoint.container
    assert {"w": VALUES} == read(path)


def test_views_of_storages_as_torch_0_3_wrote_them(path: Path) -> None:
    """Part of a storage under a key of its own; torch agrees."""
    view = row(text("view"), integer(2), integer(4))
    body = items(
        (text("all"), tensor(WHOLE, (6,), (1,))),
        (text("part"), tensor(storage("0", 6, extra=(view,)), (2, 2), (1, 2))),
    )
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}))
    assert [[2, 4], [3, 5]] == torch.load(path, weights_only=True)["part"].tolist()
    assert {"all": VALUES, "part": struct.pack("<4f", 2, 4, 3, 5)} == read(path)


@pytest.mark.parametrize(
    ("views", "count", "words"),
    [
        ([("view", 3, 4)], 4, "view reaches beyond"),
        ([("view", 2, 4), ("view", 1, 4)], 4, "two conflicting records of one view"),
        ([("0", 2, 4)], 4, "two conflicting records of one view"),
        ([("view", 2, 4)], 5, "reaches beyond its storage"),
        ([("view", -1, 4)], 4, "invalid view"),
        ([("a/b", 2, 4)], 4, "not a plain name"),
    ],
)
def test_views_that_contradict(
    views: list[tuple[str, int, int]], count: int, words: str, path: Path
) -> None:
    """A view beyond its storage, or two things under one key."""
    wheres = [
        storage("0", 6, extra=(row(text(key), integer(first), integer(numel)),))
        for key, first, numel in views
    ]
    body = items(*((text(f"w{i}"), tensor(w, (count,), (1,))) for i, w in enumerate(wheres)))
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}))
    with pytest.raises(MalformedError, match=words):
        read(path)


def test_python_2_spellings(path: Path) -> None:
    """Byte strings for text, long integers, an OrderedDict made from pairs, integer keys."""

    def old(value: str) -> bytes:
        return b"U" + bytes((len(value),)) + value.encode()

    where = row(old("storage"), named("torch.cuda", "FloatStorage"), integer(7), old("cuda:0"))
    where = where[:-1] + b"L6L\nNtQ"
    hooks = call(named("collections", "OrderedDict"), b"]")
    parts = (where, integer(0), b"(L2L\nK\x03t", b"(K\x03K\x01t", b"I00\n", hooks)
    value = call(named("torch._utils", "_rebuild_tensor_v2"), *parts)
    body = call(named("collections", "OrderedDict"), b"](](" + old("w") + value + b"ee")
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}, keys=[7]))
    assert {"w": VALUES} == read(path)


def test_rebuild_tensor_of_torch_0_3_and_parameters(path: Path) -> None:
    """The forms of older torch: no flags, parameters as instances with a state."""
    shape = b"(K\x02K\x03t", b"(K\x03K\x01t"
    plain = call(named("torch._utils", "_rebuild_tensor"), WHOLE, integer(0), *shape)
    body = items(
        (text("plain"), plain),
        (text("parameter"), call(named("torch.nn.parameter", "Parameter"), plain)),
        (
            text("old parameter"),
            call(named("torch.nn.parameter", "Parameter"), plain) + b"(\x88\x89}tb",
        ),
    )
    path.write_bytes(legacy_file(body, {"0": (6, VALUES)}))
    assert {"plain": VALUES, "parameter": VALUES, "old parameter": VALUES} == read(path)
    for state in (b"(NNNNt", b"}", b"(t"):
        path.write_bytes(legacy_file(items((text("w"), plain + state + b"b")), {"0": (6, VALUES)}))
        with pytest.raises(MalformedError):
            read(path)


BROKEN: dict[str, tuple[bytes, str]] = {
    "trailing junk": (SOUND + b"x", "after the last storage"),
    "a second file behind": (SOUND + SOUND, "after the last storage"),
    "another protocol": (
        legacy_file(BODY, {"0": (6, VALUES)}, protocol=1002),
        "unknown legacy format",
    ),
    "count too large": (legacy_file(BODY, {"0": (7, VALUES)}), "does not have the size"),
    "count negative": (legacy_file(BODY, {"0": (-1, VALUES)}), "does not have the size"),
    "count huge": (legacy_file(BODY, {"0": (1 << 62, VALUES)}), "does not have the size"),
    "storage cut": (SOUND[:-1], "ends within a storage"),
    "storage's count cut": (SOUND[: -len(VALUES) - 3], "ends within a storage"),
    "storage never filled": (legacy_file(BODY, {}, keys=[]), "does not hold"),
    "keys empty, data there": (legacy_file(BODY, {"0": (6, VALUES)}, keys=[]), "does not hold"),
    "unknown key": (legacy_file(BODY, {"0": (6, VALUES)}, keys=["0", "1"]), "nothing refers to"),
    "doubled key": (legacy_file(BODY, {"0": (6, VALUES)}, keys=["0", "0"]), "twice"),
    "keys no list": (legacy_file(BODY, {"0": (6, VALUES)}, keys={"0": 1}), "not a list"),
    "keys no names": (legacy_file(BODY, {"0": (6, VALUES)}, keys=[("0",)]), "not a plain name"),
    "keys a list in itself": (HEAD + pickled(BODY) + b"]q\0h\0a." + VALUES, "not a plain name"),
    "two claims": (
        legacy_file(
            items(
                (text("a"), tensor(storage("0", 6, extra=NONE), (6,), (1,))),
                (text("b"), tensor(storage("0", 3, extra=NONE), (3,), (1,))),
            ),
            {"0": (6, VALUES)},
        ),
        "two conflicting records",
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
    "third pickle missing": (HEAD, "ends within a pickle"),
    "string that never ends": (
        HEAD + b"\x80\x02X\xff\xff\xff\x0f" + b"a" * 100,
        "ends within a pickle",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_contradictions_are_refused(name: str, path: Path) -> None:
    """Every way in which counts, keys and data disagree."""
    data, words = BROKEN[name]
    path.write_bytes(data)
    with pytest.raises(FileRefusedError) as error:
        read(path)
    assert words in error.value.message
    assert str(path) in (error.value.where or "")


@pytest.mark.parametrize("place", ["protocol version", "system information", "keys"])
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
def test_names_outside_the_object_are_refused(place: str, payload: bytes, path: Path) -> None:
    """A name in any of the pickles around the object: torch.load would import it too."""
    parts = {
        "magic number": pickle.dumps(MAGIC, 2),
        "protocol version": pickle.dumps(1001, 2),
        "system information": pickle.dumps({"little_endian": True}, 2),
        "object": pickled(BODY),
        "keys": pickle.dumps(["0"], 2),
    }
    tail = struct.pack("<q", 6) + VALUES
    path.write_bytes(b"".join(parts.values()) + tail)
    assert {"w": VALUES} == read(path)
    parts[place] = parts[place][:2] + payload + parts[place][2:]
    path.write_bytes(b"".join(parts.values()) + tail)
    with pytest.raises(MalformedError, match="imports names") as error:
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


def test_integer_keys_of_one_hash(path: Path) -> None:
    """Multiples of 2^61 - 1 share a hash: as dict keys they would take minutes."""
    keys = [i * ((1 << 61) - 1) for i in range(-10_000, 10_000)]
    path.write_bytes(with_integer_keys(keys, [*keys, "0"]))
    start = time.process_time()
    assert {"w": VALUES} == read(path)
    assert time.process_time() - start < 5


def test_integer_and_text_keys_are_told_apart(path: Path) -> None:
    """7 and '7' are two storages, as they are in torch; messages show integers as such."""
    path.write_bytes(with_integer_keys([0, -300], [0, -300, "0"]))
    assert {"w": VALUES} == read(path)
    path.write_bytes(with_integer_keys([-7], [-7, -7, "0"]))
    with pytest.raises(MalformedError) as error:
        read(path)
    assert ("a storage occurs twice in the file", "integer -7") == (
        error.value.what,
        error.value.found,
    )


def test_every_beginning_of_a_file_is_refused(path: Path) -> None:
    """A cut file is refused, and from its first distinct bytes on called cut, not foreign."""
    for length in range(2, len(SOUND)):
        path.write_bytes(SOUND[:length])
        with pytest.raises(FileRefusedError) as error:
            read(path)
        assert length < 5 or isinstance(error.value, MalformedError)


def test_other_pickles_are_no_checkpoints(path: Path) -> None:
    """A pickle of any protocol that torch did not write is named as such and not run."""
    for protocol in range(6):
        for value in ({"w": [1.0, 2.0]}, [1, 2], ("a",), MAGIC + 1):
            path.write_bytes(pickle.dumps(value, protocol))
            with pytest.raises(NotACheckpointError, match="pickle, but not one that torch wrote"):
                read(path)


def test_a_large_pickle_of_another_program_is_not_read_whole(path: Path) -> None:
    """Whether torch wrote a pickle shows in its first bytes; no more of it is read."""
    path.write_bytes(pickle.dumps([bytes(100_000)], 4))
    os.truncate(path, 1 << 40)
    with pytest.raises(NotACheckpointError, match="not one that torch wrote"):
        read(path)


def test_the_first_pickle_is_the_magic_number_and_nothing_else(path: Path) -> None:
    """Torch takes any pickle of that number; other readers may take another form for their own."""
    number = pickle.dumps(MAGIC, 2)
    rest = SOUND.removeprefix(number)
    for beginning in (number, *(pickle.dumps(MAGIC, protocol) for protocol in range(6))):
        path.write_bytes(beginning + rest)
        assert {"w": VALUES} == read(path)
    for beginning in (b"\x80\x02N0" + number[2:], b"\x80\x02\x8b\x0a\0\0\0" + number[4:]):
        path.write_bytes(beginning + rest)
        assert [0, 1, 2] == torch.load(path, weights_only=False)["w"][0].tolist()
        with pytest.raises(NotACheckpointError, match="not one that torch wrote"):
            read(path)


def test_pickles_that_are_too_large(path: Path) -> None:
    """A legacy file whose pickles would be most of a sparse terabyte is refused unread."""
    path.write_bytes(HEAD + b"\x80\x02(" + (b"X" + struct.pack("<I", 256 << 20)))
    os.truncate(path, 1 << 40)
    with pytest.raises(MalformedError, match="too large"):
        read(path)


def test_pickles_longer_than_the_first_read(path: Path) -> None:
    """The pickles may be longer than what is read at once."""
    weights = {f"layer.{i}.weight": torch.full((2,), float(i)) for i in range(3000)}
    log = {"log": "x" * 700_000}
    torch.save({"model": weights, **log}, path, _use_new_zipfile_serialization=False)
    found = read(path)
    assert {name: value.numpy().tobytes() for name, value in weights.items()} == found
