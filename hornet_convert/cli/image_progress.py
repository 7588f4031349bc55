"""How far work on images is, on stderr: a bar on a terminal, now and then a line in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

LOG_EVERY = 30.0  # seconds


class ImageBar:
    """Counts images; says nothing in a log about work of a few seconds."""

    def __init__(self, what: str, total: int, *, shown: bool = True) -> None:
        self._what = what
        self._total = total
        self._shown = shown
        self._bar: tqdm[NoReturn] | None = None
        self._said = time.monotonic()
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=what, unit="img", leave=False, file=sys.stderr)

    def show(self, done: int, figures: str = "") -> None:
        """Move on to `done` images; `figures` is the result so far."""
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(done - self._bar.n)
        elif self._shown and time.monotonic() - self._said >= LOG_EVERY:
            self._said = time.monotonic()
            said = f"{self._what}: {done:,} of {self._total:,} images"
            sys.stderr.write(f"{said}, {figures}\n" if figures else f"{said}\n")

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Out of the way while something is written to stdout."""
        if self._bar is None:
            yield
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stdout):
            yield

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
