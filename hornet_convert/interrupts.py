"""Ctrl-C, SIGTERM and SIGHUP end the command line at once, at any moment, and leave nothing behind.

Python's own way, an exception in the main thread, gets lost in callbacks, waits for the threads
that work beside it, and breaks what it cuts in half, such as an import. So a thread waits for the
signal instead: it tidies up and ends the process. A program that only imports this package has no
such thread, and gets its KeyboardInterrupt as always.

The thread has to wait for what holds the interpreter itself: loading torch's library, some 0.3 s.
"""

from __future__ import annotations

import os
import signal
import threading
import time

TYPE_CHECKING = False  # `typing` is slow to import, and nothing is caught until `catch` is called
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WHOLE_SECONDS = 0.2  # that what must not be cut in half is waited for
LAST_SECONDS = 0.5  # after which the process ends, tidy or not

LOCK = threading.RLock()
"""Held for what must not be cut in half: a document on stdout, a bar, the making of a file.

After a signal it is never free again: nothing is begun any more.
"""

tidying: list[Callable[[], None]] = []
"""What is called after a signal, on another thread than the main one, which goes on meanwhile."""

last_words: list[Callable[[int], tuple[int, bytes]]] = []
"""What is written after a signal: to which descriptor, and what, given the exit code."""

_came: list[int] = []  # numbers of signals; a handler must not wait for a lock


def catch() -> int:
    """Lose no signal from now on; returns the descriptor that they are read from.

    A signal that is ignored stays ignored, as `nohup` wants it.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: _came.append(number))
    return readable


def watch(readable: int) -> None:
    """Wait for a signal, in a thread of its own, and end the process when it comes."""
    threading.Thread(target=_watch, args=(readable,), name="interrupts", daemon=True).start()


def end(code: int) -> NoReturn:
    """End the process as it is; if a signal has come, that ends it.

    What Python does at the end would take a while, in which a signal could only be ignored.
    """
    with LOCK:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # runs the handlers of those that came
        if not _came:
            os._exit(code)
    while True:
        time.sleep(LAST_SECONDS)


def _watch(readable: int) -> None:
    number = 0
    while number not in SIGNALS:  # others may have handlers of their own
        number = os.read(readable, 1)[0]
    _came.append(number)
    code = 128 + number
    try:
        # For a disk, a terminal or a reader that does not answer.
        threading.Timer(LAST_SECONDS, os._exit, (code,)).start()
        LOCK.acquire(timeout=WHOLE_SECONDS)
        for tidy in tuple(tidying):
            tidy()
        for words in last_words:
            os.write(*words(code))
    finally:  # where nobody can be told, the exit code still tells
        os._exit(code)
