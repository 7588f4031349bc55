"""The unfinished file of a download: its bytes, which of them are there, and what it is a part of.

A folder `.part` holds `data`; `state.json`, which tells the URL, the server's validator (a strong
ETag or a date), the length of the whole file, and the ranges it is fetched in; and `done`, eight
bytes per range that count what has been written of it. Each write of data is followed by one of its
count, so that a kill at any moment costs nothing that was counted; in the range that the file ends
in, its length counts. After a crash of the machine only what was synced counts.

A folder without a legible state, or of another URL, is never continued.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import struct
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hornet_convert.download.errors import OPTION
from hornet_convert.errors import DiskError
from hornet_convert.files.errors import FULL, disk_error, disk_errors
from hornet_convert.files.records import Count, read_record, write_record
from hornet_convert.files.writing import sweep

DATA, STATE, DONE = "data", "state.json", "done"

_COUNT: Final = struct.Struct("<Q")


@dataclass(eq=False)
class Span:
    """A range of the file: from `start` to before `end`, None for the end; `done` bytes are there.

    `synced` of them are known to be on the disk.
    """

    start: Count
    end: Count | None
    synced: Count = 0
    done: Count = 0

    @property
    def at(self) -> int:
        """Offset of the next byte."""
        return self.start + self.done

    @property
    def left(self) -> int | None:
        """How many bytes are missing; None if nobody knows."""
        return None if self.end is None else self.end - self.at


@dataclass(frozen=True)
class Origin:
    """What a part file is a part of.

    `validator` is the value for If-Range, `total` the whole file's length in bytes; None where the
    server did not say.
    """

    url: str
    validator: str | None = None
    total: Count | None = None


@dataclass(frozen=True)
class _State:
    origin: Origin
    spans: list[Span]
    boot: str | None


class PartFile:
    """A file that is filled from several places, and starts over on request.

    Use as a context manager. Raises DiskError wherever the disk fails; a full disk takes the part
    file with it, so that what fails for lack of space does not use up the rest.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / DATA
        self.origin: Origin | None = None
        self.spans: list[Span] = [Span(0, None)]
        self._lock = threading.Lock()
        self._noting = threading.Lock()
        self._descriptor = self._counts = -1

    def __enter__(self) -> PartFile:
        with disk_errors(self.folder, "opening the unfinished download", OPTION):
            if self.folder.is_symlink() or not self.folder.is_dir():
                self.folder.unlink(missing_ok=True)  # the name is the cache's own
            self.folder.mkdir(exist_ok=True)
            self._descriptor = _opened(self.data)
            self._counts = _opened(self.folder / DONE)
            self._restore()
        return self

    def __exit__(self, *raised: object) -> None:
        with contextlib.suppress(OSError, DiskError):
            self.sync() if self.size else self.remove()
        for descriptor in (self._descriptor, self._counts):
            os.close(descriptor)

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return sum(span.done for span in self.spans)

    @property
    def frontier(self) -> int:
        """How many bytes are there before the first gap."""
        spans = sorted(self.spans, key=lambda span: span.start)
        return next((span.at for span in spans if span.left != 0), spans[-1].at)

    @property
    def is_complete(self) -> bool:
        """Whether every byte of a file of known length is there."""
        return all(span.left == 0 for span in self.spans)

    def belongs_to(self, url: str, total: int | None) -> bool:
        """Whether what there is can be continued from `url`, for a file of `total` bytes."""
        origin = self.origin
        return origin is not None and origin.url == url and total in (None, origin.total or total)

    def restart(self, origin: Origin | None) -> None:
        """Drop all bytes; what comes next is the start of the file that `origin` describes."""
        with disk_errors(self.folder, "writing the download", OPTION):
            (self.folder / STATE).unlink(missing_ok=True)
            os.ftruncate(self._descriptor, 0)
            with self._lock:
                self.spans = [Span(0, None if origin is None else origin.total)]
                self.origin = origin
                self._count(0)
        self._note()

    def split(self, count: int, least: int) -> None:
        """Halve the largest gaps until there are `count`, of `least` bytes each or more."""
        before = len(self.spans)
        with self._lock, disk_errors(self.folder, "writing the download", OPTION):
            while sum(span.left != 0 for span in self.spans) < count:
                widest = max(self.spans, key=lambda span: span.left or 0)
                if widest.end is None or widest.end - widest.at < 2 * least:
                    break
                middle = (widest.at + widest.end) // 2
                self.spans.append(Span(middle, widest.end))
                self._count(len(self.spans) - 1)
                widest.end = middle
        if len(self.spans) > before:
            self._note()

    def append(self, span: Span, data: bytes) -> None:
        """Add bytes to what is there of a range; what is beyond its end is left out."""
        rest = memoryview(data) if span.left is None else memoryview(data)[: span.left]
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, span.at)
                with self._lock:
                    span.done += written
                    self._count(self.spans.index(span))
                rest = rest[written:]
        except OSError as error:
            if error.errno in FULL:
                self.remove()
            raise disk_error(error, self.data, "writing the download", OPTION) from error

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` of the bytes that are there."""
        with disk_errors(self.data, "reading the unfinished download", OPTION):
            return os.pread(self._descriptor, count, offset)

    def sync(self) -> None:
        """Bring what has been written to the disk, and note how much that is."""
        with self._lock:
            written = [(span, span.done) for span in self.spans]
        with disk_errors(self.data, "writing the download", OPTION):
            getattr(os, "fdatasync", os.fsync)(self._descriptor)
        for span, done in written:
            span.synced = done
        self._note()

    def finish(self) -> None:
        """Everything has arrived: note the length, sync."""
        if self.origin is not None:
            self.origin = replace(self.origin, total=self.size)
        if len(self.spans) == 1:
            self.spans[0].end = self.size
        self.sync()

    def check_space(self, total: int) -> None:
        """Raise DiskError if the file system has no room for the rest of the file."""
        missing = total - self.size
        with disk_errors(self.folder, "looking for free space", OPTION):
            free = shutil.disk_usage(self.folder).free
        if free < missing:
            error = OSError(errno.ENOSPC, f"{missing} bytes are needed and {free} are free")
            raise disk_error(error, self.folder, "storing the download", OPTION)

    def remove(self) -> None:
        """Forget and remove everything."""
        self.spans, self.origin = [Span(0, None)], None
        remove_part(self.folder)

    def _restore(self) -> None:
        state = read_record(self.folder / STATE, _State)
        if state is None or not _is_row(state.spans, state.origin.total):
            return
        length = os.fstat(self._descriptor).st_size
        for n, span in enumerate(state.spans):
            span.done = span.synced
            if state.boot == _boot():
                counted = os.pread(self._counts, _COUNT.size, n * _COUNT.size)
                span.done = _COUNT.unpack(counted.ljust(_COUNT.size, b"\0"))[0]
                if span.start < length and (span.end is None or length <= span.end):
                    span.done = length - span.start
            most = length if span.end is None else min(length, span.end)
            span.done = max(0, min(span.done, most - span.start))
            os.pwrite(self._counts, _COUNT.pack(span.done), n * _COUNT.size)
        self.origin, self.spans = state.origin, state.spans
        ends = [span.at for span in state.spans if span.done]
        os.ftruncate(self._descriptor, max(ends, default=0))  # what was never synced goes

    def _count(self, n: int) -> None:
        os.pwrite(self._counts, _COUNT.pack(self.spans[n].done), n * _COUNT.size)

    def _note(self) -> None:
        """Write the state, one writer at a time: an older one must not replace a newer one."""
        with self._noting:
            with self._lock:
                origin = self.origin
                spans = [replace(span) for span in self.spans]
            if origin is not None:
                write_record(self.folder / STATE, _State(origin, spans, _boot()), OPTION)


def remove_part(folder: Path) -> None:
    """Remove the folder of an unfinished download, or whatever has its name, but nothing else."""
    with contextlib.suppress(OSError):
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink(missing_ok=True)
            return
        for name in (STATE, DATA, DONE):
            (folder / name).unlink(missing_ok=True)
        sweep(folder)
        folder.rmdir()


def _is_row(spans: list[Span], total: int | None) -> bool:
    """Whether the ranges cover the file once, from its start to its end."""
    row = sorted(spans, key=lambda span: span.start)
    ends = [0, *(span.end for span in row)]
    return bool(row) and ends == [*(span.start for span in row), total]


def _opened(path: Path) -> int:
    """Open one of its files to read and write; DiskError for a link or anything but a file.

    Bytes written through a link would destroy what it points to.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o666)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
    raise DiskError(
        "the unfinished download in the cache is not a file of its own",
        where=str(path),
        expected="a regular file, or none",
        hint="Remove it, or name another folder with --cache.",
    )


def _boot() -> str | None:
    """What tells one run of the machine from the next; None where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
