"""One pass over a file for everything that has to see every byte of it.

SHA-256 of the file, SHA-256 of each tensor, the container's CRCs, a look at the values, and, on
request, each tensor's bytes handed on to be written elsewhere. Every byte is read once, in file
order, into a few reused buffers; the two digests run on threads of their own (hashing releases the
interpreter lock), so the pass costs about as much as one SHA-256 of the file on two cores.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import queue
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Storage, Tensor
from hornet_convert.errors import DiskError, MalformedError
from hornet_convert.numbers.values import ValueCheck

CHUNK = 2 << 20
BUFFERS = 6
ALIGNMENT = 16  # a tensor is cut at multiples of the largest element, counted from its start

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


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
    `damaged` the storages whose bytes do not match the CRC the container records, with both;
    `checked_bytes` how many bytes a CRC covered.
    """

    sha256: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    values: dict[str, ValueCheck] = field(default_factory=dict)
    damaged: list[tuple[Storage, int]] = field(default_factory=list)
    checked_bytes: int = 0


def plan(
    size: int, tensors: Mapping[str, Tensor], chunk: int = CHUNK
) -> tuple[list[Chunk], list[str]]:
    """Cut a file of `size` bytes into chunks whose pieces belong to one tensor and storage at most.

    Returns the chunks, and the names of the tensors that cannot be streamed: strided or
    byte-swapped ones, and those that share bytes with an earlier one.
    """
    streamed: list[tuple[int, int, str]] = []
    apart: list[str] = []
    end = 0
    spans = [(tensor.span, name) for name, tensor in tensors.items()]
    apart += [name for span, name in spans if span is None]
    for (start, nbytes), name in sorted((span, name) for span, name in spans if span is not None):
        if nbytes == 0 or start < end:
            apart.append(name)
            continue
        end = start + nbytes
        streamed.append((start, end, name))
    storages = sorted({t.storage for t in tensors.values()}, key=lambda s: (s.offset, s.nbytes))
    # An empty storage has no bytes to be wrong, and begins where its neighbour does.
    recorded = [
        (s.offset, s.offset + s.nbytes, s) for s in storages if s.crc32 is not None and s.nbytes
    ]
    return list(_chunks(size, streamed, recorded, chunk)), apart


def _chunks(
    size: int,
    streamed: list[tuple[int, int, str]],
    recorded: list[tuple[int, int, Storage]],
    chunk: int,
) -> Iterator[Chunk]:
    edges = sorted(
        {0, size}
        | {edge for start, stop, _ in streamed for edge in (start, stop)}
        | {edge for start, stop, _ in recorded for edge in (start, stop)}
    )
    tensor_at = {start: (stop, name) for start, stop, name in streamed}
    storage_at = {start: (stop, storage) for start, stop, storage in recorded}
    tensor: tuple[int, str | None] = (0, None)
    storage: tuple[int, Storage | None] = (0, None)
    offset, pieces = 0, list[Piece]()
    for start, stop in itertools.pairwise(edges):
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
    copy: Callable[[str, memoryview], None] | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Read the whole file once.

    Parameters
    ----------
    checkpoint
        An open checkpoint.
    tensors
        The tensors that matter, by any name.
    look_at_values
        Whether to look for non-finite and all-zero tensors.
    copy
        Given the bytes of each tensor by name, piece by piece: dense, in order, cut between
        elements. The memory is used again afterwards.
    progress
        Told how far the pass is.

    Raises
    ------
    MalformedError
        The file is shorter than when it was opened.
    DiskError
        Reading or writing failed.
    """
    result = Scan()
    chunks, apart = plan(checkpoint.size, tensors)
    file_digest = hashlib.sha256()
    tensor_digests = {name: hashlib.sha256() for name in tensors}
    if look_at_values:
        result.values = {name: ValueCheck(tensor.dtype) for name, tensor in tensors.items()}
    crcs: dict[Storage, int] = {}

    def digest_file(chunk: Chunk, view: memoryview) -> None:
        file_digest.update(view)

    def digest_pieces(chunk: Chunk, view: memoryview) -> None:
        for piece in chunk.pieces:
            data = view[piece.start : piece.stop]
            if piece.storage is not None:
                crcs[piece.storage] = zlib.crc32(data, crcs.get(piece.storage, 0))
            if piece.tensor is not None:
                tensor_digests[piece.tensor].update(data)
                if look_at_values:
                    result.values[piece.tensor].update(data)

    with _Workers((digest_file, digest_pieces)) as workers:
        for chunk in chunks:
            view = workers.buffer()[: chunk.nbytes]
            _read_all(checkpoint, view, chunk.offset)
            workers.submit(chunk, view)
            for piece in chunk.pieces:
                if copy is not None and piece.tensor is not None:
                    copy(piece.tensor, view[piece.start : piece.stop])
            workers.release(view)
            if progress is not None:
                progress(chunk.offset + chunk.nbytes, checkpoint.size)

    for name in apart:
        data = checkpoint.read(tensors[name]).data
        tensor_digests[name].update(data)
        if look_at_values:
            result.values[name].update(data)
        if copy is not None:
            copy(name, data)

    result.sha256 = file_digest.hexdigest()
    result.digests = {name: digest.hexdigest() for name, digest in tensor_digests.items()}
    result.damaged = [(storage, crc) for storage, crc in crcs.items() if crc != storage.crc32]
    result.checked_bytes = sum(storage.nbytes for storage in crcs)
    return result


def _read_all(checkpoint: Checkpoint, view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        try:
            got = os.preadv(checkpoint.file.fileno(), [view[done:]], offset + done)
        except OSError as error:
            raise DiskError(
                f"reading failed: {error.strerror}", where=str(checkpoint.path)
            ) from error
        if got == 0:
            raise MalformedError(
                "the file became shorter while it was read",
                where=str(checkpoint.path),
                expected=f"{checkpoint.size} bytes",
                found=f"{offset + done} bytes",
                hint="Something else is writing to it: wait for that to finish and try again.",
            )
        done += got


class _Workers:
    """Threads that each see every chunk in order, and a ring of buffers they give back."""

    def __init__(self, jobs: tuple[Callable[[Chunk, memoryview], None], ...]) -> None:
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(memoryview(bytearray(CHUNK)))
        self._pending: dict[int, int] = {}
        self._lock = threading.Lock()
        self._queues = [queue.SimpleQueue[tuple[Chunk, memoryview] | None]() for _ in jobs]
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(job, inbox), daemon=True)
            for job, inbox in zip(jobs, self._queues, strict=True)
        ]

    def __enter__(self) -> _Workers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        for inbox in self._queues:
            inbox.put(None)
        for thread in self._threads:
            thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def buffer(self) -> memoryview:
        """A buffer of CHUNK bytes that nobody uses; waits for one if need be."""
        return self._free.get()

    def submit(self, chunk: Chunk, view: memoryview) -> None:
        """Hand a filled buffer to every thread; the caller keeps it too, until `release`."""
        with self._lock:
            self._pending[id(view.obj)] = len(self._queues) + 1
        for inbox in self._queues:
            inbox.put((chunk, view))

    def release(self, view: memoryview) -> None:
        """Give a buffer back; the last one to do so frees it."""
        with self._lock:
            self._pending[id(view.obj)] -= 1
            free = self._pending[id(view.obj)] == 0
        if free:
            self._free.put(memoryview(view.obj))

    def _run(
        self,
        job: Callable[[Chunk, memoryview], None],
        inbox: queue.SimpleQueue[tuple[Chunk, memoryview] | None],
    ) -> None:
        while (item := inbox.get()) is not None:
            try:
                if self._failure is None:
                    job(*item)
            except BaseException as error:  # handed to the thread that waits for the result
                self._failure = error
            self.release(item[1])
