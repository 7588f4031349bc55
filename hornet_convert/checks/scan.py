"""One pass over a file for everything that has to see every byte of it.

SHA-256 of the file, SHA-256 of each tensor, the container's CRCs, and a look at the values. Every
byte is read once, in file order, into a few reused buffers. One thread hashes the file, one the
tensors, a third does what is quicker (all of it releases the interpreter lock), so on two cores the
pass costs little more than one SHA-256 of it.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Storage, Tensor
from hornet_convert.files.reading import read_into
from hornet_convert.numbers.elements import ValueCheck
from hornet_convert.report.progress import Passing

CHUNK = 2 << 20
BUFFERS = 6
ALIGNMENT = 16  # a tensor is cut at multiples of the largest element, counted from its start


@dataclass(frozen=True)
class Piece:
    """Part of one chunk: `start` and `stop` in it, and the tensor or storage it belongs to."""

    start: int
    stop: int
    tensor: str | None
    storage: Storage | None


@dataclass(frozen=True)
class Chunk:
    """A run of the file read at once."""

    offset: int
    nbytes: int
    pieces: tuple[Piece, ...]


@dataclass
class Scan:
    """What one pass saw.

    `sha256` of the file and `digests` of each tensor's dense bytes in hex; `values` by tensor;
    `damaged` the tensors in a storage whose bytes do not match the CRC the container records;
    `checked_bytes` how many bytes a CRC covered.
    """

    sha256: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    values: dict[str, ValueCheck] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    checked_bytes: int = 0


def cut(
    size: int, tensors: Mapping[str, Tensor], chunk: int = CHUNK
) -> tuple[list[Chunk], list[str]]:
    """Cut a file of `size` bytes into chunks whose pieces belong to one tensor and storage at most.

    Returns the chunks, and the names of the tensors that cannot be streamed: strided or
    byte-swapped ones, and those that share bytes with an earlier one.
    """
    tensor_at: dict[int, tuple[int, str]] = {}  # (end, name) by start
    apart = [name for name, tensor in tensors.items() if tensor.span is None]
    end = 0
    for (start, nbytes), name in sorted((t.span, name) for name, t in tensors.items() if t.span):
        if nbytes == 0 or start < end:
            apart.append(name)
            continue
        end = start + nbytes
        tensor_at[start] = end, name
    # An empty storage has no bytes to be wrong, and begins where its neighbour does.
    recorded = {t.storage for t in tensors.values() if t.storage.crc32 is not None}
    storage_at = {s.offset: (s.offset + s.nbytes, s) for s in recorded if s.nbytes}
    return list(_chunks(size, tensor_at, storage_at, chunk)), apart


def _chunks(
    size: int,
    tensor_at: Mapping[int, tuple[int, str]],
    storage_at: Mapping[int, tuple[int, Storage]],
    chunk: int,
) -> Iterator[Chunk]:
    ends = {end for end, _ in tensor_at.values()} | {end for end, _ in storage_at.values()}
    tensor: tuple[int, str | None] = (0, None)
    storage: tuple[int, Storage | None] = (0, None)
    offset, pieces = 0, list[Piece]()
    for start, stop in itertools.pairwise(sorted({0, size, *tensor_at, *storage_at, *ends})):
        tensor = tensor_at.get(start, tensor if start < tensor[0] else (0, None))
        storage = storage_at.get(start, storage if start < storage[0] else (0, None))
        position = start
        while position < stop:
            room = offset + chunk - position
            if room < stop - position:
                room -= (position - start + room) % ALIGNMENT
            if room <= 0:
                yield Chunk(offset, position - offset, tuple(pieces))
                offset, pieces = position, []
                continue
            take = min(room, stop - position)
            pieces.append(Piece(position - offset, position - offset + take, tensor[1], storage[1]))
            position += take
    if pieces:
        yield Chunk(offset, size - offset, tuple(pieces))


def scan(
    checkpoint: Checkpoint,
    tensors: Mapping[str, Tensor],
    *,
    look_at_values: bool = True,
    progress: Passing | None = None,
    stop: threading.Event | None = None,
) -> Scan:
    """Read the whole file once.

    Parameters
    ----------
    checkpoint, tensors
        An open checkpoint, and those of its tensors that matter, by any name.
    look_at_values
        Whether to look for non-finite and all-zero tensors.
    stop
        Set by whoever does not want the outcome any more; what is returned then is worth nothing.

    Raises DiskError: reading failed, or the file is shorter than when it was opened.
    """
    result = Scan()
    chunks, apart = cut(checkpoint.size, tensors)
    file_digest = hashlib.sha256()
    tensor_digests = {name: hashlib.sha256() for name in tensors}
    if look_at_values:
        result.values = {name: ValueCheck(tensor.dtype) for name, tensor in tensors.items()}
    crcs: dict[Storage, int] = {}

    def digest_pieces(chunk: Chunk, view: memoryview) -> None:
        for piece in chunk.pieces:
            if piece.tensor is not None:
                tensor_digests[piece.tensor].update(view[piece.start : piece.stop])

    def look_at_pieces(chunk: Chunk, view: memoryview) -> None:
        for piece in chunk.pieces:
            data = view[piece.start : piece.stop]
            if piece.storage is not None:
                crcs[piece.storage] = zlib.crc32(data, crcs.get(piece.storage, 0))
            if piece.tensor is not None and look_at_values:
                result.values[piece.tensor].update(data)

    # Each buffer with the work on it that has to be done before it is filled again.
    ring = [(memoryview(bytearray(CHUNK)), list[Future[None]]()) for _ in range(BUFFERS)]
    threads = [ThreadPoolExecutor(1) for _ in range(3)]
    with threads[0] as of_file, threads[1] as of_pieces, threads[2] as of_values:
        for chunk, (buffer, pending) in zip(chunks, itertools.cycle(ring), strict=False):
            if stop is not None and stop.is_set():
                return result
            for work in pending:
                work.result()
            view = buffer[: chunk.nbytes]
            read_into(checkpoint.file, chunk.offset, view)
            pending[:] = (
                of_file.submit(file_digest.update, view),
                of_pieces.submit(digest_pieces, chunk, view),
                of_values.submit(look_at_pieces, chunk, view),
            )
            if progress is not None:
                progress(chunk.offset + chunk.nbytes, checkpoint.size)
        for _, pending in ring:
            for work in pending:
                work.result()

    for name in apart:
        if stop is not None and stop.is_set():
            return result
        data = checkpoint.read(tensors[name]).data
        tensor_digests[name].update(data)
        if look_at_values:
            result.values[name].update(data)

    result.sha256 = file_digest.hexdigest()
    result.digests = {name: digest.hexdigest() for name, digest in tensor_digests.items()}
    broken = {storage for storage, crc in crcs.items() if crc != storage.crc32}
    result.damaged = [name for name, tensor in tensors.items() if tensor.storage in broken]
    result.checked_bytes = sum(storage.nbytes for storage in crcs)
    return result
