"""Pickles as opcodes and the raw bytes of their arguments, read as they are asked for.

The table of opcodes is that of pickletools. Its `genops` is not used: it decodes names as ASCII,
numbers and strings by other rules than pickle's, and allocates what an argument claims to hold.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from operator import methodcaller
from typing import Final

from hornet_convert.checkpoint.refusals import cut_off
from hornet_convert.errors import MalformedError

CHUNK: Final = 64 << 10
MAX_LINE: Final = 64 << 10  # bytes of a text argument
MAX_PICKLE: Final = 256 << 20  # bytes of a pickle, and so of any string in it
_MAX_SKIPPED_LINE: Final = 64 << 20


class TooLargeError(MalformedError):
    """A pickle beyond a limit of this reader, which other readers may not have."""


class Stream:
    """The bytes from `start` to `end` of a file, read forwards and never more than there are.

    `read` gives bytes of the file by offset and count. With `skipping`, long arguments are passed
    over, and come back empty.
    """

    def __init__(
        self, read: Callable[[int, int], bytes], start: int, end: int, *, skipping: bool = False
    ) -> None:
        self._read, self._end, self._skipping = read, end, skipping
        self._limit = end if skipping else start + MAX_PICKLE
        self._window, self._at, self._next = b"", start, 0  # the window lies at `_at`
        self.opcode_at = start

    def tell(self) -> int:
        """Offset of the next byte in the file."""
        return self._at + self._next

    def opcode(self) -> int:
        """The next byte, whose place is kept as `opcode_at`."""
        self.opcode_at = self._at + self._next
        if self._next == len(self._window):
            self._fetch(1)
        self._next += 1
        return self._window[self._next - 1]

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > len(self._window) - self._next:
            if self._skipping and count > CHUNK:
                self.require(count)
                self._at, self._next, self._window = self.tell() + count, 0, b""
                return b""
            self._fetch(count)
        self._next += count
        return self._window[self._next - count : self._next]

    def counted(self, width: int) -> bytes:
        """The bytes behind a little-endian count of them."""
        return self.take(int.from_bytes(self.take(width), "little"))

    def line(self) -> bytes:
        """The bytes up to the next newline, which is passed over."""
        raw, limit = b"", _MAX_SKIPPED_LINE if self._skipping else MAX_LINE
        while True:
            if self._next == len(self._window):
                self._fetch(1)
            end = self._window.find(b"\n", self._next, self._next + limit + 1)
            raw += self._window[self._next : end if end >= 0 else self._next + limit + 1]
            if len(raw) > limit:
                raise TooLargeError(
                    "a text argument is too long", expected=f"at most {limit} bytes"
                )
            if end >= 0:
                self._next = end + 1
                return raw
            self._next = len(self._window)

    def require(self, count: int) -> None:
        """Raise MalformedError unless that many bytes follow, TooLargeError beyond the limit."""
        needed = self.tell() + count
        if needed > self._end:
            raise cut_off("the file ends within a pickle", needed, self._end)
        if needed > self._limit:
            raise TooLargeError("a pickle is too large", expected=f"at most {MAX_PICKLE} bytes")

    def _fetch(self, count: int) -> None:
        """Move the window to the next byte, and make it hold `count` bytes or more."""
        self.require(count)
        at = self.tell()
        self._window = self._read(at, min(self._end - at, max(count, CHUNK)))
        self._at, self._next = at, 0


def _reader(argument: pickletools.ArgumentDescriptor | None) -> Callable[[Stream], bytes] | None:
    if argument is None:
        return None
    if argument.name == "stringnl_noescape_pair":
        return lambda stream: stream.line() + b"\n" + stream.line()
    if argument.n == pickletools.UP_TO_NEWLINE:
        return Stream.line
    if argument.n >= 0:
        return methodcaller("take", argument.n)
    return methodcaller("counted", _WIDTHS[argument.n])


_WIDTHS: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
# Opcode -> what pickletools says of it, and what reads its argument, None if it has none.
OPCODES: Final = {ord(op.code): (op, _reader(op.arg)) for op in pickletools.opcodes}
