"""Faults 6 to 8, 11 and 12: bodies of the wrong length, encoding, kind, name or content."""

from __future__ import annotations

import gzip
import zlib

from tests.download.behaviours import (
    CHUNKED,
    FLIPPED,
    HALF,
    LENGTH,
    OCTETS,
    OK,
    PAGE,
    TAG,
    N,
    chunked,
    cut,
    disposition,
    endless,
    partial,
    raw,
    redirect,
    whole,
)
from tests.download.fault import Fault
from tests.download.setting import BODY, OTHER, SHA256, good

ZIPPED = gzip.compress(BODY, 1, mtime=0)
BOMB = gzip.compress(bytes(20_000_000), 9, mtime=0)

FAULTS: dict[int, tuple[Fault, ...]] = {
    6: (
        Fault("no length, ended by closing", (raw(OK + TAG, BODY),), asked=1),
        Fault("no length, cut, size known", (raw(OK + TAG, BODY[:HALF]), good), "index", asked=2),
        Fault(
            "no length, cut every time",
            (raw(OK + OCTETS, BODY[:HALF]),),
            code=3,
            says=("does not say how long",),
        ),
        Fault(
            "no length, nothing known",
            (raw(OK + TAG, BODY),),
            knows="nothing",
            code=3,
            says=("does not say how long",),
            kept=N,
        ),
        Fault(
            "length below the body",
            (raw(OK + f"Content-Length: {N - 9}\n{TAG}", BODY),),
            code=1,
            says=("not the expected file", f"{N - 9} bytes"),
            asked=2,
        ),
        Fault(
            "length below the body, size known",
            (raw(OK + f"Content-Length: {N - 9}\n{TAG}", BODY),),
            knows="index",
            code=1,
            says=(f"{N - 9} bytes", SHA256),
            asked=1,
        ),
        Fault(
            "length above the body",
            (raw(OK + f"Content-Length: {N + 9}\n{OCTETS}", BODY),),
            code=3,
            says=("cut the connection",),
            kept=N,
        ),
        Fault(
            "length beyond any checkpoint",
            (raw(OK + "Content-Length: 99999999999999", BODY),),
            code=3,
            says=("more than 1000000",),
            asked=1,
        ),
        Fault("length that is no number", (raw(OK + "Content-Length: ten", BODY),), asked=1),
        Fault("length below zero", (raw(OK + "Content-Length: -5", BODY),), asked=1),
        Fault(
            "two lengths that differ",
            (raw(OK + f"Content-Length: 5\n{LENGTH}", BODY), good),
            asked=2,
        ),
        Fault("two lengths that agree", (raw(OK + f"{LENGTH}\n{LENGTH}\n{TAG}", BODY),), asked=1),
        Fault("chunks", (chunked(BODY),), asked=1),
        Fault("chunks of one byte", (chunked(BODY[:2000], size=1, end=b""), good), asked=2),
        Fault("chunks, nothing known", (chunked(BODY),), knows="nothing", asked=1),
        Fault("chunks, cut, continued", (chunked(BODY[:HALF], end=b""), good), asked=2, extra=0),
        Fault(
            "chunks, cut in a chunk",
            (chunked(BODY[:HALF], end=b"fff\r\n" + BODY[HALF : HALF + 3]), good),
            asked=2,
        ),
        Fault("chunks without end mark", (chunked(BODY, end=b""), good), asked=2),
        Fault(
            "chunks ended early, size known",
            (chunked(BODY[:HALF]), good),
            knows="index",
            asked=2,
            extra=0,
        ),
        Fault("chunks ended early every time", (chunked(BODY[:HALF]),), code=1, asked=2),
        Fault(
            "chunk length that is no number", (chunked(BODY[:700], end=b"zz\r\n"), good), asked=2
        ),
        Fault("chunk length below zero", (chunked(BODY[:9000], end=b"-5\r\nabcde\r\n"), good)),
        Fault("chunk length beyond all", (chunked(BODY[:9000], end=b"f" * 40 + b"\r\n"), good)),
        Fault(
            "chunks in gzip",
            (raw(OK + "Transfer-Encoding: gzip, chunked", ZIPPED), good),
            knows="nothing",
            asked=2,
        ),
        Fault(
            "chunks beyond the known size",
            (chunked(BODY + b"more"),),
            knows="index",
            code=1,
            says=("not the expected file",),
        ),
        Fault(
            "chunks without end",
            (endless(b"2710\r\n" + BODY[:10000] + b"\r\n", head=CHUNKED),),
            code=3,
            says=("more than 1000000",),
        ),
    ),
    7: (
        Fault(
            "gzip unasked, digest known", (whole(ZIPPED, "Content-Encoding: gzip", TAG),), asked=1
        ),
        Fault(
            "deflate unasked, digest known",
            (whole(zlib.compress(BODY), "Content-Encoding: deflate", TAG),),
            asked=1,
        ),
        Fault(
            "gzip unasked, nothing known",
            (whole(ZIPPED, "Content-Encoding: gzip", TAG),),
            knows="nothing",
            code=3,
            says=("encoded as gzip",),
            asked=1,
        ),
        Fault(
            "gzip cut: from the start",
            (
                raw(
                    OK + f"Content-Encoding: gzip\nContent-Length: {len(ZIPPED)}\n{TAG}",
                    ZIPPED[:HALF],
                ),
                good,
            ),
            asked=2,
        ),
        Fault(
            "gzip that ends early",
            (whole(ZIPPED[:-5000], "Content-Encoding: gzip", TAG), good),
            asked=2,
        ),
        Fault(
            "gzip that is none",
            (whole(BODY, "Content-Encoding: gzip", TAG),),
            code=3,
            says=("not encoded as it says",),
        ),
        Fault(
            "gzip bomb",
            (whole(BOMB, "Content-Encoding: gzip"),),
            code=3,
            says=("more than 1000000",),
            asked=1,
        ),
        Fault("brotli", (whole(BODY, "Content-Encoding: br"),), code=3, says=("encoded as br",)),
        Fault("identity, spelled out", (whole(BODY, "Content-Encoding: identity"),), asked=1),
        Fault(
            "a range of a gzip",
            (
                cut(HALF),
                partial(HALF, f"bytes {HALF}-{N - 1}/{N}", BODY, "Content-Encoding: gzip"),
                good,
            ),
            asked=3,
        ),
    ),
    8: (
        Fault(
            "a page instead",
            (whole(PAGE, "Content-Type: text/html; charset=utf-8"),),
            code=3,
            says=(
                "got an HTML page, not a checkpoint",
                "titled",
                "found & gone",
                "status 200",
                "text/html",
            ),
            asked=1,
        ),
        Fault("a page without type", (whole(PAGE),), code=3, says=("got an HTML page",), asked=1),
        Fault("a page called octets", (whole(b"\n <html><body>", OCTETS),), code=3, says=("HTML",)),
        Fault("a page after a BOM", (whole(b"\xef\xbb\xbf" + PAGE),), "index", 3, ("HTML",)),
        Fault("a page after a comment", (whole(b"<!-- x -->" + PAGE),), "nothing", 3, ("HTML",)),
        Fault(
            "a page in gzip",
            (whole(gzip.compress(PAGE), "Content-Encoding: gzip"),),
            code=3,
            says=("HTML",),
        ),
        Fault(
            "a page when it is continued",
            (cut(HALF), whole(PAGE, "Content-Type: text/html")),
            code=3,
            says=("got an HTML page",),
            kept=HALF,
        ),
        Fault("the file, called HTML", (whole(BODY, "Content-Type: text/html"),), asked=1),
        Fault(
            "text, called HTML",
            (whole(b"gone", "Content-Type: text/html"),),
            code=3,
            says=("HTML",),
        ),
        Fault("XML", (whole(b'<?xml version="1.0"?><Error/>'),), code=3, says=("an XML document",)),
        Fault("JSON", (whole(b'{"error": "gone"}'),), code=3, says=("a JSON document",)),
        Fault(
            "a Git LFS pointer",
            (whole(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"),),
            code=3,
            says=("a Git LFS pointer",),
        ),
        Fault("nothing", (whole(b""),), code=3, says=("an empty answer",), asked=1),
        Fault("nothing, nothing known", (whole(b"", TAG),), "nothing", 3, ("an empty answer",)),
    ),
    11: (
        Fault("a name for the file", (disposition,), asked=1),
        Fault("a name and a redirect", (redirect("{url}/..%2f..%2fx"), disposition), asked=2),
    ),
    12: (
        Fault(
            "one wrong byte",
            (whole(FLIPPED, TAG),),
            knows="index",
            code=1,
            says=("127.0.0.1", f"{N} bytes", SHA256),
            asked=2,
        ),
        Fault(
            "one wrong byte, eight digits",
            (whole(FLIPPED, TAG),),
            code=1,
            says=(SHA256[:8],),
            asked=2,
        ),
        Fault("one wrong byte once", (whole(FLIPPED, TAG), good), asked=2),
        Fault("another file", (whole(OTHER, TAG),), knows="index", code=1, asked=2),
        Fault("another file of another length", (whole(OTHER[:500], TAG),), "index", 1, asked=1),
        Fault(
            "wrong half, right half", (raw(OK + f"{LENGTH}\n{TAG}", OTHER[:HALF]), good), asked=3
        ),
    ),
}
