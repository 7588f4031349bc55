"""Progress on stderr: bars on a terminal, a few plain lines in a log."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from hornet_convert.interrupts import LOCK, tidying
from hornet_convert.report.progress import COUNTED
from hornet_convert.text import printable

if TYPE_CHECKING:
    from tqdm import tqdm

    from hornet_convert.download.edges import Event
    from hornet_convert.report.progress import Progress

LINES_EVERY = 10.0  # seconds between two lines of a log


class Bars:
    """One bar per piece of work, all gone when the context ends; lines off a terminal.

    With `quiet` neither. May be called from several threads.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._on = sys.stderr.isatty() and not quiet
        if self._on:
            from tqdm import tqdm  # noqa: F401 - here, and not on a thread that shows a bar

            tidying.append(_clear)
        self._bars: dict[str, tqdm[NoReturn]] = {}
        self._said: set[str] = set()
        self._logged = time.monotonic()
        self._lines = TransferLines()

    def show(
        self, what: str, done: int, total: int | None, *, unit: str = "B", figures: str = ""
    ) -> None:
        """Move the bar of one piece of work, or tell a log now and then; `figures` is the result.

        A bar goes when the work is done.
        """
        unit = COUNTED.get(what.rpartition(": ")[2], unit)
        if not self._on:
            self._log(what, done, total, "bytes" if unit == "B" else unit, figures)
            return
        from tqdm import tqdm

        with LOCK, contextlib.suppress(OSError):  # nobody may be there to see it
            if what not in self._bars:
                self._bars[what] = tqdm(
                    initial=done,  # what an earlier run left is none of this one's rate
                    desc=printable(what, 80),
                    unit=unit if unit == "B" else f" {unit}",
                    unit_scale=unit == "B",
                    leave=False,
                    file=sys.stderr,
                )
            bar = self._bars[what]
            bar.total = total
            bar.set_postfix_str(figures, refresh=False)
            bar.update(done - bar.n)
            if total is not None and done >= total:
                self._bars.pop(what).close()

    def images(self, what: str, done: int, total: int, figures: str = "") -> None:
        """Show how far work on images is."""
        self.show(what, done, total, unit="images", figures=figures)

    def _log(self, what: str, done: int, total: int | None, unit: str, figures: str) -> None:
        if time.monotonic() - self._logged < LINES_EVERY:
            return
        self._logged = time.monotonic()
        far = f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"
        self.say(f"{printable(what, 200)}: {far}" + (f", {figures}" if figures else ""))

    def download(self, event: Event) -> None:
        """Show one event of a download: as a bar, or as a line where there is no terminal."""
        if self._on and event.phase in ("downloading", "hashing", "done"):
            self.show(f"{event.model}: {event.phase}", event.done, event.total)
        if event.detail is not None or not self._on:
            with LOCK:
                line = self._lines.line(event)
            if line is not None:
                self.say(line)

    def conversion(self, name: str) -> Progress:
        """The progress callback for the conversion of one model; a log is told of each step."""

        def show(what: str, done: int, total: int) -> None:
            if not self._on:
                self.say(f"{name}: {what}")
            self.show(f"{name}: {what}", done, total)

        return show

    def say(self, line: str) -> None:
        """Write a line once, above the bars."""
        if self._quiet:
            return
        with LOCK, contextlib.suppress(OSError):  # nobody may be there to read it
            if line in self._said:
                return
            self._said.add(line)
            if self._on:
                from tqdm import tqdm

                tqdm.write(line, file=sys.stderr)
            else:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()

    def aside(self) -> contextlib.AbstractContextManager[None]:
        """Out of the way while something is written to stdout."""
        if not self._on:
            return contextlib.nullcontext()
        from tqdm import tqdm

        return tqdm.external_write_mode(file=sys.stdout)

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *exception: object) -> None:
        with LOCK:
            for bar in self._bars.values():
                bar.close()
            self._bars.clear()


def _clear() -> None:
    """Remove the bars from the terminal, which they leave at the start of the first one."""
    with contextlib.suppress(OSError):  # the terminal may have gone
        os.write(2, b"\r\x1b[J")


@dataclass
class _Course:
    """When a download began, with how many bytes, and when it was last spoken of."""

    began: float
    had: int
    told: float


class TransferLines:
    """Turns events into lines. Not for several threads at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._courses: dict[str, _Course] = {}

    def line(self, event: Event) -> str | None:
        """What to say of an event, if anything."""
        now, who = self._clock(), f"{event.model}: {event.source}: "
        if event.detail is not None:
            return who + printable(event.detail, 400)
        course = self._courses.get(event.model)
        if event.phase == "done":
            self._courses.pop(event.model, None)
            rate = f", {_rate(event, course, now)}" if course else ""
            return f"{who}{event.done:,} bytes at hand{rate}"
        if event.phase != "downloading":
            return None
        if course is None:
            self._courses[event.model] = _Course(now, event.done, now)
            return f"{who}downloading, {_how_far(event)}"
        if now - course.told < LINES_EVERY:
            return None
        course.told = now
        return f"{who}{_how_far(event)}, {_rate(event, course, now)}"


def _how_far(event: Event) -> str:
    if not event.total:
        return f"{event.done:,} bytes"
    return f"{event.done:,} of {event.total:,} bytes ({event.done / event.total:.0%})"


def _rate(event: Event, course: _Course, now: float) -> str:
    """Bytes per second of what came in this run, and how long the rest takes at that rate."""
    rate = (event.done - course.had) / max(now - course.began, 1e-3)
    text = f"{rate / 1e6:.1f} MB/s"
    if event.total and rate and event.done < event.total:
        text += f", {(event.total - event.done) / rate:.0f} s left"
    return text
