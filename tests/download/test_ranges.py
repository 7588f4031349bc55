"""Several ranges of a file at once: faster, resumed, and never anything but the one file."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.obtain import obtain
from tests.download.behaviours import TAG, raw, whole
from tests.download.fault_server import Answer, Exchange, FaultServer
from tests.download.setting import (
    BODY,
    LIMITS,
    MODEL,
    OTHER,
    Knows,
    Watcher,
    finished,
    get,
    good,
    pages,
    source,
)

N = len(BODY)
FOUR = replace(LIMITS, connections=4)


def spans(server: FaultServer) -> list[tuple[int | None, int | None]]:
    """The ranges that were asked for."""
    return [(asked.offset, asked.end) for asked in server.files]


@pytest.mark.parametrize("knows", ["index", "digits", "nothing"])
def test_four_at_once(knows: Knows, tmp_path: Path) -> None:
    """In equal parts. Where the size was not known the first request is an ordinary one.

    The server answers none of them before all have come.
    """
    all_asked = threading.Barrier(4)

    def together(exchange: Exchange) -> None:
        if not exchange.asked.offset:
            end = exchange.asked.end
            exchange.head(
                "206 Part" if end else "200 OK",
                f"Content-Length: {end or N}",
                f"Content-Range: bytes 0-{(end or N) - 1}/{N}",
                "Accept-Ranges: bytes",
                TAG,
            )
            exchange.body(BODY[:2000])
            all_asked.wait(20)
            exchange.body(BODY[2000:end])
        else:
            all_asked.wait(20)
            good(exchange)

    with FaultServer([together], pages(knows)) as server:
        fetched = get(tmp_path, [source(server, knows)], Watcher(FOUR))
        assert fetched.path.read_bytes() == BODY
        asked = spans(server)
    assert asked[0] == ((0, 50_001) if knows == "index" else (None, None))
    starts = [0, *sorted(start or 0 for start, _ in asked[1:])]
    assert len(starts) == 4
    sizes = [end - start for start, end in zip(starts, [*starts[1:], N], strict=True)]
    assert max(sizes) - min(sizes) <= 2
    assert finished(tmp_path) == [fetched.path]


@pytest.mark.parametrize(
    ("answer", "knows"),
    [
        (whole(BODY, TAG), "index"),
        (raw(f"HTTP/1.1 200 OK\nAccept-Ranges: bytes\n{TAG}", BODY), "digits"),
        (lambda exchange: exchange.ranged(BODY), "nothing"),
    ],
)
def test_one_where_ranges_are_not_to_be_had(answer: Answer, knows: Knows, tmp_path: Path) -> None:
    """No offer, no size, or no way to know that the parts are of one file."""
    with FaultServer([answer], pages(knows)) as server:
        assert get(tmp_path, [source(server, knows)], Watcher(FOUR)).path.read_bytes() == BODY
        assert len(spans(server)) == 1


def test_a_host_that_allows_two_connections(tmp_path: Path) -> None:
    """Those that are refused leave their part to the others."""
    under_way = threading.Semaphore(2)
    refused, full = list[int | None](), threading.Event()

    def two_at_most(exchange: Exchange) -> None:
        if not under_way.acquire(blocking=False):
            refused.append(exchange.asked.offset)
            full.set()
            exchange.head("503 Busy", "Content-Length: 0")
            return
        try:
            start = (exchange.asked.offset or 0) + 2000
            exchange.ranged(BODY, TAG, upto=start)
            full.wait(15)
            exchange.body(BODY[start : exchange.asked.end])
        finally:
            under_way.release()

    watcher = Watcher(FOUR)
    with FaultServer([two_at_most], pages("digits")) as server:
        assert get(tmp_path, [source(server, "digits")], watcher).path.read_bytes() == BODY
    assert refused


@pytest.mark.parametrize("knows", ["digits", "nothing"])
def test_what_is_there_of_each_part_is_not_fetched_again(knows: Knows, tmp_path: Path) -> None:
    """Cut in all parts, run after run: no byte is sent twice."""

    def crumbs(exchange: Exchange) -> None:
        exchange.ranged(BODY, TAG, upto=(exchange.asked.offset or 0) + 12_345)

    hasty = Watcher(replace(FOUR, retries=0, substantial=10**9))
    with FaultServer([crumbs], pages(knows)) as server:
        for _ in range(3):
            with pytest.raises(NoSourceError, match="the next run resumes it"):
                get(tmp_path, [source(server, knows)], hasty)
        server.answers = [good]
        assert get(tmp_path, [source(server, knows)], Watcher(FOUR)).path.read_bytes() == BODY
        assert server.sent == N


def test_a_file_that_changes_in_between(tmp_path: Path) -> None:
    """Parts of two files are never put together: the new one is fetched whole."""

    def changed(exchange: Exchange) -> None:
        exchange.ranged(BODY, 'ETag: "second"')

    def first(exchange: Exchange) -> None:
        server.answers = [changed]
        exchange.ranged(OTHER, TAG, upto=40_000)

    with FaultServer([first], pages("nothing")) as server:
        fetched = get(tmp_path, [source(server, "nothing")], Watcher(FOUR))
    assert fetched.path.read_bytes() == BODY


def test_parts_that_do_not_belong_together_are_found(tmp_path: Path) -> None:
    """Where a digest is known If-Range is left out; the digest then tells."""
    mixed = iter([OTHER, BODY, OTHER, BODY])

    def wrong(exchange: Exchange) -> None:
        exchange.ranged(next(mixed, BODY), TAG)

    with FaultServer([wrong], pages("digits")) as server:
        fetched = get(tmp_path, [source(server, "digits")], Watcher(FOUR))
    assert fetched.path.read_bytes() == BODY


def test_more_or_fewer_connections_than_last_time(tmp_path: Path) -> None:
    """What one run leaves, a run with other settings goes on with."""

    def slow(exchange: Exchange) -> None:
        exchange.ranged(BODY, TAG, upto=(exchange.asked.offset or 0) + 10_000)

    with FaultServer([slow], pages("digits")) as server:
        asked = source(server, "digits")
        for connections in (4, 1, 2):
            limits = replace(FOUR, connections=connections, retries=0, substantial=10**9)
            with pytest.raises(NoSourceError):
                get(tmp_path, [asked], Watcher(limits))
        server.answers = [good]
        assert get(tmp_path, [asked], Watcher(FOUR)).path.read_bytes() == BODY
        assert server.sent == N


def test_the_rate_is_limited(tmp_path: Path) -> None:
    """All connections together wait as long as the limit asks for."""
    watcher = Watcher(replace(FOUR, rate=100_000.0))
    edges = replace(watcher.edges, monotonic=lambda: 0.0)  # nobody waits in truth
    with FaultServer([good], pages("digits")) as server:
        obtain(MODEL, [source(server, "digits")], Cache(tmp_path), edges=edges)
    assert max(watcher.waits) >= N / 100_000


@pytest.mark.parametrize("replaced", [False, True])
def test_the_first_is_cut_while_another_receives(replaced: bool, tmp_path: Path) -> None:
    """It goes on at once, as one of several; if there is another file by then, all start over."""
    helped, again = threading.Event(), threading.Event()

    def answers(exchange: Exchange) -> None:
        start, end = exchange.asked.offset or 0, exchange.asked.end or N
        if again.is_set() or 0 < start < N // 2:
            again.set()
            if replaced:
                exchange.whole(OTHER, 'ETag: "another"')
            else:
                good(exchange)
            return
        first = exchange.asked.offset is None
        exchange.head(
            "200 OK" if first else "206 Part",
            f"Content-Length: {end - start}",
            f"Content-Range: bytes {start}-{end - 1}/{N}",
            "Accept-Ranges: bytes",
            TAG,
        )
        if first:
            exchange.body(BODY[:60_000])
            helped.wait(20)
        else:
            helped.set()
            exchange.body(BODY[start : start + 2000])
            again.wait(20)
            exchange.body(BODY[start + 2000 : end])

    with FaultServer([answers]) as server:
        two = Watcher(replace(LIMITS, connections=2))
        fetched = get(tmp_path, [source(server, "nothing")], two)
    assert (OTHER if replaced else BODY) == fetched.path.read_bytes()
