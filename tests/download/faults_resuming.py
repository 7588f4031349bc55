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
    own_tag,
    partial,
    raw,
    status,
    steps,
    whole,
)
from tests.download.fault import Fault
from tests.download.setting import BODY, good

FAULTS: dict[int, tuple[Fault, ...]] = {
    1: (
        Fault("cut after the header", (cut(0), good), asked=2, extra=0),
        Fault("cut after one byte", (cut(1), good), asked=2, extra=1),
        Fault("cut while its kind is looked at", (cut(700), good), asked=2, extra=700),
        Fault("cut in the middle", (cut(HALF), good), asked=2, extra=0),
        Fault("cut before the last byte", (cut(N - 1), good), asked=2, extra=0),
        Fault("reset in the middle", (cut(HALF, reset=True), good), asked=2),
        Fault("cut three times", (cut(2000), cut(HALF), cut(N - 1), good), asked=4, extra=0),
        Fault("cut within the header", (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), good), asked=2),
        Fault("closed without an answer", (raw(b""), good), asked=2),
        Fault("cut, only a date to go by", (cut(HALF, DATE), cut(N, DATE)), asked=2, extra=0),
        Fault(
            "cut, nothing to go by but the digest",
            (cut(HALF, OCTETS), cut(N, OCTETS)),
            knows="index",
            asked=2,
            extra=0,
        ),
        Fault(
            "cut, nothing to go by at all: from the start",
            (cut(HALF, OCTETS), cut(N, OCTETS)),
            knows="nothing",
            asked=2,
            extra=HALF,
        ),
        Fault("nothing known, cut, continued", (cut(HALF), good), knows="nothing", extra=0),
    ),
    2: (
        Fault("another ETag after the cut", (cut(HALF), own_tag('"second"')), extra=HALF),
        Fault(
            "another ETag, and If-Range ignored",
            (cut(HALF), ignoring_if_range, ignoring_if_range),
            knows="nothing",
            asked=3,
        ),
        Fault(
            "another date after the cut",
            (cut(HALF, DATE), cut(N, "Last-Modified: Thu, 22 Oct 2015 07:28:00 GMT")),
            extra=HALF,
        ),
        Fault(
            "a weak ETag is nothing to go by",
            (own_tag('W/"x"', upto=HALF), own_tag('W/"x"')),
            knows="nothing",
            extra=HALF,
        ),
        Fault(
            "another length in the range",
            (cut(HALF), partial(HALF, f"bytes {HALF}-{N - 1}/{N + 5}", BODY, TAG), good),
            asked=3,
        ),
    ),
    3: (
        Fault("range ignored", (cut(HALF), whole(BODY, TAG)), asked=2, extra=HALF),
        Fault(
            "range ignored, cut again, then honoured",
            (cut(HALF), raw(OK + LENGTH + f"\n{TAG}", BODY[:1000]), good),
            asked=3,
            extra=HALF,
        ),
        Fault("206 from the start", (cut(HALF), partial(0, f"bytes 0-{N - 1}/{N}", BODY), good)),
        Fault(
            "206 from elsewhere",
            (cut(HALF), partial(HALF - 7, f"bytes {HALF - 7}-{N - 1}/{N}", BODY), good),
            asked=3,
        ),
        Fault("206 without a range", (cut(HALF), whole(BODY, status="206 Partial"), good), asked=3),
        Fault("206 unasked", (partial(5, f"bytes 5-{N - 1}/{N}", BODY), good), asked=2),
        Fault(
            "206 always, of nobody knows what",
            (partial(5, f"bytes 5-{N - 1}/{N}", BODY),),
            code=3,
            says=("another part than the one asked for",),
        ),
        Fault(
            "206 in many parts",
            (cut(HALF), whole(b"--x", "Content-Type: multipart/byteranges", status="206 P"), good),
            asked=3,
        ),
        Fault(
            "206 of part of the rest",
            (
                cut(HALF),
                whole(
                    BODY[HALF : HALF + 10],
                    f"Content-Range: bytes {HALF}-{HALF + 9}/{N}",
                    TAG,
                    status="206 Partial",
                ),
                good,
            ),
            asked=3,
            extra=0,
        ),
        Fault(
            "206 of an unknown whole",
            (cut(HALF), partial(HALF, f"bytes {HALF}-{N - 1}/*", BODY, TAG)),
            asked=2,
            extra=0,
        ),
        Fault(
            "206 whose range and length differ",
            (cut(HALF), partial(HALF, f"bytes {HALF}-{N - 2}/{N}", BODY, TAG), good),
            asked=3,
        ),
        Fault(
            "206 that ends before it begins",
            (cut(HALF), partial(HALF, f"bytes {HALF}-5/{N}", BODY, TAG), good),
            asked=3,
        ),
    ),
    4: (
        Fault(
            "416 to a range that is right",
            (cut(HALF), status("416 Range Not Satisfiable"), good),
            asked=3,
            extra=HALF + 5,
        ),
        Fault("416 to everything", (status("416 Range Not Satisfiable"),), code=3, says=("416",)),
        Fault(
            "416 that names another length",
            (cut(HALF), status("416 No", "Content-Range: bytes */7"), good),
            asked=3,
        ),
    ),
    5: (
        Fault(
            "cut at the same place every time",
            (cut(HALF),),
            code=3,
            says=(
                "cut the connection",
                f"after {HALF} of {N} bytes",
                "tried 4 times",
                f"{HALF} bytes are kept",
            ),
            kept=HALF,
            asked=4,
        ),
        Fault("cut again and again, but getting on", (steps,), asked=4, extra=0),
        Fault("cut again and again, hardly getting on", (crumbs,), code=3, asked=4, kept=20_000),
        Fault("nothing but resets", (cut(0, reset=True),), code=3, asked=4, says=("127.0.0.1",)),
    ),
}
