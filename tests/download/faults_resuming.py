"""Faults 1 to 5: broken off and continued."""

from __future__ import annotations

from tests.download.behaviours import (
    DATE,
    HALF,
    LENGTH,
    OCTETS,
    OK,
    TAG,
    N,
    crumbs,
    cut,
    ignoring_if_range,
    no_ranges,
    own_tag,
    partial,
    raw,
    status,
    steps,
    whole,
)
from tests.download.fault import Fault, right, wrong
from tests.download.setting import BODY, Knows, good

KNOWN: tuple[Knows, ...] = ("digits", "nothing")

FAULTS: dict[int, tuple[Fault, ...]] = {
    1: (
        right("cut after the header", cut(0), good, asked=2, extra=0),
        right("cut after one byte", cut(1), good, asked=2, extra=1),
        right("cut while its kind is looked at", cut(700), good, asked=2, extra=700),
        right("cut in the middle", cut(HALF), good, asked=2, extra=0),
        right("cut before the last byte", cut(N - 1), good, asked=2, extra=0),
        right("reset in the middle", cut(HALF, reset=True), good, asked=2),
        right("cut three times", cut(2000), cut(HALF), cut(N - 1), good, asked=4, extra=0),
        right("cut within the header", raw(b"HTTP/1.1 200 OK\r\nContent-Le"), good, asked=2),
        right("closed without an answer", raw(b""), good, asked=2),
        right("cut, only a date to go by", cut(HALF, DATE), cut(N, DATE), asked=2, extra=0),
        right(
            "cut, nothing to go by but the digest",
            cut(HALF, OCTETS),
            cut(N, OCTETS),
            knows="index",
            asked=2,
            extra=0,
        ),
        right(
            "cut, nothing to go by at all: from the start",
            cut(HALF, OCTETS),
            cut(N, OCTETS),
            knows="nothing",
            asked=2,
            extra=HALF,
        ),
        right("nothing known, cut, continued", cut(HALF), good, knows="nothing", extra=0),
    ),
    2: (
        right("another ETag, the digest known: continued", cut(HALF), own_tag('"second"'), extra=0),
        right(
            "another ETag, nothing known",
            cut(HALF),
            own_tag('"second"'),
            knows="nothing",
            extra=HALF,
        ),
        right(
            "another ETag, and If-Range ignored",
            cut(HALF),
            ignoring_if_range,
            ignoring_if_range,
            knows="nothing",
            asked=3,
        ),
        right(
            "another date after the cut",
            cut(HALF, DATE),
            cut(N, "Last-Modified: Thu, 22 Oct 2015 07:28:00 GMT"),
            knows="nothing",
            extra=HALF,
        ),
        right(
            "a weak ETag is nothing to go by",
            own_tag('W/"x"', upto=HALF),
            own_tag('W/"x"'),
            knows="nothing",
            extra=HALF,
        ),
        right(
            "another length in the range",
            cut(HALF),
            partial(HALF, f"bytes {HALF}-{N - 1}/{N + 5}", BODY, TAG),
            good,
            asked=3,
        ),
    ),
    3: (
        right("range ignored", cut(HALF), whole(BODY, TAG), asked=2, extra=HALF),
        right(
            "range ignored, cut again, then honoured",
            cut(HALF),
            raw(OK + LENGTH + f"\n{TAG}", BODY[:1000]),
            good,
            asked=3,
            extra=HALF,
        ),
        right("206 from the start", cut(HALF), partial(0, f"bytes 0-{N - 1}/{N}", BODY), good),
        right(
            "206 from elsewhere",
            cut(HALF),
            partial(HALF - 7, f"bytes {HALF - 7}-{N - 1}/{N}", BODY),
            good,
            asked=3,
        ),
        right("206 without a range", cut(HALF), whole(BODY, status="206 Partial"), good, asked=3),
        right("206 unasked", partial(5, f"bytes 5-{N - 1}/{N}", BODY), good, asked=2),
        wrong(
            "206 always, of nobody knows what",
            partial(5, f"bytes 5-{N - 1}/{N}", BODY),
            says="another part than the one asked for",
        ),
        right(
            "206 in many parts",
            cut(HALF),
            whole(b"--x", "Content-Type: multipart/byteranges", status="206 P"),
            good,
            asked=3,
        ),
        right(
            "206 of part of the rest",
            cut(HALF),
            whole(
                BODY[HALF : HALF + 10],
                f"Content-Range: bytes {HALF}-{HALF + 9}/{N}",
                TAG,
                status="206 Partial",
            ),
            good,
            asked=3,
            extra=0,
        ),
        right(
            "206 of an unknown whole",
            cut(HALF),
            partial(HALF, f"bytes {HALF}-{N - 1}/*", BODY, TAG),
            asked=2,
            extra=0,
        ),
        right(
            "206 whose range and length differ",
            cut(HALF),
            partial(HALF, f"bytes {HALF}-{N - 2}/{N}", BODY, TAG),
            good,
            asked=3,
        ),
        right(
            "206 that ends before it begins",
            cut(HALF),
            partial(HALF, f"bytes {HALF}-5/{N}", BODY, TAG),
            good,
            asked=3,
        ),
    ),
    4: (
        *(
            right(
                f"{line} to every range, {knows} known",
                no_ranges(line, upto=HALF),
                no_ranges(line),
                knows=knows,
                extra=HALF + 10,
            )
            for line in ("400 Bad", "403 Forbidden", "404 No", "500 Oops", "501 No", "416 No")
            for knows in KNOWN
        ),
        right(
            "200 with part of the file",
            cut(HALF),
            whole(BODY[HALF:], f"Content-Range: bytes {HALF}-{N - 1}/{N}", TAG),
            good,
            knows="nothing",
            asked=3,
        ),
        right(
            "416 to a range that is right",
            cut(HALF),
            status("416 Range Not Satisfiable"),
            good,
            asked=3,
            extra=HALF + 5,
        ),
        wrong("416 to everything", status("416 Range Not Satisfiable"), says="416"),
        right(
            "416 that names another length",
            cut(HALF),
            status("416 No", "Content-Range: bytes */7"),
            good,
            asked=3,
        ),
    ),
    5: (
        wrong(
            "cut at the same place every time",
            cut(HALF),
            says=(
                "cut the connection",
                f"after {HALF} of {N} bytes",
                "tried 4 times",
                "An unfinished download is kept",
            ),
            asked=4,
            kept=HALF,
        ),
        right("cut again and again, but getting on", steps, asked=4, extra=0),
        wrong("cut again and again, hardly getting on", crumbs, asked=4, kept=20_000),
        wrong("nothing but resets", cut(0, reset=True), says="127.0.0.1", asked=4),
    ),
}
