"""Reading the bytes of a file once more, by other code than that which read it first.

Shares nothing with `checks/scan.py` and `Checkpoint.read` but the description of a tensor.
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
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import DiskError
from hornet_convert.report.progress import Passing
from hornet_convert.text import printable

CHUNK: Final = 1 << 20
PIECE: Final = 1 << 14  # elements

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Reading:
    """SHA-256 of a whole file; by tensor the SHA-256 of its dense bytes, and the CRC-32 of them."""

    sha256: str
    digests: dict[str, str]
    crcs: dict[str, int]


def reread(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], progress: Passing | None = None
) -> Reading:
    """Read a file from its first byte to its last. Raises DiskError.

    In one thread: source and result are read side by side (`reread_both`).
    """
    whole, parts = hashlib.sha256(), {name: hashlib.sha256() for name in tensors}
    crcs = dict.fromkeys(tensors, 0)
    dense = {name: tensor for name, tensor in tensors.items() if is_dense(tensor)}
    waiting = sorted(((_begin(tensor), name) for name, tensor in dense.items()), reverse=True)
    inside: list[tuple[int, int, str]] = []

    def take(name: str, data: memoryview) -> None:
        parts[name].update(data)
        crcs[name] = zlib.crc32(data, crcs[name])

    buffer = memoryview(bytearray(CHUNK))
    for start in range(0, checkpoint.size, CHUNK):
        stop = min(start + CHUNK, checkpoint.size)
        data = buffer[: stop - start]
        _fill(checkpoint, start, data)
        whole.update(data)
        while waiting and waiting[-1][0] < stop:
            begin, name = waiting.pop()
            inside.append((begin, begin + dense[name].nbytes, name))
        for begin, end, name in inside:
            take(name, data[max(begin - start, 0) : end - start])
        inside = [row for row in inside if row[1] > stop]
        if progress is not None:
            progress(stop, checkpoint.size)
    for name in tensors.keys() - dense:
        take(name, _gathered(checkpoint, tensors[name]).data)
    digests = {name: part.hexdigest() for name, part in parts.items()}
    return Reading(whole.hexdigest(), digests, crcs)


def reread_both(
    source: Checkpoint,
    of_source: Mapping[str, Tensor],
    result: Checkpoint,
    of_result: Mapping[str, Tensor],
    progress: Passing | None = None,
) -> tuple[Reading, Reading]:
    """Read a source and its result, each on a core of its own. Raises DiskError."""
    with ThreadPoolExecutor(1) as beside:
        before = beside.submit(reread, source, of_source)
        after = reread(result, of_result, progress)
        return before.result(), after


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


def _begin(tensor: Tensor) -> int:
    return tensor.storage.offset + tensor.first * tensor.dtype.itemsize


def _gathered(checkpoint: Checkpoint, tensor: Tensor) -> Bytes:
    """The bytes of a tensor that is not dense, element by element from its whole storage."""
    size = tensor.dtype.itemsize
    storage = np.empty(tensor.storage.nbytes // size * size, np.uint8)
    _fill(checkpoint, tensor.storage.offset, storage.data)
    index = np.full(tensor.shape, tensor.first, np.int64)
    for axis, (length, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
        along = [1] * len(tensor.shape)
        along[axis] = length
        index += (np.arange(length) * stride).reshape(along)
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
