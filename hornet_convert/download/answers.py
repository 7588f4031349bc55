"""What the status, the headers and the first bytes of a response say of what follows. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hornet_convert.text import printable

_CONTENT_RANGE: Final = re.compile(
    r"\s*bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)\s*", re.IGNORECASE
)
_LENGTH: Final = re.compile(r"\s*(\d{1,18})\s*")

SNIFF_BYTES = 1024
TITLE_BYTES = 64 << 10

# Atomic and bounded: on hostile pages these may take time in proportion to the length, not more.
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?><!--.{0,400}?-->)\s*|<\?xml[^>]{0,200}>\s*)*"
    rb"<(?:!doctype\s+html|html|head|body|title|meta|script)\b",
    re.IGNORECASE | re.DOTALL,
)
_XML_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml\b", re.IGNORECASE)
_JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])")
_LFS_START = b"version https://git-lfs.github.com/spec/"
_TITLE = re.compile(rb"<title[^>]{0,200}>(.{0,2000}?)</title", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Body:
    """What the body is.

    `start` is the offset in the file of its first byte, `length` how many bytes the server says it
    has, `total` the length of the whole file, None where it does not say; `validator` what If-Range
    may carry; `self_delimiting` whether its end can be told from a broken connection; `ranges`
    whether the server offers to send parts.
    """

    start: int
    length: int | None
    total: int | None
    validator: str | None
    self_delimiting: bool
    ranges: bool = False


def body_of(status: int, headers: Mapping[str, str]) -> Body | str:
    """The body of a 200 or 206; a sentence if it is not to be used.

    `headers` must look names up without regard to case.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    coding = headers.get("transfer-encoding", "").strip().lower()
    if encoding not in ("", "identity") or coding not in ("", "identity", "chunked"):
        return f"an answer encoded as {printable(encoding or coding, 40)}, unasked"
    length = None if coding == "chunked" else _length(headers.get("content-length"))
    start, total = 0, length
    if status == 206 or "content-range" in headers:
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if match is None or match[1] is None:
            shown = headers.get("content-range") or headers.get("content-type") or "no range"
            return f"a partial answer that does not say which part it is ({printable(shown, 80)})"
        start, end = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        span = end - start + 1
        if span <= 0 or (total is not None and end >= total) or length not in (None, span):
            return f"a partial answer that contradicts itself ({printable(match[0], 80)})"
        if status != 206 and span != total:
            return f"a partial answer called a whole one ({printable(match[0], 80)})"
        length = span
    whole_or_told = coding == "chunked" or length is not None
    ranges = status == 206 or headers.get("accept-ranges", "").strip().lower() == "bytes"
    return Body(start, length, total, validator_of(headers), whole_or_told, ranges)


def validator_of(headers: Mapping[str, str]) -> str | None:
    """What If-Range may carry: a strong ETag, else the date of last modification (RFC 9110, 13)."""
    etag = headers.get("etag", "").strip()
    if etag.startswith('"') and etag.endswith('"') and len(etag) > 2 and etag.isprintable():
        return etag if len(etag) <= 500 else None
    modified = headers.get("last-modified", "").strip()
    return modified if modified and modified.isprintable() and len(modified) <= 100 else None


def _length(value: str | None) -> int | None:
    match = _LENGTH.fullmatch(value or "")
    return int(match[1]) if match else None


def disguise(head: bytes, content_type: str | None) -> str | None:
    """Name of what came instead of a checkpoint, or None if this may well be one.

    The content counts before the type: servers often send checkpoints as `text/plain`, and error
    pages without any type. Every checkpoint container holds control bytes near its start.
    """
    if _HTML_START.match(head):
        return "an HTML page"
    if _XML_START.match(head):
        return "an XML document"
    if head.startswith(_LFS_START):
        return "a Git LFS pointer"
    if not head:
        return "an empty answer"
    if any(byte < 9 or 13 < byte < 32 for byte in head):
        return None
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        return "an HTML page"
    if _JSON_START.match(head) or kind.endswith(("/json", "+json")):
        return "a JSON document"
    return None


def title(page: bytes) -> str | None:
    """Title of an HTML page, fit to be shown."""
    match = _TITLE.search(page[:TITLE_BYTES])
    if match is None:
        return None
    text = html.unescape(match[1].decode("utf-8", "replace"))
    return printable(" ".join(text.split()), 120) or None
