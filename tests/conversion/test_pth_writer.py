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
from hornet_convert.conversion.pickle_writer import Wrapper
from hornet_convert.conversion.pth_writer import ALIGNMENT, PthFile

WRAPPERS: tuple[Wrapper, ...] = ("bare", "model", "state_dict")
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


def write(path: Path, tensors: dict[str, torch.Tensor], wrapper: Wrapper) -> None:
    """Write tensors to a file by way of the writer."""
    file = PthFile(described(tensors), METADATA | {"fingerprint": "0" * 64}, wrapper)
    crcs = {name: zlib.crc32(raw(tensor)) for name, tensor in tensors.items()}
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), file.size)
        for name, tensor in tensors.items():
            assert 0 == file.offsets[name] % ALIGNMENT
            os.pwrite(stream.fileno(), raw(tensor), file.offsets[name])
        for offset, data in file.frame(METADATA, crcs):
            os.pwrite(stream.fileno(), data, offset)
    assert file.size == path.stat().st_size


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_torch_loads_it_with_weights_only(tmp_path: Path, wrapper: Wrapper, mmap: bool) -> None:
    """Names, types, shapes and bits as they were, mapped into memory or not."""
    tensors = example()
    write(tmp_path / "w.pth", tensors, wrapper)
    loaded = torch.load(tmp_path / "w.pth", weights_only=True, mmap=mmap)
    state = loaded if wrapper == "bare" else loaded[wrapper]
    assert isinstance(state, OrderedDict)
    assert list(tensors) == list(state)
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape) == (state[name].dtype, state[name].shape)
        assert raw(tensor) == raw(state[name])
    if wrapper == "state_dict":
        assert METADATA == loaded["meta"]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_our_own_reader_takes_it(tmp_path: Path, wrapper: Wrapper) -> None:
    """Strictly read, with the texts kept beside the pickle."""
    tensors = example()
    write(tmp_path / "w.pth", tensors, wrapper)
    with open_checkpoint(tmp_path / "w.pth") as checkpoint:
        assert ("zip", METADATA) == (checkpoint.container, checkpoint.metadata)
        found = select_state_dict(checkpoint.root).tensors
        assert list(tensors) == list(found)
        for name, tensor in tensors.items():
            assert raw(tensor) == checkpoint.read(found[name]).tobytes()


def test_it_is_a_sound_zip_archive(tmp_path: Path) -> None:
    """The standard library's reader finds every entry stored, dated alike, its CRC right."""
    write(tmp_path / "w.pth", example(), "bare")
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
        write(tmp_path / name, example(), "state_dict")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_beyond_four_gibibytes(tmp_path: Path) -> None:
    """Sizes and places that need 64 bits are found by zipfile and by our own reader.

    The tensors' bytes are a hole in the file: they take no room.
    """
    dtype = BY_TORCH_NAME["float32"]
    sizes = {"small": 3, "large": (1 << 30) + 5, "late": 7}
    tensors = {name: Tensor(dtype, (size,), (1,), 0, Storage(0, 0)) for name, size in sizes.items()}
    file = PthFile(tensors, METADATA, "bare")
    path = tmp_path / "sparse.pth"
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), file.size)
        for offset, data in file.frame(METADATA, dict.fromkeys(tensors, 0)):
            os.pwrite(stream.fileno(), data, offset)
    with zipfile.ZipFile(path) as archive:
        assert [4 * size for size in sizes.values()] == [
            archive.getinfo(f"archive/data/{key}").file_size for key in range(3)
        ]
    with open_checkpoint(path) as checkpoint:
        found = select_state_dict(checkpoint.root).tensors
        places = {name: tensor.span for name, tensor in found.items()}
        assert {name: (file.offsets[name], 4 * size) for name, size in sizes.items()} == places


def test_more_entries_than_16_bits_count(tmp_path: Path) -> None:
    """The zip64 end record takes over."""
    dtype = BY_TORCH_NAME["uint8"]
    empty = Tensor(dtype, (0,), (1,), 0, Storage(0, 0))
    tensors = {f"t{n}": empty for n in range(65_600)}
    file = PthFile(tensors, {}, "bare")
    path = tmp_path / "many.pth"
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), file.size)
        for offset, data in file.frame({}, dict.fromkeys(tensors, 0)):
            os.pwrite(stream.fileno(), data, offset)
    with zipfile.ZipFile(path) as archive:
        assert 65_604 == len(archive.namelist())
