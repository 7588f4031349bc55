"""Several downloads at once, each handed over as soon as it is there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from hornet_convert.download.result import Fetched
from hornet_convert.errors import HornetConvertError
from hornet_convert.family.zoo import Published

GRACE_SECONDS = 1.0


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

    Parameters
    ----------
    models
        What to fetch, the first first.
    fetch_one
        Called on worker threads; must stop soon once `cancel` is set (see `Edges.cancel`).
    jobs
        How many at once.
    cancel
        Set when the iteration ends early, by an exception (Ctrl-C) or by closing the generator.

    A HornetConvertError of one model does not stop the others; any other exception is raised here.
    """
    waiting: queue.SimpleQueue[Published] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
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
            except HornetConvertError as error:
                done.put(Outcome(model, error=error))
            except BaseException as error:  # raised again where somebody waits for it
                done.put(error)

    # Daemons, because one that waits for a silent server must not keep the process from ending.
    threads = [
        threading.Thread(target=work, name=f"fetch-{n}", daemon=True)
        for n in range(max(1, min(jobs, len(models))))
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in models:
            outcome = done.get()
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
    finally:
        cancel.set()
        until = time.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
