"""The three standard streams as they are found: closed, full, broken, of a narrow encoding."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator


def prepare() -> None:
    """Make the standard descriptors safe to have and the streams safe to write to.

    A closed descriptor 0 to 2 would be given to the next file that is opened, and whatever a
    library prints would land in it. Characters an encoding lacks are escaped.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free one: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _nowhere())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def reader_may_go() -> Iterator[None]:
    """Let the reader of stdout go before the end, as `head` does, without that being an error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_stdout()


def give_up_stdout() -> None:
    """Write nothing more to stdout, not even at exit what is still buffered."""
    sys.stdout = _nowhere()
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _nowhere() -> io.TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123
