"""The fields of a protobuf message in a file, one after the other, without reading the long ones.

Source: the encoding guide of Protocol Buffers. Strict where readers differ: groups, which are
deprecated, and numbers of more than ten bytes are refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hornet_convert.errors import MalformedError, UnsupportedError
from hornet_convert.files.reading import read_at

MAX_FIELDS: Final = 2_000_000
MAX_TEXT: Final = 1 << 16  # bytes of one text
MAX_TEXTS: Final = 1 << 26  # bytes of all
_WINDOW: Final = 1 << 16
_FIXED: Final = {1: 8, 5: 4}


@dataclass(frozen=True)
class Field:
    """A field's number, its `value`, or where its bytes lie: from `start` to `end`.

    `wire` says which: 0 is a value, 2 are bytes, 1 and 5 are eight and four bytes. `begin` is where
    the field itself begins.
    """

    number: int
    wire: int
    begin: int
    start: int
    end: int
    value: int | None = None


class Messages:
    """An open file of protobuf messages."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file = file
        self._size = size
        self._at = 0
        self._window = b""
        self._fields = 0
        self._texts = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message from `start` to `end`. Raises MalformedError."""
        position = start
        while position < end:
            begin = position
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise UnsupportedError(
                    "the file has too many parts", expected=f"at most {MAX_FIELDS}"
                )
            tag, position = self._number(position, end)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                value, position = self._number(position, end)
                yield Field(number, wire, begin, position, position, value)
                continue
            length = _FIXED.get(wire)
            if wire == 2:
                length, position = self._number(position, end)
            if length is None or number == 0 or length > end - position:
                raise MalformedError(
                    "not a well-formed protobuf message",
                    where=f"byte {begin}",
                    found="a field that is cut off" if length and number else f"tag {tag}",
                    hint="The file is damaged, or no ONNX model: get it again.",
                )
            yield Field(number, wire, begin, position, position + length)
            position += length

    def text(self, field: Field) -> str:
        """A field's bytes as text. Raises MalformedError, or UnsupportedError if it is too long."""
        length = field.end - field.start
        self._texts += length
        if length > MAX_TEXT or self._texts > MAX_TEXTS:
            raise UnsupportedError(
                "the texts in the file are too long",
                where=f"byte {field.start}",
                expected=f"at most {MAX_TEXT} bytes, and {MAX_TEXTS} in all",
                found=f"{length} bytes",
            )
        try:
            return self.take(field.start, length).decode()
        except UnicodeDecodeError as error:
            raise MalformedError("a text is not UTF-8", where=f"byte {field.start}") from error

    def numbers(self, field: Field) -> list[int]:
        """A field of whole numbers: one, or several packed together."""
        if field.value is not None:
            return [field.value]
        values, position = list[int](), field.start
        while position < field.end and len(values) <= MAX_TEXT:
            value, position = self._number(position, field.end)
            values.append(value)
        return values

    def take(self, start: int, count: int) -> bytes:
        """Bytes of the file, which must lie inside it."""
        if not (self._at <= start and start + count <= self._at + len(self._window)):
            self._at = start
            self._window = read_at(self._file, start, min(max(count, _WINDOW), self._size - start))
        return self._window[start - self._at : start - self._at + count]

    def _number(self, position: int, end: int) -> tuple[int, int]:
        """A number in base 128, and where it ends."""
        value = 0
        for shift, byte in enumerate(self.take(position, min(10, end - position))):
            value |= (byte & 0x7F) << (7 * shift)
            if byte < 0x80:
                return value & (1 << 64) - 1, position + shift + 1
        raise MalformedError("not a well-formed protobuf message", where=f"byte {position}")


def varint(value: int) -> bytes:
    """A number in base 128, as it stands in a message."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])
