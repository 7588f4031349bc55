"""The second look at the bytes: its digests, its comparison, and how often it hashes a byte."""

import hashlib
import os
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import convert
from hornet_convert.checkpoint.reader import Checkpoint, open_checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checks.model_file import examine
from hornet_convert.conversion import convert as converting
from hornet_convert.conversion import readback, reread
from hornet_convert.conversion.request import Request
from hornet_convert.conversion.reread import CHUNK, digests_of, same_bytes, sha256_of_all
from hornet_convert.conversion.write import ELEMENTS, SMALL
from hornet_convert.family.file_names import FORMATS, Format
from tests.conversion.run import output, row, run

LARGE = CHUNK // 2 + 5  # elements: three runs, the last a short one


def test_digests_of_whatever_stands_in_a_file(tmp_path: Path) -> None:
    """Large, empty, strided, expanded, reversed and shared tensors, and CRCs of their storages."""
    base = torch.arange(LARGE, dtype=torch.float32)
    tensors = {
        "large": torch.arange(LARGE, dtype=torch.float32).neg(),
        "whole": base,
        "part": base[7:5000],
        "strided": base[::3],
        "table": base[:600].view(20, 30).T,
        "expanded": base[3].expand(4, 5),
        "empty": torch.empty(0, 3),
    }
    torch.save(tensors, tmp_path / "in.pth")
    with open_checkpoint(tmp_path / "in.pth") as file:
        there = dict(file.root.items())  # type: ignore[attr-defined]
        found = digests_of(file, there)
        whole, crcs = sha256_of_all(file, there)
        assert hashlib.sha256((tmp_path / "in.pth").read_bytes()).hexdigest() == whole
        same = {(a, b) for a in there for b in there if same_bytes(file, there[a], file, there[b])}
    dense = {name: tensor.contiguous().numpy().tobytes() for name, tensor in tensors.items()}
    assert found.sha256 == {k: hashlib.sha256(data).hexdigest() for k, data in dense.items()}
    assert found.crcs == {name: zlib.crc32(data) for name, data in dense.items()}
    assert crcs.keys() >= {"large", "whole", "empty"}
    assert crcs.items() <= found.crcs.items()
    assert same == {(name, name) for name in tensors}
    assert found.damaged(there) == []
    assert found.checked_bytes(there) == 4 * 2 * LARGE


def test_damage_in_a_storage_that_no_tensor_fills(tmp_path: Path) -> None:
    """The CRC is that of the storage: its tensors are damaged also where their bytes are right."""
    path = tmp_path / "in.pth"
    base = torch.arange(4096, dtype=torch.float32) + 0.5
    torch.save({"first": base[:100], "last": base[-100:], "apart": torch.ones(8)}, path)
    data = path.read_bytes()
    at = data.index(np.float32(2000.5).tobytes())
    path.write_bytes(data[:at] + b"\x01" + data[at + 1 :])
    with open_checkpoint(path) as file:
        there = dict(file.root.items())  # type: ignore[attr-defined]
        assert digests_of(file, there).damaged(there) == ["first", "last"]


@pytest.mark.parametrize("container", FORMATS)
def test_a_conversion_hashes_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: Format
) -> None:
    """The source and its tensors, and the result; a few tensors once more, to compare."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w16-gf", num_classes=10459)
    hashed = list[int]()

    class Counted:
        def __init__(self, data: bytes = b"") -> None:
            self._digest = right(data)

        def update(self, data: Any) -> None:
            hashed.append(len(data))
            self._digest.update(data)

        def hexdigest(self) -> str:
            return str(self._digest.hexdigest())

    right = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", Counted)
    result = output(run(path, tmp_path / "out", container=container))
    monkeypatch.undo()
    assert hashlib.sha256(result.read_bytes()).hexdigest().startswith(result.stem[-8:])
    with open_checkpoint(path) as file:
        sizes = sorted(tensor.nbytes for tensor in examine(file).tensors.values())
    more = sum(size for size in sizes if size <= SMALL)
    more += sum([size for size in sizes if size > ELEMENTS][:2])
    assert sum(hashed) == path.stat().st_size + sum(sizes) + result.stat().st_size + more


def touched(path: Path) -> None:
    """Nothing but the time is another."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def flipped(path: Path) -> None:
    """One bit of a weight is another; the time is not."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "text"),
    [(touched, "the source was written to"), (flipped, "has other bytes than")],
)
def test_a_source_that_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], text: str
) -> None:
    """What was copied and what is there now are not the same file."""
    path = small.write(tmp_path / "in.pth", "official-legacy", "w8")
    right = vars(converting)["write"]

    def write(*arguments: Any) -> Any:
        made = right(*arguments)
        change(path)
        return made

    monkeypatch.setattr(converting, "write", write)
    report = convert(path, Request(tmp_path / "out"), forward=False)
    assert report.output is None
    assert text in row(report, "readback").detail


@pytest.mark.parametrize("container", FORMATS)
@pytest.mark.parametrize("form", ["official-zip", "official-legacy", "ours"])
def test_a_source_that_changes_before_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any, container: Format
) -> None:
    """Its digests are of the bytes before, and its time says nothing."""
    path = small.write(tmp_path / "in.pth", "official-zip" if form == "ours" else form, "w8")
    path = output(run(path, tmp_path / "first")) if form == "ours" else path
    right = vars(converting)["write"]

    def write(*arguments: Any) -> Any:
        next(each for each in arguments if isinstance(each, Future)).result()
        flipped(path)
        return right(*arguments)

    monkeypatch.setattr(converting, "write", write)
    report = convert(path, Request(tmp_path / "out", format=container), forward=False)
    assert report.output is None
    assert "was copied with other bytes than were digested" in row(report, "readback").detail


@pytest.mark.parametrize(("which", "text"), [(0, "the source was"), (1, "the result was")])
def test_a_byte_that_is_hashed_otherwise_than_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int, text: str
) -> None:
    """The SHA-256 in the record, or in the name, would be another file's."""
    path = small.write(tmp_path / "in.pth", "official-legacy", "w8")
    right, fill, here = sha256_of_all, vars(reread)["_fill"], threading.local()

    def wrong(checkpoint: Checkpoint, *more: Any) -> Any:
        here.wrong = (checkpoint.path == path) == (which == 0)
        return right(checkpoint, *more)

    def filled(checkpoint: Checkpoint, at: int, into: memoryview) -> None:
        fill(checkpoint, at, into)
        if getattr(here, "wrong", False) and at > checkpoint.size // 2 and len(into):
            into[0] ^= 1

    monkeypatch.setattr(readback, "sha256_of_all", wrong)
    monkeypatch.setattr(reread, "_fill", filled)
    report = convert(path, Request(tmp_path / "out"), forward=False)
    assert report.output is None
    assert f"{text} hashed with other bytes" in row(report, "readback").detail


@pytest.mark.parametrize("mistake", ["first run only", "wrong names"])
def test_a_mistake_in_the_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    """Those of some tensors are made by the code that copies, too."""
    path = small.write(tmp_path / "in.pth", "official-legacy", "w16-gf", num_classes=10459)
    digest = vars(reread)["_digest"]

    def wrong(checkpoint: Checkpoint, tensor: Tensor) -> tuple[str, int]:
        sha256, crc = digest(checkpoint, tensor)
        if mistake == "wrong names":
            return hashlib.sha256(sha256.encode()).hexdigest(), crc
        (first, *rest) = (bytes(run) for run in vars(reread)["_runs_of"](checkpoint, tensor))
        return (hashlib.sha256(first).hexdigest() if rest else sha256), crc

    monkeypatch.setattr(reread, "_digest", wrong)
    report = convert(path, Request(tmp_path / "out"), forward=False)
    assert report.output is None
    assert "other bytes than were digested" in row(report, "readback").detail
