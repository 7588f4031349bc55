"""Reading the bytes of a file by other code than that which makes a result of them.

Shares nothing with `checks/scan.py`, `conversion/write.py` and `Checkpoint.read` but the
description of a tensor. A conversion has its digests from here alone: those of the source's tensors
while they are copied, those of both files while they are compared.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Storage, Tensor
from hornet_convert.errors import DiskError
from hornet_convert.report.progress import Passing
from hornet_convert.text import printable

CHUNK: Final = 1 << 18  # bytes: of two files they fit into the cache of one core
PIECE: Final = 1 << 14  # elements

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Reading:
    """SHA-256 of a whole file; by tensor the SHA-256 of its dense bytes, and the CRC-32 of them."""

    sha256: str
    digests: dict[str, str]
    crcs: dict[str, int]


@dataclass(frozen=True)
class Digests:
    """By tensor the SHA-256 and the CRC-32 of its dense bytes; the CRC-32 of each storage.

    Of the storages only those that the container records one of.
    """

    sha256: dict[str, str]
    crcs: dict[str, int]
    of_storages: dict[Storage, int]

    def damaged(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """The tensors in a storage that does not match the CRC-32 that the container records."""
        wrong = {storage for storage, crc in self.of_storages.items() if crc != storage.crc32}
        return [name for name, tensor in tensors.items() if tensor.storage in wrong]

    def checked_bytes(self, tensors: Mapping[str, Tensor]) -> int:
        """How many bytes such a CRC-32 covers."""
        return sum(
            s.nbytes for s in {t.storage for t in tensors.values()} & self.of_storages.keys()
        )


@dataclass(frozen=True)
class Copied:
    """Of the tensors of the source as they were copied: the CRC-32 of each, the SHA-256 of some."""

    crcs: dict[str, int]
    sha256: dict[str, str]


def digests_of(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> Digests:
    """Read every tensor, two at a time: one core may have something else to do meanwhile.

    Raises DiskError.
    """
    in_order = sorted(tensors, key=lambda name: _begin(tensors[name]))
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda name: _digest(checkpoint, tensors[name]), in_order)
        rows = dict(zip(in_order, found, strict=True))
    recorded = {name: t for name, t in tensors.items() if t.storage.crc32 is not None}
    filled = {t.storage: rows[name][1] for name, t in recorded.items() if _fills(t)}
    others = {t.storage for t in recorded.values()} - filled.keys()
    filled |= {storage: _crc(checkpoint, storage) for storage in others}
    return Digests(
        {name: rows[name][0] for name in tensors}, {name: rows[name][1] for name in tensors}, filled
    )


def _digest(checkpoint: Checkpoint, tensor: Tensor) -> tuple[str, int]:
    digest, crc = hashlib.sha256(), 0
    for data in _runs_of(checkpoint, tensor):
        digest.update(data)
        crc = zlib.crc32(data, crc)
    return digest.hexdigest(), crc


def _crc(checkpoint: Checkpoint, storage: Storage) -> int:
    crc = 0
    for data in _runs(checkpoint, storage.offset, storage.nbytes):
        crc = zlib.crc32(data, crc)
    return crc


def sha256_of_all(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], progress: Passing | None = None
) -> tuple[str, dict[str, int]]:
    """SHA-256 of a file; of the very bytes that went into it, the CRC-32 of each dense tensor.

    A tensor that shares bytes with one before it is left out. Raises DiskError.
    """
    digest, crcs, done = hashlib.sha256(), dict[str, int](), 0
    dense = sorted((_begin(t), name, t.nbytes) for name, t in tensors.items() if is_dense(t))
    for begin, name, nbytes in [*dense, (checkpoint.size, "", 0)]:
        if begin < done:
            continue
        for data in _runs(checkpoint, done, begin - done):
            digest.update(data)
        crc = 0
        for data in _runs(checkpoint, begin, nbytes):
            digest.update(data)
            crc = zlib.crc32(data, crc)
        if name:
            crcs[name] = crc
        done = begin + nbytes
        if progress is not None:
            progress(done, checkpoint.size)
    return digest.hexdigest(), crcs


def same_bytes(source: Checkpoint, first: Tensor, result: Checkpoint, other: Tensor) -> bool:
    """Whether two tensors have the same dense bytes. Raises DiskError."""
    runs = zip(_runs_of(source, first), _runs_of(result, other), strict=True)
    return first.nbytes == other.nbytes and all(data == given for data, given in runs)


def _runs_of(checkpoint: Checkpoint, tensor: Tensor) -> Iterator[bytearray]:
    """The dense little-endian bytes of a tensor, so many at a time that two are cut alike."""
    if is_dense(tensor):
        yield from _runs(checkpoint, _begin(tensor), tensor.nbytes)
        return
    data = _gathered(checkpoint, tensor)
    for at in range(0, tensor.nbytes, CHUNK):
        yield bytearray(data[at : at + CHUNK])


def _runs(checkpoint: Checkpoint, begin: int, nbytes: int) -> Iterator[bytearray]:
    """Bytes of the file, `CHUNK` at a time; the memory is used again."""
    buffer = bytearray(min(nbytes, CHUNK))
    for at in range(0, nbytes, CHUNK):
        if nbytes - at < len(buffer):
            buffer = bytearray(nbytes - at)
        _fill(checkpoint, begin + at, memoryview(buffer))
        yield buffer


def pieces(checkpoint: Checkpoint, tensor: Tensor) -> Iterator[Bytes]:
    """The dense little-endian bytes of a tensor, `PIECE` elements at a time."""
    step, total = PIECE * tensor.dtype.itemsize, tensor.nbytes
    if not is_dense(tensor):
        data = _gathered(checkpoint, tensor)
        yield from (data[at : at + step] for at in range(0, total, step))
        return
    for at in range(0, total, step):
        piece = np.empty(min(step, total - at), np.uint8)
        _fill(checkpoint, _begin(tensor) + at, piece.data)
        yield piece


def is_dense(tensor: Tensor) -> bool:
    """Whether the bytes of a tensor stand in the file one after the other, as they are needed."""
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return not tensor.storage.big_endian or tensor.dtype.itemsize == 1


def _fills(tensor: Tensor) -> bool:
    return is_dense(tensor) and tensor.nbytes == tensor.storage.nbytes


def _begin(tensor: Tensor) -> int:
    return tensor.storage.offset + tensor.first * tensor.dtype.itemsize


def _gathered(checkpoint: Checkpoint, tensor: Tensor) -> Bytes:
    """The bytes of a tensor that is not dense, element by element from those that it reaches."""
    size = tensor.dtype.itemsize
    index = np.zeros(tensor.shape, np.int64)
    for axis, (length, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
        along = [1] * len(tensor.shape)
        along[axis] = length
        index += (np.arange(length) * stride).reshape(along)
    storage = np.empty((index.max(initial=-1) + 1) * size, np.uint8)
    _fill(checkpoint, _begin(tensor), storage.data)
    order = slice(None, None, -1) if tensor.storage.big_endian else slice(None)
    elements: NDArray[Any] = storage.reshape(-1, size)[index.reshape(-1)]
    return np.ascontiguousarray(elements[:, order]).reshape(-1)


def _fill(checkpoint: Checkpoint, at: int, into: memoryview) -> None:
    """Exactly so many bytes of the file."""
    done = 0
    while done < len(into):
        try:
            got = os.preadv(checkpoint.file.fileno(), [into[done : done + (1 << 30)]], at + done)
        except OSError as error:
            where, why = printable(str(checkpoint.path)), error.strerror
            raise DiskError("the file cannot be read again", where=where, found=why) from error
        if not got:
            raise DiskError(
                "the file became shorter while it was read",
                where=printable(str(checkpoint.path)),
                hint="Something else is writing to it: wait for that to finish and try again.",
            )
        done += got
