"""Files that mean one thing to torch and another to a naive reader: refused, or read as torch does.

Each test asserts what torch makes of its file too, which is why the file must not pass as good.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from hornet_convert.errors import AmbiguousError, FileRefusedError, MalformedError, UnsupportedError
from tests.reader.assemble import (
    Entry,
    Zip,
    call,
    integers,
    items,
    legacy_file,
    named,
    row,
    storage,
    tensor,
    text,
    zip_entries,
    zip_file,
)
from tests.reader.reading import read

GOOD = [float(number) for number in range(12)]
EVIL = [float(number) for number in range(50, 62)]
STORED = {"0": struct.pack("<12f", *GOOD), "1": struct.pack("<12f", *EVIL)}
ORDERED = named("collections", "OrderedDict")
PARAMETER = named("torch.nn.parameter", "Parameter")
FROM_TYPE = named("torch._tensor", "_rebuild_from_type_v2")


def saved(path: Path, body: bytes, legacy: bool) -> None:
    """A checkpoint with two storages; `body` has GOOD for the first, EVIL for the second."""
    extra = (b"N",) if legacy else ()
    used = b"".join(storage(key, 12, extra=extra) for key in "01")  # they stay on the stack
    body = used + body.replace(b"GOOD", storage("0", 12, extra=extra))
    body = body.replace(b"EVIL", storage("1", 12, extra=extra))
    stored = {key: (12, data) for key, data in STORED.items()}
    path.write_bytes(legacy_file(body, stored) if legacy else zip_file(body, STORED))


def theirs(path: Path, weights_only: bool) -> object:
    """The weights `w` as torch loads them; what else there is instead; or the name of its error."""
    try:
        loaded: Any = torch.load(path, weights_only=weights_only)
    except Exception as error:
        return type(error).__name__
    found = dict(loaded).get("w")
    return found.flatten().tolist() if isinstance(found, torch.Tensor) else found


W = tensor(b"GOOD", (12,), (1,))
FLAGGED = [-number for number in GOOD]
OTHER = tensor(b"EVIL", (12,), (1,))
ARGS = row(b"GOOD", b"K\x00", integers((12,)), integers((1,)))
NOT_REBUILT = row(b"EVIL", b"K\x00", integers((12,)))
OLD_STATE = row(b"EVIL", b"K\x00", integers((12,)), integers((1,)))
REBUILD = named("torch._utils", "_rebuild_tensor")
# What makes the weights something else -> (pickle, torch's restricted loader, its plain one).
CHANGED: dict[str, tuple[bytes, object, object]] = {
    "a tensor set to another storage": (
        items((text("w"), W + NOT_REBUILT + b"b")),
        EVIL,
        "RuntimeError",
    ),
    "a tensor set to another, with strides": (items((text("w"), W + OLD_STATE + b"b")), EVIL, EVIL),
    "a parameter given other data": (
        items((text("w"), call(PARAMETER, W) + row(OTHER, b"N", b"}", b"\x89", b"N") + b"b")),
        EVIL,
        EVIL,
    ),
    "an attribute that is the data": (
        items(
            (
                text("w"),
                call(
                    FROM_TYPE, REBUILD, named("torch", "Tensor"), ARGS, items((text("data"), OTHER))
                ),
            )
        ),
        EVIL,
        EVIL,
    ),
    "a flag that negates by its name, set to False": (
        items((text("w"), tensor(b"GOOD", (12,), (1,), flags=items((text("neg"), b"\x89"))))),
        FLAGGED,
        FLAGGED,
    ),
    "an ordered dict built with pairs, which are ignored": (
        items((text("w"), OTHER)) + ORDERED + row(b"](" + row(text("w"), W) + b"e") + b"\x81",
        None,
        None,
    ),
    "a dict whose method is hidden": (
        ORDERED
        + b")R"
        + text("w")
        + W
        + b"s"
        + items((text("keys"), named("builtins", "set")))
        + b"b",
        None,
        None,
    ),
    "an octal number": (
        items((text("w"), call(REBUILD, b"GOOD", b"I0010\n", integers((2,)), integers((1,))))),
        "UnpicklingError",
        [8.0, 9.0],
    ),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.filterwarnings("ignore")
def test_what_changes_the_weights_is_refused(name: str, legacy: bool, path: Path) -> None:
    """Opcodes after a tensor or a dict was made, or arguments that torch reads in its own way."""
    body, restricted, plain = CHANGED[name]
    saved(path, body, legacy)
    assert restricted == theirs(path, True)
    assert plain == theirs(path, False)
    with pytest.raises(FileRefusedError):
        read(path)


SAME: dict[str, bytes] = {
    "an ordered dict of a list of pairs": call(ORDERED, b"](" + row(text("w"), W) + b"e"),
    "an ordered dict of a tuple of lists": call(ORDERED, row(b"](" + text("w") + W + b"e")),
    "an ordered dict of a dict": call(ORDERED, items((text("w"), W))),
    "a counter of a dict": call(named("collections", "Counter"), items((text("w"), W))),
    "attributes of a state dict": ORDERED
    + b")R"
    + text("w")
    + W
    + b"s"
    + items((text("_metadata"), ORDERED + b")R"))
    + b"b",
    "flags of an old parameter": items(
        (text("w"), call(PARAMETER, W) + row(b"\x89", b"\x89", ORDERED + b")R") + b"b")
    ),
    "an attribute of a tensor": items(
        (
            text("w"),
            call(FROM_TYPE, REBUILD, PARAMETER, ARGS, row(items((text("mine"), b"K\x01")), b"N")),
        )
    ),
    "a place of the memo that is taken twice": OTHER
    + b"q\x010"
    + W
    + b"q\x010"
    + b"}"
    + text("w")
    + b"h\x01s",
    "a list that grows after it was copied": b"]("
    + row(text("w"), W)
    + b"eq\x010"
    + ORDERED
    + b"h\x01\x85Rq\x020h\x01"
    + row(text("w"), OTHER)
    + b"a0h\x02",
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", SAME)
@pytest.mark.filterwarnings("ignore")
def test_what_torch_reads_is_read_as_it_does(name: str, legacy: bool, path: Path) -> None:
    """Unusual forms, older ones among them, that mean the same to everybody."""
    saved(path, SAME[name], legacy)
    assert GOOD == theirs(path, weights_only=False)
    assert {"w": STORED["0"]} == read(path)


CALLED: dict[str, bytes] = {
    "torch.Tensor of a tensor": call(named("torch", "Tensor"), OTHER),
    "torch.FloatTensor of numbers": call(
        named("torch", "FloatTensor"), b"](" + b"".join(b"K%c" % n for n in range(50, 62)) + b"e"
    ),
    "a tensor rebuilt twice over": call(
        FROM_TYPE,
        FROM_TYPE,
        named("torch", "Tensor"),
        row(REBUILD, named("torch", "Tensor"), ARGS.replace(b"GOOD", b"EVIL"), b"}"),
        b"}",
    ),
}


@pytest.mark.parametrize("name", CALLED)
def test_weights_that_only_torch_makes_are_a_rival(name: str, path: Path) -> None:
    """Under `model` calls that are not carried out here, under `state_dict` good weights."""
    whole = items(
        (text("model"), items((text("w"), CALLED[name]))),
        (text("state_dict"), items((text("w"), W))),
    )
    saved(path, whole, legacy=False)
    assert EVIL == torch.load(path, weights_only=True)["model"]["w"].tolist()
    with pytest.raises(AmbiguousError, match="several sets of weights"):
        read(path)


def test_a_storage_key_with_nul(path: Path) -> None:
    """Torch's zip reader ends the name at NUL, and so reads another entry."""
    entries = zip_entries(items((text("w"), tensor(storage("0\0x", 12), (12,), (1,)))), STORED)
    path.write_bytes(Zip([*entries, Entry("archive/data/0\0x", STORED["1"])]).build())
    assert GOOD == theirs(path, weights_only=True)
    with pytest.raises(MalformedError, match="not plain"):
        read(path)
    path.write_bytes(Zip(entries).build())
    with pytest.raises(MalformedError, match="a storage key that is not a plain name"):
        read(path)


@pytest.mark.parametrize(
    ("kind", "dtype", "same"),
    [
        ("torch\nComplexFloatStorage", "float64", False),
        ("torch\nDoubleStorage", "complex128", True),
        ("torch\nFloatStorage", "int32", True),
        ("torch\nComplexFloatStorage", "float32", True),
        ("torch.storage\nUntypedStorage", "float32", False),
    ],
)
def test_swapped_bytes_seen_as_another_type(kind: str, dtype: str, same: bool, path: Path) -> None:
    """Torch swaps by the storage's type: read only where the tensor's has numbers as long."""
    width = {"D": 8, "C": 8, "F": 4, "U": 1}[kind.rpartition("\n")[2][0]]
    count = 4 if dtype == "float32" else 2
    where = storage("0", 48 // width, kind)
    hooks = ORDERED + b")R"
    parts = where, b"K\x00", integers((count,)), integers((1,)), b"\x89", hooks
    w = call(named("torch._utils", "_rebuild_tensor_v3"), *parts, named("torch", dtype))
    path.write_bytes(zip_file(items((text("w"), w)), STORED, "big"))
    if same:
        loaded = torch.load(path, weights_only=True)["w"]
        assert {"w": bytes(loaded.view(torch.uint8).numpy())} == read(path)
    else:
        with pytest.raises(UnsupportedError, match="big-endian"):
            read(path)


EVIL_LEGACY = legacy_file(
    items((text("w"), tensor(storage("1", 12, extra=(b"N",)), (12,), (1,)))),
    {"1": (12, STORED["1"])},
)


def with_header(beginning: str, data: bytes, length: int) -> bytes:
    """A sound safetensors file with `data` as its tensor and this beginning of its header."""
    ending = json.dumps(
        {"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
    )
    header = (beginning + ending.removeprefix("{")).encode()
    assert len(header) <= length
    return struct.pack("<Q", length) + header.ljust(length - 1) + b"\n" + data


def behind_a_line() -> bytes:
    """To a pickle, the length begins a line of text that ends with the header."""
    return with_header("{", b"0" + EVIL_LEGACY, 0x100 + ord("V"))


def behind_strings() -> bytes:
    """To a pickle, the length begins one string, and in the metadata stand the next ones.

    Of such opcodes only that torch's restricted unpickler knows too.
    """
    text_at, count = len('{"__metadata__":{"x":"') + 8, 42
    length = ord("X") + (count << 8)  # as a string: `count` bytes from byte 5
    short = "U\x7f" + 127 * "a"
    beginning = '{"__metadata__":{"x":"' + (5 + count - text_at) * "a" + 83 * short
    last = 8 + length - (8 + len(beginning)) - 2
    assert 80 < last < 122
    return with_header(beginning + f"U{chr(last + 5)}" + '"},', 5 * b"a" + EVIL_LEGACY, length)


def as_tar() -> bytes:
    """The beginning of the header has the checksum of a tar archive's."""
    whole = with_header('{"__metadata__":{"x":"' + 600 * " " + '"},', STORED["0"], 1024)
    total = sum(whole[:148]) + 8 * 32 + sum(whole[156:512])
    return whole[:148] + f"{total:06o}  ".encode() + whole[156:]


def with_zip_behind() -> bytes:
    """The data ends in a zip archive."""
    archive = zip_file(items((text("w"), tensor(storage("1", 12), (12,), (1,)))), STORED)
    return with_header("{", archive, 1024)


@pytest.mark.parametrize(
    ("whole", "restricted", "plain", "words"),
    [
        (behind_a_line(), "UnpicklingError", EVIL, "is a pickle too"),
        (behind_strings(), EVIL, EVIL, "is a pickle too"),
        (as_tar(), "RuntimeError", "KeyError", "tar archive"),
        (with_zip_behind(), "UnpicklingError", "UnpicklingError", "before the zip archive"),
    ],
    ids=["line", "strings", "tar", "zip"],
)
def test_a_safetensors_file_that_is_another_file_too(
    whole: bytes, restricted: object, plain: object, words: str, path: Path
) -> None:
    """The format's own library reads it, and torch or an unzipper finds something else in it."""
    path.write_bytes(whole)
    assert ["w"] == list(safetensors.torch.load_file(path))
    assert restricted == theirs(path, weights_only=True)
    assert plain == theirs(path, weights_only=False)
    with pytest.raises(FileRefusedError, match=words):
        read(path)


@pytest.mark.parametrize("first", [0x28, 0x50, 0x55, 0x56, 0x58, 0x63, 0x80, 0x88, 0x8A])
def test_a_header_whose_length_looks_like_an_opcode(first: int, path: Path) -> None:
    """An ordinary file is read, whatever its first byte is."""
    path.write_bytes(with_header("{", STORED["0"], 0x100 + first))
    assert {"w": STORED["0"]} == read(path)


def test_a_legacy_file_with_a_zip_behind(path: Path) -> None:
    """In the last storage stands an archive, which unzippers find."""
    archive = zip_file(items((text("w"), W)), STORED)
    w = tensor(storage("1", len(archive), "torch\nByteStorage", (b"N",)), (12,), (1,))
    path.write_bytes(legacy_file(items((text("w"), w)), {"1": (len(archive), archive)}))
    with pytest.raises(MalformedError, match="before the zip archive"):
        read(path)
