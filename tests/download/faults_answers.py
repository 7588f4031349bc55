"""Faults 9 and 10: refusals, silence, redirects, and what is hardly HTTP."""

from __future__ import annotations

from tests.download.behaviours import (
    CHUNKED,
    HALF,
    LENGTH,
    OK,
    PAGE,
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
from tests.download.fault import Fault, right, wrong
from tests.download.setting import BODY, HURRIED, good

REFUSAL = b"HTTP/1.1 404 No\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"

FAULTS: dict[int, tuple[Fault, ...]] = {
    9: (
        *(
            wrong(line, status(line), says=line, asked=1)
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
        wrong(
            "404 with a page",
            whole(PAGE, "Content-Type: text/html", status="404 Not Found"),
            says=("404 Not Found", "titled", "found & gone"),
            asked=1,
        ),
        *(
            right(f"{line} once", status(line), good, asked=2)
            for line in (
                "500 Oops",
                "502 Bad Gateway",
                "503 Busy",
                "504 Timeout",
                "509 Bandwidth Limit Exceeded",
                "520 Unknown",
                "522 Timed Out",
                "408 Timeout",
                "429 Slow down",
            )
        ),
        wrong("503 always", status("503 Busy"), says=("503 Busy", "tried 4 times"), asked=4),
        right("503 when it is continued", cut(HALF), status("503 Busy"), good, asked=3),
        right(
            "503 without end",
            endless(b"x" * 1000, head=b"HTTP/1.1 503 Busy\r\n\r\n"),
            good,
            asked=2,
        ),
        wrong("reason with escape codes", status("404 \x1b[2J gone"), says="\\x1b[2J"),
    ),
    10: (
        *(
            right(name, answer, good, asked=2, limits=HURRIED)
            for name, answer in (
                ("silence in the middle", silent(5, cut(HALF))),
                ("silence before the header", silent(5)),
                ("a header that never ends", dribbled_head),
                ("continue, continue, continue", endless(b"HTTP/1.1 100 Continue\r\n\r\n")),
                ("too slow a body", dribbled_body),
                ("a chunk length for ever", endless(b"0", pause=0.05, head=CHUNKED)),
            )
        ),
        wrong(
            "silence always",
            silent(5),
            says=("127.0.0.1", "tried 2 times"),
            asked=2,
            limits=HURRIED,
        ),
        wrong(
            "a refusal whose chunk length goes on for ever",
            endless(b"0", pause=0.05, head=REFUSAL),
            says="404 No",
            asked=1,
            limits=HURRIED,
        ),
        right(
            "interim answers",
            raw(
                "HTTP/1.1 102 Processing", "HTTP/1.1 103 Early Hints\nLink: </x>", OK + LENGTH, BODY
            ),
            asked=1,
        ),
        right("redirected", redirect("{url}/elsewhere"), good, asked=2),
        right("redirected, relative", redirect("../b?c=d"), good, asked=2),
        right(
            "redirected for good", redirect("{url}/new", "308 Permanent Redirect"), good, asked=2
        ),
        wrong(
            "redirected to itself", redirect("{url}/same"), says="more than 5 redirects", asked=6
        ),
        wrong("redirected to a file", redirect("file:///etc/passwd"), says="not http(s)", asked=1),
        wrong("redirected to FTP", redirect("ftp://127.0.0.1/x"), says="not http(s)", asked=1),
        wrong("redirected to a script", redirect("javascript:1"), says="not http(s)", asked=1),
        wrong("redirected to no host", redirect("http://")),
        wrong("redirected to nonsense", redirect("http://[::1"), asked=1),
        wrong(
            "redirected to another port", redirect("http://127.0.0.1:1/x"), says="127.0.0.1 refused"
        ),
        wrong("redirected to nowhere", status("302 Found"), says="302", asked=1),
        right(
            "redirected with an endless body",
            endless(b"x" * 1000, head=b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"),
            good,
            asked=2,
        ),
        right("not HTTP", raw(b"220 FTP ready\r\n"), good, asked=2),
        right("too many header lines", raw(OK + "X: y\n" * 500 + LENGTH, BODY), good, asked=2),
        right("too long a header line", raw(OK + "X: " + "y" * 70_000, BODY), good, asked=2),
    ),
}
