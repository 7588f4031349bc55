"""An iterator whose next items are computed in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

STEPS = 3

T = TypeVar("T")


class Ahead(Generic[T]):
    """Computes the next items of an iterator while the thread that takes them goes on.

    Some items ahead, as one may take this side longer and the next one the other. Meanwhile each
    side has half of the processors: on few of them that is faster than all for each in turn, and
    does not suffer when other processes use them too. A context manager.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._pending: deque[Future[T | None]] = deque()

    def __enter__(self) -> Ahead[T]:
        torch.set_num_threads(max(1, self._threads // 2))
        self._pending.extend(self._pool.submit(self._advance) for _ in range(STEPS))
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._threads)

    def next(self) -> T | None:
        """The next item, None after the end. Raises what computing it raised."""
        item = self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._advance))
        return item

    @torch.no_grad()
    def _advance(self) -> T | None:
        return next(self._items, None)
