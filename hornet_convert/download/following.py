"""SHA-256 of a part file while it grows, and its way to the disk."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Final

from hornet_convert.download.edges import MIB
from hornet_convert.download.partfile import PartFile
from hornet_convert.errors import DiskError

SYNC_EVERY: Final = 64 * MIB
_POLL: Final = 0.02  # seconds


class Follower:
    """Hashes what is there before the first gap, and syncs every so often, on threads of its own.

    Hashing releases the interpreter lock, so it overlaps receiving and writing; synced as a whole
    at the end, a large file would wait for the disk after the network. What an earlier run left is
    hashed while the rest arrives.
    """

    def __init__(self, part: PartFile) -> None:
        self._part = part
        self._digest = hashlib.sha256()
        self._hashed = 0
        self._error: DiskError | None = None
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(step,), name=name, daemon=True)
            for name, step in (("sha256", self._hash), ("sync", self._sync))
        ]
        self._synced = part.size
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise what went wrong on the way to the disk: the kernel reports it once."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """No more bytes follow, or none of these."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def hexdigest(self, seen: Callable[[int], None]) -> str:
        """The digest of everything; `seen` is called with how many bytes have been hashed."""
        self.stop()
        self.check()
        while self._hash():
            seen(self._hashed)
        return self._digest.hexdigest()

    def _run(self, step: Callable[[], int]) -> None:
        """Do one thing for as long as there is something to do."""
        try:
            while not self._stopped.is_set():
                if not step():
                    self._stopped.wait(_POLL)
        except DiskError as error:
            self._error = error

    def _hash(self) -> int:
        """Add the next bytes, if there are any; how many they were."""
        data = self._part.read_at(self._hashed, min(MIB, self._part.frontier - self._hashed))
        self._digest.update(data)
        self._hashed += len(data)
        return len(data)

    def _sync(self) -> int:
        """Bring what has come to the disk, if it is enough; how many bytes those were."""
        new = self._part.size - self._synced
        if new < SYNC_EVERY:
            return 0
        self._synced += new
        self._part.sync()
        return new
