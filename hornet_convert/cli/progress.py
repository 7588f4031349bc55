"""Progress on stderr: bars on a terminal, a few plain lines in a log."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from hornet_convert.errors import printable

if TYPE_CHECKING:
    from tqdm import tqdm

    from hornet_convert.download.edges import Event
    from hornet_convert.verification.subject import Progress


class Bars:
    """One bar per piece of work; safe to call from several threads. Silent off a terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._bars: dict[str, tqdm[NoReturn]] = {}
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def show(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of one piece of work; it goes when the work is done."""
        if not self._on:
            return
        from tqdm import tqdm

        with self._lock:
            if what not in self._bars:
                self._bars[what] = tqdm(
                    total=total,
                    desc=printable(what, 80),
                    unit="B",
                    unit_scale=True,
                    leave=False,
                    file=sys.stderr,
                )
            bar = self._bars[what]
            bar.total = total
            bar.update(done - bar.n)
            if total is not None and done >= total:
                self._bars.pop(what).close()

    def download(self, event: Event) -> None:
        """Show one event of a download: as a bar, or as a line where there is no terminal."""
        if event.phase in ("downloading", "hashing", "done"):
            self.show(f"{event.model}: {event.phase}", event.done, event.total)
        if event.detail is not None or (event.phase == "done" and not self._on):
            said = printable(event.detail or f"{event.done:,} bytes at hand", 400)
            self.say(f"{event.model}: {event.source}: {said}")

    def conversion(self, name: str) -> Progress:
        """The progress callback for the conversion of one model."""
        return lambda what, done, total: self.show(f"{name}: {what}", done, total)

    def say(self, line: str) -> None:
        """Write a line once, above the bars."""
        with self._lock:
            if line in self._said:
                return
            self._said.add(line)
            if self._on:
                from tqdm import tqdm

                tqdm.write(line, file=sys.stderr)
            else:
                sys.stderr.write(line + "\n")

    def close(self) -> None:
        """Remove every bar."""
        with self._lock:
            for bar in self._bars.values():
                bar.close()
            self._bars.clear()


@contextlib.contextmanager
def progress_bars() -> Iterator[Bars]:
    """Bars that are gone at the end, however it comes."""
    bars = Bars()
    try:
        yield bars
    finally:
        bars.close()
