"""Faults 9 and 10: refusals, silence, redirects, and what is hardly HTTP."""

from __future__ import annotations

from tests.download.behaviours import (
    CHUNKED,
    HALF,
    LENGTH,
    OK,
    PAGE,
    chunked,
    cut,
    dribbled_body,
    dribbled_head,
    endless,
    raw,
    redirect,
    silent,
    status,
    whole,
)
from tests.download.fault import Fault
from tests.download.setting import BODY, good

FAULTS: dict[int, tuple[Fault, ...]] = {
    9: (
        *(
            Fault(line, (status(line),), code=3, says=(line,), asked=1)
            for line in (
                "404 Not Found",
                "403 Forbidden",
                "410 Gone",
                "401 Unauthorized",
                "400 Bad Request",
                "407 Proxy Authentication Required",
                "451 Unavailable",
                "204 No Content",
                "304 Not Modified",
                "300 Multiple Choices",
                "501 Not Implemented",
                "999 What",
            )
        ),
        Fault(
            "404 with a page",
            (whole(PAGE, "Content-Type: text/html", status="404 Not Found"),),
            code=3,
            says=("404 Not Found", "titled", "found & gone"),
            asked=1,
        ),
        *(
            Fault(f"{line} once", (status(line), good), asked=2)
            for line in (
                "500 Oops",
                "502 Bad Gateway",
                "503 Busy",
                "504 Timeout",
                "408 Timeout",
                "429 Slow down",
            )
        ),
        Fault(
            "503 always", (status("503 Busy"),), code=3, says=("503 Busy", "tried 4 times"), asked=4
        ),
        Fault("503 when it is continued", (cut(HALF), status("503 Busy"), good), asked=3),
        Fault(
            "503 without end",
            (endless(b"x" * 1000, head=b"HTTP/1.1 503 Busy\r\n\r\n"), good),
            asked=2,
        ),
        Fault(
            "reason with escape codes", (status("404 \x1b[2J gone"),), code=3, says=("\\x1b[2J",)
        ),
    ),
    10: (
        Fault("silence in the middle", (silent(5, cut(HALF)), good), asked=2, extra=0),
        Fault("silence before the header", (silent(5), good), asked=2),
        Fault("silence always", (silent(5),), code=3, says=("127.0.0.1 fell silent",), asked=3),
        Fault("a header that never ends", (dribbled_head, good), asked=2),
        Fault(
            "continue, continue, continue",
            (endless(b"HTTP/1.1 100 Continue\r\n\r\n"), good),
            asked=2,
        ),
        Fault("too slow a body", (dribbled_body, good), asked=2),
        Fault(
            "trailers without end",
            (chunked(BODY[:HALF], end=b"0\r\n" + b"X: y\r\n" * 1000), good),
            asked=2,
        ),
        Fault(
            "trailers for ever",
            (endless(b"X: y\r\n" * 100, head=CHUNKED + b"4\r\nPK\x03\x04\r\n0\r\n"), good),
            asked=2,
        ),
        Fault("a chunk length for ever", (endless(b"0", pause=0.05, head=CHUNKED), good), asked=2),
        Fault("redirected", (redirect("{url}/elsewhere"), good), asked=2),
        Fault("redirected, relative", (redirect("../b?c=d"), good), asked=2),
        Fault(
            "redirected for good", (redirect("{url}/new", "308 Permanent Redirect"), good), asked=2
        ),
        Fault(
            "redirected to itself",
            (redirect("{url}/same"),),
            code=3,
            says=("more than 5 redirects",),
            asked=6,
        ),
        Fault(
            "redirected to a file",
            (redirect("file:///etc/passwd"),),
            code=3,
            says=("not http(s)",),
            asked=1,
        ),
        Fault(
            "redirected to FTP",
            (redirect("ftp://127.0.0.1/x"),),
            code=3,
            says=("not http(s)",),
            asked=1,
        ),
        Fault(
            "redirected to a script",
            (redirect("javascript:1"),),
            code=3,
            says=("not http(s)",),
            asked=1,
        ),
        Fault("redirected to no host", (redirect("http://"),), code=3),
        Fault("redirected to nonsense", (redirect("http://[::1"),), code=3, asked=1),
        Fault(
            "redirected to another port",
            (redirect("http://127.0.0.1:1/x"),),
            code=3,
            says=("127.0.0.1 refused",),
        ),
        Fault("redirected to nowhere", (status("302 Found"),), code=3, says=("302",), asked=1),
        Fault(
            "redirected with an endless body",
            (endless(b"x" * 1000, head=b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"), good),
            asked=2,
        ),
        Fault("not HTTP", (raw(b"220 FTP ready\r\n"), good), asked=2),
        Fault("too many header lines", (raw(OK + "X: y\n" * 500 + LENGTH, BODY), good), asked=2),
        Fault("too long a header line", (raw(OK + "X: " + "y" * 70_000, BODY), good), asked=2),
    ),
}
