"""The `.pth` writer: torch, zipfile and our own reader take what it writes, the same each time."""

import os
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME, Storage, Tensor, dense_strides
from hornet_convert.conversion.request import Target
from hornet_convert.conversion.write_pth import ALIGNMENT, PthFile

KEYS: dict[Target, str | None] = {
    "reference": None,
    "official": "model",
    "openmmlab": "state_dict",
}
METADATA = {"model": "w8", "fingerprint": "ab" * 32}


def example() -> dict[str, torch.Tensor]:
    """Tensors of every shape and type that a file may hold."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(300, 300, generator=generator)
    tensors = {f"matrix.{dtype}": values.to(getattr(torch, dtype)) for dtype in FLOATS}
    return tensors | {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "long": torch.arange(70_000),
        "flags": torch.tensor([True, False]),
        "ünïcode": torch.ones(1, 1, 1, 1, 1),
    }


FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def described(tensors: dict[str, torch.Tensor]) -> dict[str, Tensor]:
    """Descriptions of tensors that stand nowhere yet."""
    return {
        name: Tensor(
            BY_TORCH_NAME[str(tensor.dtype).removeprefix("torch.")],
            tuple(tensor.shape),
            dense_strides(tuple(tensor.shape)),
            0,
            Storage(0, 0),
        )
        for name, tensor in tensors.items()
    }


def raw(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor."""
    return bytes(tensor.contiguous().view(-1).view(torch.uint8).numpy()) if tensor.numel() else b""


def write(path: Path, tensors: dict[str, torch.Tensor], layout: Target) -> None:
    """Write tensors to a file by way of the writer."""
    file = PthFile(described(tensors), METADATA | {"fingerprint": "0" * 64}, layout)
    crcs = {name: zlib.crc32(raw(tensor)) for name, tensor in tensors.items()}
    with path.open("wb") as stream:
        for name, tensor in tensors.items():
            assert 0 == file.offsets[name] % ALIGNMENT
            os.pwrite(stream.fileno(), raw(tensor), file.offsets[name])
        for offset, data in file.frame(METADATA, crcs):
            os.pwrite(stream.fileno(), data, offset)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("layout", KEYS)
def test_torch_loads_it_with_weights_only(tmp_path: Path, layout: Target, mmap: bool) -> None:
    """Names, types, shapes and bits as they were, mapped into memory or not."""
    tensors = example()
    write(tmp_path / "w.pth", tensors, layout)
    loaded = torch.load(tmp_path / "w.pth", weights_only=True, mmap=mmap)
    key = KEYS[layout]
    state = loaded if key is None else loaded[key]
    assert isinstance(state, OrderedDict)
    assert list(tensors) == list(state)
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape) == (state[name].dtype, state[name].shape)
        assert raw(tensor) == raw(state[name])
    if layout == "openmmlab":
        assert loaded["meta"] == METADATA


@pytest.mark.parametrize("layout", KEYS)
def test_our_own_reader_takes_it(tmp_path: Path, layout: Target) -> None:
    """Strictly read, with the texts kept beside the pickle."""
    tensors = example()
    write(tmp_path / "w.pth", tensors, layout)
    with open_checkpoint(tmp_path / "w.pth") as checkpoint:
        assert ("zip", METADATA) == (checkpoint.container, checkpoint.metadata)
        found = select_state_dict(checkpoint.root).tensors
        assert list(tensors) == list(found)
        for name, tensor in tensors.items():
            assert raw(tensor) == checkpoint.read(found[name]).tobytes()


def test_it_is_a_sound_zip_archive(tmp_path: Path) -> None:
    """The standard library's reader finds every entry stored, dated alike, its CRC right."""
    write(tmp_path / "w.pth", example(), "reference")
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        assert archive.testzip() is None
        rows = archive.infolist()
    assert "archive/data.pkl" == rows[0].filename
    assert {(zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))} == {
        (row.compress_type, row.date_time) for row in rows
    }


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    """No date, address or random number is in it."""
    for name in ("a.pth", "b.pth"):
        write(tmp_path / name, example(), "openmmlab")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def with_holes(path: Path, sizes: dict[str, tuple[str, int]]) -> PthFile:
    """Write a file whose vectors, given as (dtype, elements), are holes: they take no room."""
    tensors = {
        name: Tensor(BY_TORCH_NAME[dtype], (size,), (1,), 0, Storage(0, 0))
        for name, (dtype, size) in sizes.items()
    }
    file = PthFile(tensors, METADATA, "reference")
    with path.open("wb") as stream:
        for offset, data in file.frame(METADATA, dict.fromkeys(tensors, 0)):
            os.pwrite(stream.fileno(), data, offset)
    return file


def test_beyond_four_gibibytes(tmp_path: Path) -> None:
    """Sizes and places that need 64 bits are found by zipfile and by our own reader."""
    path = tmp_path / "sparse.pth"
    sizes = {"small": 3, "large": (1 << 30) + 5, "half": (1 << 29) + 5, "late": 7}
    file = with_holes(path, {name: ("float32", size) for name, size in sizes.items()})
    with zipfile.ZipFile(path) as archive:
        found = [archive.getinfo(f"archive/data/{key}").file_size for key in range(4)]
    assert found == [4 * size for size in sizes.values()]
    with open_checkpoint(path) as checkpoint:
        tensors = select_state_dict(checkpoint.root).tensors
    for name, size in sizes.items():
        assert tensors[name].span == (file.offsets[name], 4 * size)


def test_more_entries_than_16_bits_count(tmp_path: Path) -> None:
    """The zip64 end record takes over."""
    with_holes(tmp_path / "many.pth", {f"t{n}": ("uint8", 0) for n in range(65_600)})
    with zipfile.ZipFile(tmp_path / "many.pth") as archive:
        assert len(archive.namelist()) == 65_604
