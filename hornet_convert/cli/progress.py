"""Progress bars on stderr, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import NoReturn

from hornet_convert.verify import Progress


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress | None]:
    """A progress callback that draws one bar per stage of work; None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bars: dict[str, tqdm[NoReturn]] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = tqdm(
                total=total, desc=what, unit="B", unit_scale=True, leave=False, file=sys.stderr
            )
        bars[what].update(done - bars[what].n)
        if done >= total:
            bars.pop(what).close()

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
