"""What the reader gives is what torch gives, bit for bit, for whatever torch.save can write."""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME
from hornet_convert.errors import UnsupportedError
from tests.reader.assemble import Entry, Zip
from tests.reader.reading import Described, read_described

DTYPES = {name: getattr(torch, name) for name in BY_TORCH_NAME}
UNTYPED = {
    name for name in BY_TORCH_NAME if name.startswith(("float8", "uint")) and name != "uint8"
}


def dense(dtype: str, shape: list[int], seed: int) -> torch.Tensor:
    """A tensor of arbitrary bytes; every bit pattern, NaN payloads too, must come through."""
    size = BY_TORCH_NAME[dtype].itemsize
    count = int(np.prod(shape, dtype=np.int64)) * size
    raw = np.random.RandomState(seed).bytes(max(count, size))
    if dtype == "bool":
        raw = bytes(byte & 1 for byte in raw)
    flat = torch.frombuffer(bytearray(raw), dtype=DTYPES[dtype])
    return flat[: count // size].reshape(shape).clone()


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "as it is": lambda t: t,
    "transposed": lambda t: t.t() if t.dim() == 2 else t,
    "reversed axes": lambda t: t.permute(tuple(reversed(range(t.dim())))),
    "a slice": lambda t: t[1:] if t.dim() else t,
    "every other": lambda t: t[..., ::2] if t.dim() else t,
    "expanded": lambda t: t[:1].expand(3, *t.shape[1:]) if t.dim() and t.shape[0] else t,
    "a new axis, expanded": lambda t: t.unsqueeze(0).expand(4, *t.shape),
    "overlapping": lambda t: t.reshape(-1).unfold(0, 2, 1) if t.numel() > 1 else t,
    "an element": lambda t: t.reshape(-1)[-1] if t.numel() else t,
    "a parameter": lambda t: torch.nn.Parameter(t, requires_grad=False),
    "a buffer": lambda t: torch.nn.Buffer(t),
}
SHAPES = st.lists(st.integers(0, 5), max_size=4)
SPECS = st.lists(
    st.tuples(
        st.sampled_from(sorted(DTYPES)),
        SHAPES,
        st.lists(st.sampled_from(sorted(VIEWS)), max_size=2),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "bare": lambda weights: weights,
    "model": lambda weights: {"model": weights, "epoch": 3, "shape": torch.Size([2, 3])},
    "state_dict": lambda weights: {"meta": {"dtype": torch.float16}, "state_dict": weights},
    "nested": lambda weights: {"state_dict": {"model": weights}, "best": torch.tensor(1.5)},
}
NAMES = st.text(min_size=1, max_size=12).filter(
    lambda name: not name.startswith(("ema_", "module."))
)


def raw(tensor: torch.Tensor) -> bytes:
    """Dense bytes of a tensor."""
    copy = torch.empty(tensor.numel(), dtype=tensor.dtype)
    copy.copy_(tensor.detach().reshape(-1))
    return bytes(copy.view(torch.uint8).numpy())


def build(specs: Any, names: list[str]) -> OrderedDict[str, torch.Tensor]:
    """Tensors by specification; an aliased one shares the storage of the one before."""
    weights: OrderedDict[str, torch.Tensor] = OrderedDict()
    base = None
    for seed, ((dtype, shape, views, alias), name) in enumerate(zip(specs, names, strict=True)):
        if base is None or not alias:
            base = dense(dtype, shape, seed)
        found = base
        for view in views:
            found = VIEWS[view](found)
        weights[name] = found
    vars(weights)["_metadata"] = OrderedDict({"": {"version": 1}})
    return weights


def theirs(weights: dict[str, torch.Tensor]) -> dict[str, Described]:
    """The same of tensors of torch."""
    return {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), raw(tensor))
        for name, tensor in weights.items()
    }


def unwrapped(loaded: Any) -> Any:
    """The weights in one of the wrappers."""
    for name in ("state_dict", "model"):
        if name in loaded and isinstance(loaded[name], dict):
            loaded = loaded[name]
    return loaded


@settings(max_examples=150)
@given(
    specs=SPECS,
    wrapper=st.sampled_from(sorted(WRAPPERS)),
    legacy=st.booleans(),
    protocol=st.integers(2, 5),
    data=st.data(),
)
def test_every_file_torch_writes_is_read_as_torch_reads_it(
    specs: Any, wrapper: str, legacy: bool, protocol: int, data: st.DataObject
) -> None:
    """Any mix of dtypes, shapes, views, aliases and wrappers, in both containers."""
    names = data.draw(st.lists(NAMES, min_size=len(specs), max_size=len(specs), unique=True))
    weights = build(specs, names)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "x.pth"
        torch.save(
            WRAPPERS[wrapper](weights),
            path,
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=not legacy,
        )
        found = read_described(path)
        untyped = any(str(t.dtype).removeprefix("torch.") in UNTYPED for t in weights.values())
        if protocol == 2 and not (legacy and untyped):  # others torch writes and cannot read
            assert theirs(unwrapped(torch.load(path, weights_only=True))) == found
    assert theirs(weights) == found
    assert list(weights) == list(found)


@pytest.mark.parametrize("dtype", sorted(set(DTYPES) - UNTYPED))
def test_big_endian_files_are_swapped(dtype: str, path: Path) -> None:
    """A zip file marked big-endian gives what torch makes of it; complex parts keep their order."""
    part = {"complex64": 4, "complex128": 8}.get(dtype, BY_TORCH_NAME[dtype].itemsize)
    base = dense(dtype, [4, 3], 7)
    weights = {"dense": base, "transposed": base.t(), "last": base[3, 2], "none": base[:0]}
    torch.save(weights, path)
    entries = []
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            content = archive.read(entry)
            name = entry.filename.partition("/")[2]
            if name == "byteorder":
                content = b"big"
            elif name.startswith("data/"):
                content = np.frombuffer(content, np.uint8).reshape(-1, part)[:, ::-1].tobytes()
            entries.append(Entry(entry.filename, content))
    path.write_bytes(Zip(entries).build())
    assert theirs(torch.load(path, weights_only=True)) == read_described(path)
    assert theirs(weights) == read_described(path)


@pytest.mark.parametrize("dtype", sorted(UNTYPED))
def test_big_endian_bytes_without_a_type_are_refused(dtype: str, path: Path) -> None:
    """Torch does not swap these, and so gets them wrong: they are refused by name."""
    torch.save({"w": dense(dtype, [4], 1)}, path)
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [Entry(i.filename, archive.read(i)) for i in archive.infolist()]
    for entry in entries:
        if entry.name.endswith("byteorder"):
            entry.data = b"big"
    path.write_bytes(Zip(entries).build())
    if BY_TORCH_NAME[dtype].itemsize == 1:
        assert read_described(path)["w"][2] == raw(dense(dtype, [4], 1))
    else:
        with pytest.raises(UnsupportedError, match="big-endian"):
            read_described(path)


class Subclass(torch.Tensor):
    """A tensor that may mean something else by its bytes."""


REFUSED: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "sparse": (lambda: torch.eye(3).to_sparse(), "sparse"),
    "compressed sparse": (lambda: torch.eye(3).to_sparse_csr(), "sparse"),
    "quantised": (
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
        "quantised",
    ),
    "meta": (lambda: torch.empty(3, device="meta"), "meta"),
    "conjugate": (lambda: torch.ones(2, dtype=torch.complex64).conj(), "conj"),
    "negative": (lambda: torch.ones(2, dtype=torch.complex64).conj().imag, "neg"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
    "subclass": (lambda: torch.ones(3).as_subclass(Subclass), "Subclass"),
    "complex32": (lambda: torch.zeros(3, dtype=torch.complex32), "complex32"),
    "float8 of another kind": (lambda: torch.zeros(3).to(torch.float8_e4m3fnuz), "e4m3fnuz"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", REFUSED)
def test_tensors_of_other_kinds_are_refused_by_name(kind: str, legacy: bool, path: Path) -> None:
    """Among the weights such a tensor is an error that names it; beside them it is no trouble."""
    make, word = REFUSED[kind]
    good = torch.ones(2, 2)
    torch.save({"good": good, "odd": make()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UnsupportedError) as error:
        read_described(path)
    assert "odd" in error.value.message
    assert word in error.value.message
    beside = {"model": {"good": good}, "odd": make()}
    torch.save(beside, path, _use_new_zipfile_serialization=not legacy)
    assert theirs({"good": good}) == read_described(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_optimizer_states_are_read_without_being_used(legacy: bool, path: Path) -> None:
    """What trainers save beside the weights, tensors under integer keys included."""
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2, 5, 5)).sum().backward()
    optimizer.step()
    weights = model.state_dict()
    saved = {
        "model": weights,
        "optimizer": optimizer.state_dict(),
        "rng": [torch.get_rng_state(), np.random.RandomState(0).get_state()],
        "best": np.float64(81.3),
    }
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    assert theirs(weights) == read_described(path)
    with open_checkpoint(path) as checkpoint:
        dropped = select_state_dict(checkpoint.root).dropped
    assert ["optimizer", "rng", "best"] == [line.partition(":")[0] for line in dropped]
    assert "12 tensors in it" in dropped[0]
    assert "numpy" in dropped[2]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_whole_module_is_named(legacy: bool, path: Path) -> None:
    """A pickled network, also inside a wrapper, is refused by its class."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    for saved in (module, {"model": module, "epoch": 1}, {"state_dict": module}):
        torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UnsupportedError, match=r"nn\.modules\.container\.Sequential") as error:
            read_described(path)
        assert error.value.hint
