"""What a response's status and headers say about the bytes that follow. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hornet_convert.errors import printable

_CONTENT_RANGE = re.compile(r"\s*bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)\s*", re.I)
_LENGTH = re.compile(r"\s*(\d{1,18})\s*")


@dataclass(frozen=True)
class Body:
    """What the body is.

    `start` is the offset in the file of its first byte, `length` how many bytes the server says it
    has, `total` the length of the whole file, None where it does not say; `self_delimiting` whether
    its end can be told from a broken connection; `encoded` the content encoding, if there is one.
    """

    start: int
    length: int | None
    total: int | None
    validator: str | None
    self_delimiting: bool
    encoded: str | None


def body_of(status: int, headers: Mapping[str, str]) -> Body | str:
    """The body of a 200 or 206; a sentence if the headers contradict themselves.

    `headers` must look names up without regard to case.
    """
    coding = headers.get("transfer-encoding", "").strip().lower()
    if coding not in ("", "identity", "chunked"):
        return f"an answer in an unknown transfer coding ({printable(coding, 40)})"
    chunked = coding == "chunked"
    length = None if chunked else _length(headers.get("content-length"))
    encoding = headers.get("content-encoding", "").strip().lower()
    encoded = encoding if encoding not in ("", "identity") else None
    start, total = 0, None if encoded else length
    if status == 206:
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if match is None or match[1] is None:
            shown = (
                headers.get("content-range") or headers.get("content-type") or "no Content-Range"
            )
            return f"a partial answer that does not say which part it is ({printable(shown, 80)})"
        start, end = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        span = end - start + 1
        if span <= 0 or (total is not None and end >= total) or length not in (None, span):
            return f"a partial answer that contradicts itself ({printable(match[0], 80)})"
        length = span
    return Body(start, length, total, validator_of(headers), chunked or length is not None, encoded)


def validator_of(headers: Mapping[str, str]) -> str | None:
    """What If-Range may carry: a strong ETag, else the date of last modification (RFC 9110, 13)."""
    etag = headers.get("etag", "").strip()
    if etag.startswith('"') and etag.endswith('"') and len(etag) > 2 and etag.isprintable():
        return etag[:500] if len(etag) <= 500 else None
    modified = headers.get("last-modified", "").strip()
    return modified if modified and modified.isprintable() and len(modified) <= 100 else None


def complete_length(headers: Mapping[str, str]) -> int | None:
    """Length of the whole file as a 416 tells it (`Content-Range: bytes */N`)."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    return int(match[3]) if match is not None and match[3] != "*" else None


def _length(value: str | None) -> int | None:
    match = _LENGTH.fullmatch(value or "")
    return int(match[1]) if match else None
