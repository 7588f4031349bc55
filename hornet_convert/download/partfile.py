"""The unfinished file of a download: its bytes, its digest, and a sidecar that tells what it is.

The sidecar is written before the first byte, so a part file without one, or of another URL, is
never continued. It holds the URL, the server's validator (a strong ETag or a date), the length of
the whole file if known, and how many bytes were synced when. After a kill the length of the part
file itself counts, because the kernel keeps what was written; after a crash of the machine only
what was synced does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from hornet_convert.download.digests import PassingDigest, feed
from hornet_convert.download.disk import FULL, disk_error, disk_errors, read_json, write_json
from hornet_convert.errors import DiskError

SYNC_EVERY = 64 << 20


@dataclass(frozen=True)
class Origin:
    """What a part file is a part of.

    `validator` is the value for If-Range, `total` the whole file's length in bytes; None where the
    server did not say.
    """

    url: str
    validator: str | None = None
    total: int | None = None


class PartFile:
    """A file that grows at its end, and starts over on request.

    Use as a context manager. Raises DiskError wherever the disk fails; a full disk takes the part
    file with it, so that what fails for lack of space does not use up the rest.
    """

    def __init__(self, path: Path, sidecar: Path) -> None:
        self.path = path
        self.sidecar = sidecar
        self.origin: Origin | None = None
        self.size = 0
        self._synced = 0
        self._descriptor = -1
        self._digest = PassingDigest()
        self._syncing: threading.Thread | None = None
        self._sync_error: OSError | None = None

    def __enter__(self) -> PartFile:
        with disk_errors(self.path, "opening the unfinished download"):
            self._descriptor = _opened(self.path)
            self.size = self._usable_bytes()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._digest.settle()
        self._settle()
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if self.origin is not None and self.size:
                self._write_sidecar()
        os.close(self._descriptor)
        self._descriptor = -1
        if not self.size:
            self.remove()

    def continue_from(self, url: str, total: int | None, seen: Callable[[int], None]) -> int:
        """Keep the bytes there are if they belong to `url`; returns how many that is.

        `total` is the length the whole file is known to have; another one recorded means another
        file. The kept bytes are hashed; `seen` is called with how many have been.
        """
        origin = self.origin
        if (
            origin is None
            or origin.url != url
            or (total is not None and origin.total not in (None, total))
            or (origin.total is not None and self.size > origin.total)
        ):
            self.restart(None)
            return 0
        with disk_errors(self.path, "reading the unfinished download"):
            os.ftruncate(self._descriptor, self.size)  # what was never synced goes
            feed(self._digest.update_now, self.path, limit=self.size, seen=seen)
        return self.size

    def restart(self, origin: Origin | None) -> None:
        """Drop all bytes; what comes next is the start of the file that `origin` describes."""
        self._digest.settle()
        self._settle()
        self._digest = PassingDigest()
        with disk_errors(self.path, "writing the download"):
            os.ftruncate(self._descriptor, 0)
            self.size = self._synced = 0
            self.origin = origin
            if origin is not None:
                self._write_sidecar()
            else:
                self.sidecar.unlink(missing_ok=True)

    def append(self, data: bytes) -> None:
        """Add bytes at the end, and to the digest."""
        self._digest.update(data)
        try:
            rest = memoryview(data)
            while rest:
                written = os.pwrite(self._descriptor, rest, self.size)
                self.size += written
                rest = rest[written:]
            if self._sync_error is not None:
                raise self._sync_error
            if self.size - self._synced >= SYNC_EVERY and self._syncing is None:
                self._sync_behind()
        except OSError as error:
            if error.errno in FULL:
                self._drop()
            raise disk_error(error, self.path, "writing the download") from error

    def finish(self) -> str:
        """Everything has arrived: sync, note the length, and return the SHA-256."""
        self._settle()
        with disk_errors(self.path, "writing the download"):
            if self._sync_error is not None:
                raise self._sync_error
            os.fsync(self._descriptor)
            self._synced = self.size
            if self.origin is not None:
                self.origin = replace(self.origin, total=self.size)
            self._write_sidecar()
        return self._digest.hexdigest()

    def published(self) -> None:
        """The file has been renamed: nothing of it is unfinished any more."""
        self.origin, self.size = None, 0
        self.remove()

    def check_space(self, total: int) -> None:
        """Raise DiskError if the file system has no room for the rest of the file."""
        missing = total - self.size
        with disk_errors(self.path, "looking for free space"):
            free = shutil.disk_usage(self.path.parent).free
        if free < missing:
            error = OSError(errno.ENOSPC, f"{missing} bytes are needed and {free} are free")
            raise disk_error(error, self.path.parent, "storing the download")

    def remove(self) -> None:
        """Remove the file and its sidecar."""
        for path in (self.path, self.sidecar):
            with contextlib.suppress(OSError):
                path.unlink()

    def _sync_behind(self) -> None:
        """Bring what has been written to the disk, while more arrives.

        Synced as a whole at the end, a large file would wait for the disk after the network.
        """

        def sync(size: int) -> None:
            try:
                getattr(os, "fdatasync", os.fsync)(self._descriptor)
                self._synced = size
                self._write_sidecar()
            except OSError as error:
                # Kept, because the kernel reports a failed write once and never again.
                self._sync_error = error
            self._syncing = None

        self._syncing = threading.Thread(target=sync, args=(self.size,), name="sync", daemon=True)
        self._syncing.start()

    def _settle(self) -> None:
        """Wait for a sync that is under way."""
        syncing = self._syncing
        if syncing is not None:
            syncing.join()

    def _drop(self) -> None:
        self._settle()
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        self.size = 0
        self.remove()

    def _usable_bytes(self) -> int:
        fields = read_json(self.sidecar) or {}
        url, validator, total = fields.get("url"), fields.get("validator"), fields.get("total")
        synced = fields.get("synced")
        if (
            not isinstance(url, str)
            or not isinstance(validator, str | None)
            or not isinstance(total, int | None)
            or not isinstance(synced, int)
        ):
            return 0
        self.origin = Origin(url, validator, total)
        length = os.fstat(self._descriptor).st_size
        return length if fields.get("boot") == _boot() else max(0, min(length, synced))

    def _write_sidecar(self) -> None:
        origin = self.origin
        if origin is not None:
            fields = {"url": origin.url, "validator": origin.validator, "total": origin.total}
            write_json(self.sidecar, {**fields, "synced": self._synced, "boot": _boot()})


def _opened(path: Path) -> int:
    """Open a part file to read and write; DiskError for a link or anything but a file.

    Bytes written through a link would destroy what it points to.
    """
    guards = ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK")
    flags = [getattr(os, name, 0) for name in guards]
    try:
        if not path.is_symlink():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | sum(flags), 0o666)
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
