"""The arguments of pickle opcodes, from bytes to values. Sizes have been bounded by the scan."""

from __future__ import annotations

import re
from typing import Final

from hornet_convert.errors import MalformedError


def text(raw: bytes) -> str:
    """Text in UTF-8; lone surrogates pass, as they do in pickle."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise MalformedError("text that is not UTF-8", found=repr(raw[:40])) from error


def text_or_bytes(raw: bytes) -> str | bytes:
    """A string of Python 2: text if it can be, as torch.load reads it."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED: Final = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))


def _unescaped(match: re.Match[bytes]) -> bytes:
    body = match[1]
    if len(body) > 1 and body[:1] == b"x":
        return bytes((int(body[1:], 16),))
    if body[:1].isdigit() and body[0] < ord("8"):
        return bytes((int(body, 8) & 0xFF,))
    if body in (b"\\", b"'", b'"'):
        return body
    return bytes((_ESCAPED[body[0]],)) if body[0] in _ESCAPED else b"\\" + body


def quoted_text(raw: bytes) -> str | bytes:
    """A string of protocol 0: quoted, with backslash escapes."""
    if len(raw) < 2 or raw[0] != raw[-1] or raw[:1] not in (b"'", b'"'):
        raise MalformedError("a string without its quotes", found=repr(raw[:40]))
    return text_or_bytes(_ESCAPE.sub(_unescaped, raw[1:-1]))


def escaped_text(raw: bytes) -> str:
    """Text of protocol 0: Latin-1, with escapes for everything else."""
    try:
        return raw.decode("raw-unicode-escape")
    except UnicodeDecodeError as error:
        raise MalformedError("text with a broken escape", found=repr(raw[:40])) from error


def integer(raw: bytes) -> int:
    """A decimal integer; the scan has bounded its digits."""
    digits = raw.removesuffix(b"L")
    if re.fullmatch(rb"[+-]?[0-9]+", digits) is None:
        raise MalformedError("an integer that is none", found=repr(raw[:40]))
    return int(digits)


def integer_or_bool(raw: bytes) -> int:
    """As `integer`, but 00 and 01 are False and True."""
    return raw == b"01" if raw in (b"00", b"01") else integer(raw)


def real(raw: bytes) -> float:
    """A floating-point number in decimal."""
    try:
        return float(raw)
    except ValueError as error:
        raise MalformedError("a number that is none", found=repr(raw[:40])) from error


def binary_integer(raw: bytes) -> int:
    """A little-endian two's complement integer."""
    return int.from_bytes(raw, "little", signed=True)
