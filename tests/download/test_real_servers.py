"""Downloads from servers that people run: nginx, directly and through tinyproxy."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Limits
from hornet_convert.download.obtain import obtain
from hornet_convert.download.sources import Source
from tests.download.setting import BODY, INDEX, LIMITS, MODEL, Watcher, get, unfinished

NGINX, TINYPROXY = shutil.which("nginx"), shutil.which("tinyproxy")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

USER = "user root;" if os.geteuid() == 0 else ""  # whose workers may read the test's folder
CONFIG = """
{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  default_type application/octet-stream; access_log {folder}/access.log;
  limit_conn_zone $server_port zone=one:1m;
  client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
  uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; {options} }}
}}
"""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server, from when it answers until the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            assert process.poll() is None, f"{command[0]} did not start"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def nginx(folder: Path, options: str = "", port: int | None = None) -> Iterator[Source]:
    """The small file and its index on an nginx with more directives in its `server` block."""
    port = port or free_port()
    www = folder / "www"
    www.mkdir(exist_ok=True)
    (www / "tiny.pth").write_bytes(BODY)
    (www / "index.json").write_bytes(INDEX)
    (folder / "nginx.conf").write_text(
        CONFIG.format(user=USER, folder=folder, port=port, options=options)
    )
    command = [str(NGINX), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with running(command, port):
        yield Source("mirror", f"http://127.0.0.1:{port}")


def sent(folder: Path) -> int:
    """How many requests for the file the server has answered with bytes of it."""
    lines = (folder / "access.log").read_text().splitlines()
    return sum('tiny.pth HTTP/1.1" 20' in line for line in lines)


@pytest.mark.parametrize(
    ("options", "connections", "requests"),
    [
        ("", 1, 1),
        ("", 4, 4),
        ("max_ranges 0;", 4, 1),
        ("etag off; if_modified_since off;", 4, 4),
        ("limit_rate 400k; sendfile on;", 4, 4),
        ("gzip on; gzip_types application/octet-stream;", 2, 2),
    ],
)
def test_one_file(options: str, connections: int, requests: int, tmp_path: Path) -> None:
    """As many ranges as asked for where there are ranges, and otherwise one request."""
    watcher = Watcher(replace(LIMITS, connections=connections))
    with nginx(tmp_path, options) as source:
        found = get(tmp_path / "cache", [source], watcher)
    assert found.path.read_bytes() == BODY
    assert requests <= sent(tmp_path) <= requests + 1  # the first answer may be left for parts
    assert watcher.waits == []


def test_two_files_from_a_server_that_allows_one_connection(tmp_path: Path) -> None:
    """The second waits for the first, whatever `--jobs` and `--connections` say."""
    options = "location /tiny.pth { limit_conn one 1; limit_rate 300k; }"
    limits = replace(LIMITS, connections=2, retries=1)
    with nginx(tmp_path, options) as source:
        edges = replace(
            Watcher(limits).edges, sleep=None, limits=replace(limits, backoff=0.05, jitter=0.05)
        )

        def item(number: str) -> Path:
            return obtain(MODEL, [source], Cache(tmp_path / number), edges=edges).path

        threads = [threading.Thread(target=item, args=(str(n),)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for n in range(2):
        (path,) = (tmp_path / str(n)).rglob("*.pth")
        assert path.read_bytes() == BODY
    assert " 503 " in (tmp_path / "access.log").read_text()


def test_a_server_that_restarts_in_the_middle(tmp_path: Path) -> None:
    """What has arrived is kept, and the rest is asked for when it is back."""
    port = free_port()
    limits = Limits(retries=20, backoff=0.1, backoff_max=0.2, jitter=0.0, connections=1)
    watcher = Watcher(limits)
    edges = replace(watcher.edges, sleep=None)
    got: list[Path] = []

    def fetching() -> None:
        source = Source("mirror", f"http://127.0.0.1:{port}")
        got.append(obtain(MODEL, [source], Cache(tmp_path / "cache"), edges=edges).path)

    thread = threading.Thread(target=fetching)
    with nginx(tmp_path, "limit_rate 40k;", port):
        thread.start()
        while not unfinished(tmp_path / "cache") and thread.is_alive():
            time.sleep(0.02)
    kept = len(unfinished(tmp_path / "cache") or b"")
    with nginx(tmp_path, "", port):
        thread.join()
    assert got[0].read_bytes() == BODY
    last = (tmp_path / "access.log").read_text().splitlines()[-1]
    assert '" 206 ' in last
    assert int(last.split('" 206 ')[1].split()[0]) <= len(BODY) - kept


def test_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the address it is used; without it the refusal is told, and nothing secret in it."""
    (tmp_path / "users").write_text("user:{PLAIN}secret\n")
    with nginx(tmp_path, f"auth_basic x; auth_basic_user_file {tmp_path}/users;") as source:
        monkeypatch.setenv("NETRC", str(tmp_path / "none"))
        with_password = replace(source, address=source.address.replace("//", "//user:secret@"))
        found = get(tmp_path / "cache", [with_password])
        assert found.path.read_bytes() == BODY
        assert "secret" not in found.url
        with pytest.raises(Exception, match="401"):
            get(tmp_path / "other", [source])


@pytest.mark.skipif(TINYPROXY is None, reason="tinyproxy is not installed")
def test_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges and all; and when the proxy is gone, it is the proxy that is named."""
    port = free_port()
    (tmp_path / "tinyproxy.conf").write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 20\n")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    watcher = Watcher(replace(LIMITS, connections=3))
    with nginx(tmp_path) as source:
        proxied = replace(source, address=source.address.replace("127.0.0.1", "localhost.local"))
        monkeypatch.setenv("no_proxy", "none")
        with running([str(TINYPROXY), "-d", "-c", str(tmp_path / "tinyproxy.conf")], port):
            found = get(tmp_path / "cache", [source], watcher)
        assert found.path.read_bytes() == BODY
        with pytest.raises(Exception, match=f"the proxy http://127.0.0.1:{port}"):
            get(tmp_path / "other", [proxied])
