"""Who is asked, in what order, how safely, and how patiently."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from hornet_convert.cli import asked, options
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Limits
from hornet_convert.download.errors import NoSourceError
from hornet_convert.download.obtain import obtain
from hornet_convert.download.sources import Source, sources_for
from hornet_convert.family import zoo
from tests.download.behaviours import redirect, silent, status
from tests.download.fault_server import FaultServer
from tests.download.setting import (
    BODY,
    HURRIED,
    LIMITS,
    MODEL,
    SHA256,
    Knows,
    Watcher,
    absent,
    finished,
    get,
    good,
    pages,
    source,
)

TLS = Path(__file__).parent / "tls"
NOWHERE = Source("official", "https://nowhere.invalid/f/share/?dl=1")


@pytest.fixture(autouse=True)
def no_proxy_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests does not count."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for name in (*proxies, "requests_ca_bundle", "curl_ca_bundle", "ssl_cert_file", "netrc"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def tls(name: str) -> ssl.SSLContext:
    """A server's end of TLS with one of the certificates in `tls/`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / f"{name}.pem")
    return context


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_trusted_certificate_from_the_environment(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Says whom to trust, as requests and as OpenSSL name it."""
    monkeypatch.setenv(name, str(TLS / "loopback.pem"))
    with FaultServer([good], pages("index"), tls("loopback")) as server:
        assert BODY == get(tmp_path, [source(server, "index")]).path.read_bytes()


@pytest.mark.parametrize(
    ("certificate", "bundle"),
    [("loopback", None), ("elsewhere", "elsewhere"), ("expired", "expired")],
)
def test_an_unsafe_connection_is_none(
    certificate: str, bundle: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown issuer, another host's certificate, an expired one: refused at once, host named."""
    if bundle is not None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / f"{bundle}.pem"))
    watcher = Watcher()
    with FaultServer([good], pages("index"), tls(certificate)) as server:
        with pytest.raises(NoSourceError, match=r"no safe connection to 127\.0\.0\.1") as raised:
            get(tmp_path, [source(server, "index")], watcher)
        assert [] == server.requests
    assert 3 == raised.value.exit_code
    assert [] == watcher.waits


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_bundle_that_is_not_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said at once: no certificate will ever be found in it."""
    monkeypatch.setenv(name, str(tmp_path / "nosuch.pem"))
    watcher = Watcher()
    with (
        FaultServer([good], pages("index"), tls("loopback")) as server,
        pytest.raises(NoSourceError, match="names no file"),
    ):
        get(tmp_path, [source(server, "index")], watcher)
    assert [] == watcher.waits


def test_a_netrc_that_is_not_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is passed over; it stops no request."""
    (tmp_path / "netrc").write_bytes(b"machine 127.0.0.1 login \xff password x")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with FaultServer([good], pages("index")) as server:
        assert BODY == get(tmp_path / "c", [source(server, "index")]).path.read_bytes()


def test_a_connection_that_ends_within_the_handshake(tmp_path: Path) -> None:
    """May go well the next time: tried again."""
    watcher = Watcher()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.recv(10_000)
                    connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/x"
        with pytest.raises(NoSourceError, match=r"tried 4 times"):
            get(tmp_path, [Source("official", url)], watcher)
        listening.shutdown(socket.SHUT_RDWR)
    assert 2 == len(watcher.waits)  # the first pause is none


def test_plain_http_where_tls_is_meant(tmp_path: Path) -> None:
    """A server that speaks no TLS is not talked to without it."""
    with FaultServer([good], pages("index")) as server:
        address = server.url.replace("http:", "https:")
        with pytest.raises(NoSourceError, match=r"no safe connection to 127\.0\.0\.1"):
            get(tmp_path, [Source("mirror", address)])


@pytest.mark.parametrize("knows", ["index", "nothing"])
def test_a_redirect_never_leaves_tls(
    knows: Knows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From https to http: refused, and the other server is not asked."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "loopback.pem"))
    with (
        FaultServer([good]) as plain,
        FaultServer([redirect(f"{plain.url}/x")], pages("index"), tls("loopback")) as safe,
    ):
        with pytest.raises(NoSourceError, match="from https to unprotected http"):
            get(tmp_path, [source(safe, knows)])
        assert [] == plain.requests


def test_a_redirect_may_enter_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From http to https is fine."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "loopback.pem"))
    with (
        FaultServer([good], tls=tls("loopback")) as safe,
        FaultServer([redirect(f"{safe.url}/x")], pages("index")) as plain,
    ):
        assert BODY == get(tmp_path, [source(plain, "index")]).path.read_bytes()


def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    """Tried a few times, then 3, naming the host; for the next file only once more."""
    watcher = Watcher(replace(LIMITS, connect_tries=2))
    edges = watcher.edges
    for again in (1, 0):
        with pytest.raises(NoSourceError, match=r"nowhere\.invalid could not be resolved"):
            obtain(MODEL, [NOWHERE], Cache(tmp_path), edges=edges)
        assert again == [event.phase for event in watcher.events].count("retrying")
        watcher.events.clear()


def test_a_refused_connection(tmp_path: Path) -> None:
    """A port that nobody listens on: 3, naming the host."""
    with FaultServer([good]) as server:
        address = server.url
    with pytest.raises(NoSourceError, match=r"127\.0\.0\.1 refused the connection"):
        get(tmp_path, [Source("mirror", address)])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """407: asked once, the proxy's answer shown."""
    watcher = Watcher()
    with FaultServer([status("407 Proxy Authentication Required")]) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        with pytest.raises(NoSourceError, match="407 Proxy Authentication Required"):
            get(tmp_path, [Source("official", f"{scheme}://nowhere.invalid/x")], watcher)
        assert 1 == len(proxy.requests)
    assert [] == watcher.waits


def test_a_proxy_that_cannot_connect_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead one, or one that says 503: tried again, and the proxy is named, not its password."""
    with FaultServer([status("503 Busy")]) as proxy:
        for port, tries in ((proxy.port, 3), (1, 3)):
            monkeypatch.setenv("https_proxy", f"http://user:hunter2@127.0.0.1:{port}")
            watcher = Watcher()
            with pytest.raises(NoSourceError) as raised:
                get(tmp_path, [Source("official", "https://nowhere.invalid/x")], watcher)
            assert f"the proxy http://127.0.0.1:{port} did not connect" in raised.value.message
            assert f"tried {tries} times" in raised.value.message
            assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("limits", "waits"),
    [
        ({"retries": 5}, [0, 2, 4, 8, 16]),
        ({"retries": 8, "backoff_max": 5.0}, [0, 2, 4, 5, 5, 5, 5, 5]),
        ({"retries": 8, "retry_max_time": 20.0}, [0, 2, 4, 8]),
        ({"retries": 0}, []),
    ],
)
def test_how_long_it_is_tried(limits: dict[str, Any], waits: list[float], tmp_path: Path) -> None:
    """Waits that double, up to a longest one, so many times and for so long in all."""
    watcher = Watcher(replace(LIMITS, jitter=0.0, **limits))
    clock = replace(watcher.edges, monotonic=lambda: sum(watcher.waits))
    with FaultServer([status("503 Busy")]) as server, pytest.raises(NoSourceError):
        obtain(MODEL, [source(server, "nothing")], Cache(tmp_path), edges=clock)
    assert [wait for wait in waits if wait] == watcher.waits


@pytest.mark.parametrize(
    ("given", "tries"),
    [([], (8, 3)), (["--retries", "20"], (20, 21)), (["--retries", "0"], (0, 1))],
)
def test_retries_count_for_a_host_that_never_answered(
    given: list[str], tries: tuple[int, int]
) -> None:
    """By default it gets fewer; what the user says holds."""

    @click.command()
    @options.download
    def limits(**values: Any) -> Limits:
        return asked.download_from(values).limits

    found = limits.main(given, standalone_mode=False)
    assert tries == (found.retries, found.connect_tries)


def test_the_usual_patience_outlives_a_router(tmp_path: Path) -> None:
    """Which takes a minute to come back."""
    watcher = Watcher(replace(Limits(), jitter=0.0))
    with FaultServer([status("503 Busy")]) as server, pytest.raises(NoSourceError):
        get(tmp_path, [source(server, "nothing")], watcher)
    assert sum(watcher.waits) > 60


def test_a_proxy_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is asked for a host that only it can reach."""
    url = "http://nowhere.invalid/file"
    with FaultServer([good]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert BODY == get(tmp_path, [Source("official", url)]).path.read_bytes()
        assert [url] == [asked.path for asked in proxy.requests]


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        ("0", 0, 1),
        ("86400", 120, 120),
        ("9" * 60, 120, 120),
        ("Fri, 31 Dec 2999 23:59:59 GMT", 120, 120),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 1),
        ("-5", 0, 1),
        ("soon", 0, 1),
        ("1e9", 0, 1),
    ],
)
@pytest.mark.parametrize("line", ["429 Slow down", "503 Busy"])
def test_retry_after(line: str, value: str, least: float, most: float, tmp_path: Path) -> None:
    """Honoured, up to a cap; nonsense counts as nothing."""
    watcher = Watcher()
    with FaultServer([status(line, f"Retry-After: {value}"), good], pages("digits")) as server:
        get(tmp_path, [source(server, "digits")], watcher)
    assert least <= sum(watcher.waits) <= most


def test_sources_are_tried_in_order(tmp_path: Path) -> None:
    """The first that gives the file is used; the result says why the others were not."""
    with (
        FaultServer([absent]) as gone,
        FaultServer([silent(5)]) as mute,
        FaultServer([good], pages("digits")) as right,
        FaultServer([good]) as unused,
    ):
        sources = [
            Source("official", f"{gone.url}/a"),
            Source("official-previous", f"{mute.url}/b"),
            Source("openmmlab", f"{right.url}/c"),
            Source("openmmlab", f"{unused.url}/d"),
        ]
        fetched = get(tmp_path, sources, Watcher(HURRIED))
        assert [] == unused.requests
        assert 1 == len(gone.requests)
    assert sources[2] == fetched.source
    assert sources[:3] == [attempt.source for attempt in fetched.attempts]
    assert [s.location for s in sources[:3]] == [attempt.url for attempt in fetched.attempts]
    first, second, third = (attempt.reason for attempt in fetched.attempts)
    assert first is not None
    assert "404 Not Found" in first
    assert second is not None
    assert "tried 2 times" in second
    assert third is None
    assert fetched.expected is not None
    assert SHA256[:8] == fetched.expected.digest


def test_every_reason_is_told(tmp_path: Path) -> None:
    """Without any source left: 3, with the reason of each and what to do."""
    with FaultServer([absent]) as item, FaultServer([status("410 Gone")]) as two:
        sources = [Source("mirror", item.url), Source("official", f"{two.url}/b")]
        with pytest.raises(NoSourceError) as raised:
            get(tmp_path, sources)
    assert 3 == raised.value.exit_code
    assert 2 == len(raised.value.reasons)
    assert f"mirror {item.url}/{MODEL.file_name}: 404 Not Found" in raised.value.message
    assert "410 Gone" in raised.value.message
    assert "`mirror=" in str(raised.value)


def test_credentials_are_used_and_never_shown(tmp_path: Path) -> None:
    """User and password of a mirror go to it, and neither into messages nor onto the disk."""
    with FaultServer([status("401 Unauthorized"), good], pages("index")) as server:
        address = server.url.replace("//", "//user:hunter2@")
        (first, *_) = sources_for(zoo.find("tiny"), mirrors=[address], choice="mirror")
        with pytest.raises(NoSourceError) as raised:
            get(tmp_path, [first])
        fetched = get(tmp_path, [first])
        assert {"Basic dXNlcjpodW50ZXIy"} == {
            asked.headers.get("authorization") for asked in server.requests
        }
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in fetched.url
    assert [fetched.path] == finished(tmp_path)
    for path in tmp_path.rglob("*"):
        assert "hunter2" not in str(path)
        assert not path.is_file() or b"hunter2" not in path.read_bytes()
