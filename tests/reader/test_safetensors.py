"""The safetensors container: headers are read strictly, as the format's own library does."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME
from hornet_convert.errors import FileRefusedError, MalformedError, UnsupportedError
from hornet_convert.inspect import inspect_checkpoint
from tests.reader.reading import read, read_described

ROW = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
DATA = struct.pack("<4f", 1, 2, 3, 4)


def made(header: object, data: bytes = DATA, length: int | None = None) -> bytes:
    """A file with this header, given as JSON text or as what to write as JSON."""
    raw = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


WRITABLE = sorted(name for name in BY_TORCH_NAME if name != "complex128")


@settings(max_examples=60)
@given(
    tensors=st.dictionaries(
        st.text(min_size=1, max_size=8).filter(
            lambda n: not n.startswith(("__", "ema_", "module."))
        ),
        st.tuples(st.sampled_from(WRITABLE), st.lists(st.integers(0, 4), max_size=3)),
        min_size=1,
        max_size=5,
    ),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_what_the_library_writes_is_read(
    tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str], tmp_path_factory: Any
) -> None:
    """Every element type, empty and scalar tensors, any names, and the metadata."""
    path = tmp_path_factory.getbasetemp() / "x.safetensors"
    random = np.random.RandomState(0)
    made_of = {}
    for name, (dtype, shape) in tensors.items():
        row = BY_TORCH_NAME[dtype]
        raw = random.bytes(int(np.prod(shape, dtype=np.int64)) * row.itemsize)
        flat = torch.frombuffer(bytearray(raw) or bytearray(row.itemsize), dtype=torch.uint8)
        flat = flat[: len(raw)] & 1 if dtype == "bool" else flat[: len(raw)]
        made_of[name] = flat.clone().view(getattr(torch, dtype)).reshape(shape)
    safetensors.torch.save_file(made_of, path, metadata=metadata)
    expected = {
        name: (
            tensors[name][0],
            tuple(value.shape),
            bytes(value.reshape(-1).view(torch.uint8).numpy()) if value.numel() else b"",
        )
        for name, value in made_of.items()
    }
    assert expected == read_described(path)
    with open_checkpoint(path) as checkpoint:
        assert metadata == checkpoint.metadata


BROKEN: dict[str, tuple[bytes, str]] = {
    "header beyond the file": (made({"w": ROW}, length=1 << 30), "within its safetensors header"),
    "header cut": (made({"w": ROW})[:40], "within its safetensors header"),
    "header with a byte of data": (made({"w": ROW}, length=67), "header is malformed"),
    "no JSON": (made("{nonsense"), "header is malformed"),
    "not UTF-8": (made("{\xff}").replace(b"\xc3\xbf", b"\xff\xff"), "header is malformed"),
    "deep JSON": (made('{"a":' + "[" * 100_000), "header is malformed"),
    "doubled key": (made('{"w":%s,"w":%s}' % ((json.dumps(ROW),) * 2)), "twice"),
    "doubled field": (made('{"w":{"dtype":"F32","dtype":"F32"}}'), "twice"),
    "doubled metadata": (made('{"__metadata__":{"a":"b","a":"c"}}', b""), "twice"),
    "overlap": (made({"a": ROW, "b": {**ROW, "data_offsets": [8, 24]}}, DATA * 2), "overlap"),
    "same bytes": (made({"a": ROW, "b": ROW}), "overlap"),
    "hole": (made({"a": ROW, "b": {**ROW, "data_offsets": [20, 36]}}, DATA * 3), "leave a gap"),
    "hole at the beginning": (
        made({"a": {**ROW, "data_offsets": [4, 20]}}, DATA * 2),
        "leave a gap",
    ),
    "trailing data": (made({"w": ROW}, DATA + b"x"), "after the tensors"),
    "data cut": (made({"w": ROW}, DATA[:-1]), "ends within its tensors"),
    "no tensors, but data": (made({}, b"x"), "after the tensors"),
    "shape too large": (made({"w": {**ROW, "shape": [2, 3]}}), "does not match its shape"),
    "shape overflowing 64 bits": (
        made({"w": {**ROW, "shape": [1 << 62, 4]}}),
        "does not match its shape",
    ),
    "offsets reversed": (made({"w": {**ROW, "data_offsets": [16, 0]}}), "does not match its shape"),
    "negative shape": (made({"w": {**ROW, "shape": [-2, -2]}}), "header is malformed"),
    "negative offset": (made({"w": {**ROW, "data_offsets": [-16, 0]}}), "header is malformed"),
    "minus zero": (made(json.dumps({"w": ROW}).replace("[0", "[-0")), "header is malformed"),
    "a lone surrogate": (made({"w": ROW, "__metadata__": {"a": "\ud800"}}), "header is malformed"),
    "a lone surrogate as a name": (made({"\udfff": ROW}), "header is malformed"),
    "a fraction": (
        made('{"w":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}}'),
        "header is malformed",
    ),
    "true": (made({"w": {**ROW, "shape": [True, 4]}}), "invalid entry"),
    "NaN": (
        made('{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}'),
        "header is malformed",
    ),
    "digits without end": (
        made('{"w":{"dtype":"F32","shape":[%s],"data_offsets":[0,16]}}' % ("9" * 9000)),
        "header is malformed",
    ),
    "three offsets": (made({"w": {**ROW, "data_offsets": [0, 8, 16]}}), "invalid entry"),
    "too many axes": (made({"w": {**ROW, "shape": [4] + [1] * 100}}), "invalid entry"),
    "no shape": (made({"w": {"dtype": "F32", "data_offsets": [0, 16]}}), "invalid entry"),
    "an unknown field": (made({"w": {**ROW, "strides": [1]}}), "invalid entry"),
    "an entry that is none": (made({"w": [1, 2]}), "invalid entry"),
    "metadata that is none": (made({"__metadata__": {"a": 1}, "w": ROW}), "not a table of strings"),
    "metadata null": (made({"__metadata__": None, "w": ROW}), "not a table of strings"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_headers_are_refused(name: str, path: Path) -> None:
    """Every contradiction between header and file."""
    data, words = BROKEN[name]
    path.write_bytes(data)
    with pytest.raises(MalformedError) as error:
        read(path)
    assert words in error.value.message


@pytest.mark.parametrize("code", ["F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4", "C128", "X32"])
def test_other_element_types_are_refused_by_name(code: str, path: Path) -> None:
    """Element types of the format that are not read, and such that it does not have."""
    path.write_bytes(
        made({"w": {"dtype": code, "shape": [32], "data_offsets": [0, 16]}}).replace(
            b"[32]", b"[32]" if code == "F4" else b"[1] " if code == "C128" else b"[16]"
        )
    )
    with pytest.raises(UnsupportedError, match=code):
        read(path)


def test_a_header_that_is_too_large(path: Path) -> None:
    """A header of 17 MiB is refused before it is parsed."""
    path.write_bytes(made({}, b"", length=17 << 20))
    os.truncate(path, 18 << 20)
    with pytest.raises(UnsupportedError, match=r"too (large|many)"):
        read(path)
    path.write_bytes(made('{"a":[' + "[]," * 700_000 + "[]]}", b""))
    with pytest.raises(UnsupportedError, match=r"too (large|many)"):
        read(path)


def test_padding_and_no_tensors(path: Path) -> None:
    """Spaces after the header belong to the format; a file without tensors has no weights."""
    path.write_bytes(made(json.dumps({"w": ROW}) + " " * 7))
    assert {"w": ("float32", (2, 2), DATA)} == read_described(path)
    path.write_bytes(made({}, b""))
    with pytest.raises(MalformedError, match="no weights"):
        read(path)


@settings(max_examples=400)
@given(data=st.data())
def test_a_changed_header_is_refused_or_read_as_the_library_does(
    data: st.DataObject, tmp_path_factory: Any
) -> None:
    """One byte of the header changed: refused here, or the same tensors as the library's."""
    whole = bytearray(made({"a": ROW, "b": {**ROW, "data_offsets": [16, 32]}}, DATA * 2))
    where = data.draw(st.integers(0, len(whole) - 33))
    whole[where] = data.draw(st.integers(0, 255) | st.sampled_from(b'0123456789[]{}":, '))
    path = tmp_path_factory.getbasetemp() / "x.safetensors"
    path.write_bytes(whole)
    try:
        found = read_described(path)
    except FileRefusedError:
        return
    theirs = safetensors.torch.load_file(path)
    assert {name: tuple(value.shape) for name, value in theirs.items()} == {
        name: shape for name, (_, shape, _) in found.items()
    }
    for name, value in theirs.items():
        assert bytes(value.reshape(-1).view(torch.uint8).numpy()) == found[name][2]


def test_very_many_texts_are_not_all_listed(path: Path) -> None:
    """A report on a header of nothing but metadata lists the first thousand."""
    path.write_bytes(made({"__metadata__": {str(i): "x" for i in range(300_000)}}, b""))
    with open_checkpoint(path) as checkpoint:
        found = inspect_checkpoint(checkpoint)
    assert [str(i) for i in range(1000)] == list(found.metadata)
    assert 299_000 == found.unlisted_metadata
