"""Faults 6 to 8, 11 and 12: bodies of the wrong length, encoding, kind, name or content."""

from __future__ import annotations

import gzip

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
from tests.download.fault import Fault, right, wrong
from tests.download.setting import BODY, OTHER, SHA256, Knows, good

ZIPPED = gzip.compress(BODY, 1, mtime=0)
ENCODINGS: tuple[tuple[str, Knows], ...] = (("gzip", "digits"), ("br", "nothing"))

FAULTS: dict[int, tuple[Fault, ...]] = {
    6: (
        right("no length, ended by closing", raw(OK + TAG, BODY), asked=1),
        right(
            "no length, cut, size known", raw(OK + TAG, BODY[:HALF]), good, knows="index", asked=2
        ),
        wrong(
            "no length, cut every time", raw(OK + OCTETS, BODY[:HALF]), says="does not say how long"
        ),
        wrong(
            "no length, nothing known",
            raw(OK + TAG, BODY),
            knows="nothing",
            says="does not say how long",
            kept=N,
        ),
        wrong(
            "length below the body",
            raw(OK + f"Content-Length: {N - 9}\n{TAG}", BODY),
            code=1,
            says=("not the expected file", f"{N - 9} bytes"),
            asked=2,
        ),
        wrong(
            "length below the body, size known",
            raw(OK + f"Content-Length: {N - 9}\n{TAG}", BODY),
            code=1,
            knows="index",
            says=(f"{N - 9} bytes", SHA256),
            asked=1,
        ),
        wrong(
            "length above the body",
            raw(OK + f"Content-Length: {N + 9}\n{OCTETS}", BODY),
            says="cut the connection",
            kept=N,
        ),
        wrong(
            "length beyond any checkpoint",
            raw(OK + "Content-Length: 99999999999999", BODY),
            says="more than 1000000",
            asked=1,
        ),
        right("length that is no number", raw(OK + "Content-Length: ten", BODY), asked=1),
        right("length below zero", raw(OK + "Content-Length: -5", BODY), asked=1),
        right(
            "two lengths that differ", raw(OK + f"Content-Length: 5\n{LENGTH}", BODY), good, asked=2
        ),
        right("two lengths that agree", raw(OK + f"{LENGTH}\n{LENGTH}\n{TAG}", BODY), asked=1),
        right("chunks", chunked(BODY), asked=1),
        right("chunks of one byte", chunked(BODY[:2000], size=1, end=b""), good, asked=2),
        right("chunks, nothing known", chunked(BODY), knows="nothing", asked=1),
        right("chunks, cut, continued", chunked(BODY[:HALF], end=b""), good, asked=2, extra=0),
        right(
            "chunks, cut in a chunk",
            chunked(BODY[:HALF], end=b"fff\r\n" + BODY[HALF : HALF + 3]),
            good,
            asked=2,
        ),
        right("chunks without end mark", chunked(BODY, end=b""), good, asked=3),
        right(
            "chunks ended early, size known",
            chunked(BODY[:HALF]),
            good,
            knows="index",
            asked=2,
            extra=0,
        ),
        wrong("chunks ended early every time", chunked(BODY[:HALF]), code=1, asked=2),
        right("chunk length that is no number", chunked(BODY[:700], end=b"zz\r\n"), good, asked=2),
        right("chunk length below zero", chunked(BODY[:9000], end=b"-5\r\nabcde\r\n"), good),
        right("chunk length beyond all", chunked(BODY[:9000], end=b"f" * 40 + b"\r\n"), good),
        right("chunks beyond the known size", chunked(BODY + b"more"), knows="index", asked=1),
        wrong(
            "chunks without end",
            endless(b"2710\r\n" + BODY[:10000] + b"\r\n", head=CHUNKED),
            says="more than 1000000",
        ),
    ),
    7: (
        *(
            wrong(
                f"{coding} unasked",
                whole(ZIPPED, f"Content-Encoding: {coding}", TAG),
                knows=knows,
                says=f"encoded as {coding}, unasked",
                asked=1,
            )
            for coding, knows in ENCODINGS
        ),
        right("identity, spelled out", whole(BODY, "Content-Encoding: identity"), asked=1),
        right(
            "a range of a gzip",
            cut(HALF),
            partial(HALF, f"bytes {HALF}-{N - 1}/{N}", BODY, "Content-Encoding: gzip"),
            good,
            asked=3,
        ),
    ),
    8: (
        wrong(
            "a page instead",
            whole(PAGE, "Content-Type: text/html; charset=utf-8"),
            says=(
                "got an HTML page, not a checkpoint",
                "titled",
                "found & gone",
                "status 200",
                "text/html",
            ),
            asked=1,
        ),
        wrong("a page without type", whole(PAGE), says="got an HTML page", asked=1),
        wrong("a page called octets", whole(b"\n <html><body>", OCTETS), says="HTML"),
        wrong("a page after a BOM", whole(b"\xef\xbb\xbf" + PAGE), knows="index", says="HTML"),
        wrong("a page after a comment", whole(b"<!-- x -->" + PAGE), knows="nothing", says="HTML"),
        wrong(
            "a page when it is continued",
            cut(HALF),
            whole(PAGE, "Content-Type: text/html"),
            says="got an HTML page",
            kept=HALF,
        ),
        right("the file, called HTML", whole(BODY, "Content-Type: text/html"), asked=1),
        wrong("text, called HTML", whole(b"gone", "Content-Type: text/html"), says="HTML"),
        wrong("XML", whole(b'<?xml version="1.0"?><Error/>'), says="an XML document"),
        wrong("JSON", whole(b'{"error": "gone"}'), says="a JSON document"),
        wrong(
            "a Git LFS pointer",
            whole(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"),
            says="a Git LFS pointer",
        ),
        wrong("nothing", whole(b""), says="an empty answer", asked=1),
        wrong("nothing, nothing known", whole(b"", TAG), knows="nothing", says="an empty answer"),
    ),
    11: (
        right("a name for the file", disposition, asked=1),
        right("a name and a redirect", redirect("{url}/..%2f..%2fx"), disposition, asked=2),
    ),
    12: (
        wrong(
            "one wrong byte",
            whole(FLIPPED, TAG),
            code=1,
            knows="index",
            says=("127.0.0.1", f"{N} bytes", SHA256),
            asked=2,
        ),
        wrong(
            "one wrong byte, eight digits", whole(FLIPPED, TAG), code=1, says=SHA256[:8], asked=2
        ),
        right("one wrong byte once", whole(FLIPPED, TAG), good, asked=2),
        wrong("another file", whole(OTHER, TAG), code=1, knows="index", asked=2),
        wrong(
            "another file of another length",
            whole(OTHER[:500], TAG),
            code=1,
            knows="index",
            asked=1,
        ),
        right("wrong half, right half", raw(OK + f"{LENGTH}\n{TAG}", OTHER[:HALF]), good, asked=3),
    ),
}
