"""What a download needs from outside: limits, a clock, somewhere to report to, a way to stop it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hornet_convert.download.errors import CancelledError

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How long to wait, how often to try, how much to take.

    Times in seconds, sizes in bytes. `read` is the longest silence (a whole header may take twice
    that), `min_rate` the lowest average (bytes/s) over `rate_window`. `tries` is the number of
    requests in a row that may end without `substantial` bytes of progress, `connect_tries` how
    many of a host that has never answered. Retry-After is honoured up to `retry_after_max`.
    """

    connect: float = 10.0
    read: float = 15.0
    min_rate: float = 1024.0
    rate_window: float = 30.0
    tries: int = 5
    connect_tries: int = 3
    substantial: int = 8 * MIB
    backoff: float = 0.5
    backoff_max: float = 15.0
    retry_after_max: float = 30.0
    redirects: int = 10
    max_bytes: int = 4 << 30


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


@dataclass(frozen=True)
class Edges:
    """Everything a download touches besides the network and the disk.

    `unreachable` are hosts that could not be connected to: shared between downloads, so that a dead
    host costs its whole patience once and not for every file. Without `sleep`, waiting ends as soon
    as `cancel` is set.
    """

    limits: Limits = field(default_factory=Limits)
    progress: Callable[[Event], None] = ignore
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    unreachable: set[str] = field(default_factory=set)

    def check(self) -> None:
        """Raise CancelledError if the caller wants to stop."""
        if self.cancel.is_set():
            raise CancelledError(
                "stopped on request", hint="Run the same command again to go on from here."
            )

    def pause(self, seconds: float) -> None:
        """Sleep, unless the caller wants to stop."""
        self.check()
        if seconds > 0:
            (self.sleep or self.cancel.wait)(seconds)
        self.check()
