"""What a body is, from its first bytes and its declared type. Pure."""

from __future__ import annotations

import html
import re

from hornet_convert.errors import printable

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
