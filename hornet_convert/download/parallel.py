"""Several downloads at once, each handed over as soon as it is there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Final

from hornet_convert.download.at_hand import Fetched
from hornet_convert.errors import HornetConvertError, as_ours
from hornet_convert.family.zoo import Published

GRACE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Outcome:
    """What came of one model: exactly one of `fetched` and `error`."""

    model: Published
    fetched: Fetched | None = None
    error: HornetConvertError | None = None


def fetch_many(
    models: Sequence[Published],
    fetch_one: Callable[[Published], Fetched],
    *,
    jobs: int = 2,
    cancel: threading.Event,
) -> Generator[Outcome, None, None]:
    """Yield the outcome of every model as it comes, while the next ones are being fetched.

    `fetch_one` is called on `jobs` worker threads, and must stop soon once `cancel` is set: when
    the iteration ends, also by an exception (Ctrl-C) or by closing the generator. Whatever goes
    wrong with one model does not stop the others: it is that model's outcome.
    """
    waiting: queue.SimpleQueue[Published] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    for model in models:
        waiting.put(model)

    def work() -> None:
        while not cancel.is_set():
            try:
                model = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put(Outcome(model, fetched=fetch_one(model)))
            except BaseException as error:
                done.put(Outcome(model, error=as_ours(error)))

    # Daemons, because one that waits for a silent server must not keep the process from ending.
    threads = [
        threading.Thread(target=work, name=f"fetch-{n}", daemon=True)
        for n in range(max(1, min(jobs, len(models))))
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in models:
            yield done.get()
    finally:
        cancel.set()
        until = time.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
