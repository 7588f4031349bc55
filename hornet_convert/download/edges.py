"""What a download needs from outside: limits, a clock, somewhere to report to, a way to stop it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from hornet_convert.download.errors import CancelledError

MIB: Final = 1 << 20
OFFLINE: Final = "HORNET_CONVERT_OFFLINE"
TICK: Final = 0.1  # seconds between two looks at whether the caller wants to stop


@dataclass(frozen=True)
class Limits:
    """How long to wait, how often to try, how much to take.

    Times in seconds, sizes in bytes, rates in bytes per second. `timeout` is the longest wait for
    an answer, and for `min_rate * timeout` bytes of a body. So many `retries` in a row, for
    `retry_max_time`, may end without `substantial` bytes of progress; a host that has never
    answered is asked `connect_tries` times. The waits in between double, from `backoff` to
    `backoff_max`, plus `jitter`; `Retry-After` is honoured up to `retry_after_max`. So many
    `connections` ask for ranges of a file at once, each of `least_range` bytes or more. `rate` is
    the highest of all downloads together; None for no limit.
    """

    timeout: float = 30.0
    min_rate: float = 1024.0
    retries: int = 8
    retry_max_time: float = 600.0
    connect_tries: int = 3
    backoff: float = 1.0
    backoff_max: float = 30.0
    jitter: float = 1.0
    retry_after_max: float = 120.0
    substantial: int = 8 * MIB
    redirects: int = 10
    max_bytes: int = 4 << 30
    connections: int = 4
    least_range: int = 8 * MIB
    rate: float | None = None


Phase = Literal["waiting", "connecting", "downloading", "hashing", "retrying", "done"]


@dataclass(frozen=True)
class Event:
    """One report of progress.

    `done` and `total` count bytes of the file, a resumed prefix included; `total` is None where the
    server does not say. `detail` is a sentence for a log: why it waits, why it tries again.
    """

    model: str
    source: str
    phase: Phase
    done: int = 0
    total: int | None = None
    detail: str | None = None


def ignore(event: Event) -> None:
    """Report to nobody."""


def network_is_off() -> bool:
    """Whether the environment says that no socket is to be opened: HORNET_CONVERT_OFFLINE=1."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


class Hosts:
    """What downloads that run side by side know of the hosts they ask."""

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.unreachable: set[str] = set()
        self.given: Counter[str] = Counter()  # how often one of them has ended sending
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def asking(self, host: str) -> Iterator[None]:
        """From a request to the end of its answer."""
        with self._lock:
            self._asked[host] += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked[host] -= 1

    def busy(self, host: str) -> int:
        """How many answers of a host are awaited or arrive now."""
        return self._asked[host]


@dataclass(frozen=True)
class Edges:
    """Everything a download touches besides the network and the disk.

    Without `sleep`, waiting ends as soon as `cancel` is set.
    """

    limits: Limits = field(default_factory=Limits)
    progress: Callable[[Event], None] = ignore
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    hosts: Hosts = field(default_factory=Hosts)
    _free: list[float] = field(default_factory=lambda: [0.0])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self) -> None:
        """Raise CancelledError if the caller wants to stop."""
        if self.cancel.is_set():
            raise CancelledError(
                "stopped on request", hint="Run the same command again to resume it."
            )

    def pause(self, seconds: float) -> None:
        """Sleep, unless the caller wants to stop."""
        self.check()
        if seconds > 0:
            (self.sleep or self.cancel.wait)(seconds)
        self.check()

    def hold_back(self, count: int) -> None:
        """Wait as long as the limit of the rate asks for after `count` bytes."""
        if self.limits.rate is None:
            return
        with self._lock:
            now = self.monotonic()
            self._free[0] = max(now, self._free[0]) + count / self.limits.rate
            wait = self._free[0] - now
        self.pause(wait)
