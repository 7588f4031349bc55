"""Several downloads at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hornet_convert.download.at_hand import Fetched
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Edges
from hornet_convert.download.errors import CancelledError, NoSourceError
from hornet_convert.download.obtain import obtain
from hornet_convert.download.parallel import fetch_many
from hornet_convert.errors import SourceUnreachableError
from hornet_convert.family import zoo
from hornet_convert.family.zoo import Published
from tests.download.behaviours import HALF, cut, silent, status
from tests.download.fault_server import FaultServer
from tests.download.setting import BODY, LIMITS, MODEL, absent, get, good, pages, source, unfinished

ROOT = Path(__file__).parents[2]
THREE = zoo.MODELS[:3]


def got(folder: Path) -> Fetched:
    """Some result."""
    with FaultServer([good], pages("digits")) as server:
        return get(folder, [source(server, "digits")])


def test_as_many_at_once_as_asked_for(tmp_path: Path) -> None:
    """Two are under way at the same time, and never three."""
    result = got(tmp_path)
    both = threading.Barrier(2)
    running, most = 0, 0
    lock = threading.Lock()

    def item(model: Published) -> Fetched:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if model is not zoo.MODELS[8]:
            both.wait(10)
        with lock:
            running -= 1
        return replace(result, model=model)

    outcomes = list(fetch_many(zoo.MODELS, item, jobs=2, cancel=threading.Event()))
    assert 2 == most
    assert set(zoo.MODELS) == {outcome.model for outcome in outcomes}
    assert all(o.fetched is not None and o.fetched.model is o.model for o in outcomes)


def test_the_next_one_comes_while_the_last_is_used(tmp_path: Path) -> None:
    """Whoever takes the results one by one does not hold up the downloads."""
    result = got(tmp_path)
    second = threading.Event()

    def item(model: Published) -> Fetched:
        if model is THREE[1]:
            second.set()
        return replace(result, model=model)

    outcomes = fetch_many(THREE, item, jobs=1, cancel=threading.Event())
    assert THREE[0] is next(outcomes).model
    assert second.wait(10)
    assert [THREE[1], THREE[2]] == [outcome.model for outcome in outcomes]


@pytest.mark.parametrize("failure", [SourceUnreachableError("gone"), MemoryError(), OSError(5)])
def test_one_failure_does_not_stop_the_others(failure: Exception, tmp_path: Path) -> None:
    """Whatever it is, it is an outcome like the others."""
    result = got(tmp_path)

    def item(model: Published) -> Fetched:
        if model is THREE[0]:
            raise failure
        return replace(result, model=model)

    outcomes = {o.model: o for o in fetch_many(THREE, item, cancel=threading.Event())}
    assert outcomes[THREE[0]].error is not None
    assert all(outcomes[model].fetched for model in THREE[1:])


def test_nothing_to_fetch() -> None:
    """No model, no outcome."""
    assert [] == list(fetch_many([], lambda model: pytest.fail("called"), cancel=threading.Event()))


def test_stopping_early(tmp_path: Path) -> None:
    """Closing the iteration cancels what is under way, and keeps what it has."""
    cancel = threading.Event()
    edges = Edges(limits=replace(LIMITS, retries=99, backoff=0.2), cancel=cancel)
    with (
        FaultServer([good], pages("digits")) as quick,
        FaultServer([cut(HALF)], pages("digits")) as never,
    ):

        def item(model: Published) -> Fetched:
            server = quick if model is THREE[0] else never
            ours = replace(MODEL, name=model.name)
            return obtain(
                ours, [source(server, "digits")], Cache(tmp_path / model.name), edges=edges
            )

        outcomes = fetch_many(THREE[:2], item, cancel=cancel)
        assert THREE[0] is next(outcomes).model
        while len(unfinished(tmp_path / THREE[1].name) or b"") < HALF:
            time.sleep(0.01)
        outcomes.close()
        asked = len(never.requests)
        time.sleep(0.3)
        assert asked == len(never.requests)
    assert BODY[:HALF] == unfinished(tmp_path / THREE[1].name)


def test_cancelling_ends_a_wait(tmp_path: Path) -> None:
    """A server that asks to come back later does not keep anyone from stopping."""
    cancel = threading.Event()
    day = 86400.0
    waits = threading.Event()
    edges = Edges(
        limits=replace(LIMITS, retry_after_max=day, retry_max_time=2 * day),
        progress=lambda event: waits.set() if event.phase == "retrying" else None,
        cancel=cancel,
    )

    def stop() -> None:
        waits.wait()
        cancel.set()

    stopping = threading.Thread(target=stop)
    stopping.start()
    busy = status("503 Busy", f"Retry-After: {day:.0f}")
    with (
        FaultServer([busy], pages("digits")) as server,
        pytest.raises(CancelledError) as raised,
    ):
        obtain(MODEL, [source(server, "digits")], Cache(tmp_path), edges=edges)
    stopping.join()
    assert 130 == raised.value.exit_code


def test_a_dead_host_costs_its_patience_once(tmp_path: Path) -> None:
    """Of many files from one host, only the first is asked for several times."""
    retries: list[str] = []
    edges = Edges(
        limits=LIMITS,
        progress=lambda e: retries.append(e.model) if e.phase == "retrying" else None,
        sleep=lambda seconds: None,
    )
    with FaultServer([absent]) as server:
        asked = source(server, "nothing")
    for model in THREE:
        with pytest.raises(NoSourceError, match="refused the connection"):
            obtain(model, [asked], Cache(tmp_path), edges=edges)
    assert {THREE[0].name} == set(retries)


def test_ctrl_c_while_servers_are_silent(tmp_path: Path) -> None:
    """The process ends, though its threads would wait for a server for an hour."""
    code = (
        "import sys, threading; from pathlib import Path; from hornet_convert.family import zoo\n"
        "from hornet_convert.download.cache import Cache\n"
        "from hornet_convert.download.edges import Edges, Limits\n"
        "from hornet_convert.download.obtain import obtain\n"
        "from hornet_convert.download.parallel import fetch_many\n"
        "from hornet_convert.download.sources import Source\n"
        "cancel = threading.Event(); edges = Edges(limits=Limits(timeout=3600), cancel=cancel)\n"
        "source = Source('official', sys.argv[1]); cache = Cache(Path(sys.argv[2]))\n"
        "one = lambda model: obtain(model, [source], cache, edges=edges)\n"
        "try: list(fetch_many(zoo.MODELS, one, cancel=cancel))\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )

    def kept() -> list[int]:
        return [path.stat().st_size for path in tmp_path.rglob(".part/data")]

    with FaultServer([silent(3600, cut(HALF))]) as server:
        command = [sys.executable, "-c", code, f"{server.url}/x", str(tmp_path)]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
        try:
            while [HALF, HALF] != kept() and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(2)
            _, errors = process.communicate(timeout=600)
        finally:
            process.kill()
    assert (130, b"") == (process.returncode, errors)
    assert {BODY[:HALF]} == {path.read_bytes() for path in tmp_path.rglob(".part/data")}
