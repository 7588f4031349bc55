"""One request: connect, follow redirects, say what went wrong.

With `connections.py` the only module that imports requests; imported when a download begins.

Retries are not left to the transport. urllib3 would read the whole body of a refused answer before
it tries again, without a limit, and sleep where nobody can interrupt it. Its `Retry` is used as
the policy (how often, how long between), and the loop stands in `transfer.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import (
    HTTPError,
    IncompleteRead,
    InvalidHeader,
    MaxRetryError,
    NameResolutionError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib3.util.retry import Retry

from hornet_convert.download.connections import Adapter
from hornet_convert.download.edges import Edges
from hornet_convert.download.sniff import TITLE_BYTES, title
from hornet_convert.download.sources import without_credentials
from hornet_convert.errors import printable

USER_AGENT = "hornet-convert (+https://arxiv.org/abs/2207.14284)"
REDIRECTS = (301, 302, 303, 307, 308)
TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class FaultError(Exception):
    """A request that did not give what was asked for.

    `reason` is a clause for a sentence. `again` says whether another try may help, `wait` how long
    the server asks to wait in seconds, `connected` whether anything answered.
    """

    def __init__(
        self, reason: str, *, again: bool, wait: float = 0.0, connected: bool = True
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.wait = wait
        self.connected = connected


class AbsentError(FaultError):
    """The server answers, and has no such file."""


class SilenceError(FaultError):
    """The server stopped sending, or never began."""


class _Session(requests.Session):
    """A session that leaves redirects alone: requests would read their bodies whole."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def new_session() -> requests.Session:
    """A session with proxies, CA bundle and netrc from the environment, and checks switched on."""
    session = _Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept": "*/*"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_connections=2, pool_maxsize=2, max_retries=0))
    return session


class Policy:
    """How many more times to try one URL, and how long to wait first."""

    def __init__(self, edges: Edges, url: str) -> None:
        self._edges = edges
        self._url = url
        # A host that just failed for another file gets one try, not the whole patience again.
        self._answered = False
        self._connects = 1 if _host(url) in edges.unreachable else edges.limits.connect_tries
        self.reset()

    def reset(self) -> None:
        """Start counting anew, after substantial progress."""
        limits = self._edges.limits
        self._retry = Retry(
            total=limits.tries - 1, backoff_factor=limits.backoff, backoff_max=limits.backoff_max
        )

    def next_wait(self, fault: FaultError) -> float | None:
        """Seconds to wait before the next try; None if there is to be none."""
        self._answered = self._answered or fault.connected
        if not self._answered:
            self._connects -= 1
            if self._connects <= 0:
                self._edges.unreachable.add(_host(self._url))
                return None
        if not fault.again:
            return None
        try:
            error = ProtocolError(fault.reason)
            self._retry = self._retry.increment("GET", self._url, error=error)
        except MaxRetryError:
            return None
        asked = min(fault.wait, self._edges.limits.retry_after_max)
        return max(self._retry.get_backoff_time(), asked)


@contextlib.contextmanager
def opened(
    session: requests.Session, url: str, headers: Mapping[str, str], edges: Edges
) -> Iterator[requests.Response]:
    """The answer to a GET, redirects followed, its body not yet read.

    Every header that decides about resuming is the caller's. Status 200, 206 and 416 are given
    back; every other is a FaultError.
    """
    response = _follow(session, url, headers, edges)
    edges.unreachable.discard(_host(url))
    try:
        if response.status_code not in (200, 206, 416):
            raise _refused(response)
        yield response
    finally:
        response.close()


def _follow(
    session: requests.Session, url: str, headers: Mapping[str, str], edges: Edges
) -> requests.Response:
    limits = edges.limits
    for _ in range(limits.redirects + 1):
        edges.check()
        try:
            with faults(url):
                response = session.get(
                    url,
                    headers={**headers, "Accept-Encoding": "identity"},
                    stream=True,
                    allow_redirects=False,
                    timeout=(limits.connect, limits.read),
                )
        except SilenceError as silence:
            silence.connected = False  # a host that never answers is as good as none
            raise
        if response.status_code not in REDIRECTS or "location" not in response.headers:
            return response
        response.close()
        url = _redirected(url, response.headers["location"])
    raise FaultError(f"more than {limits.redirects} redirects", again=False)


def _redirected(url: str, location: str) -> str:
    # Headers arrive as Latin-1; servers mean UTF-8.
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme.lower()
    except ValueError:
        target, scheme = location, "unusable"
    shown = printable(without_credentials(target), 120)
    if scheme not in ("http", "https"):
        raise FaultError(f"redirected to something that is not http(s): {shown}", again=False)
    if scheme == "http" and urlsplit(url).scheme.lower() == "https":
        raise FaultError(f"redirected from https to unprotected http: {shown}", again=False)
    return target


def _refused(response: requests.Response) -> FaultError:
    status = response.status_code
    reason = f"{status} {printable(response.reason or '', 60)}".strip()
    kind = response.headers.get("content-type", "")
    if kind.lower().startswith("text/html"):
        heading = title(_some(response))
        reason += ", an HTML page" + (f" titled “{heading}”" if heading else "")
    if status in TRY_AGAIN:
        return FaultError(
            reason, again=True, wait=_retry_after(response.headers.get("retry-after"))
        )
    if status in (403, 404, 410):
        return AbsentError(reason, again=False)
    return FaultError(reason, again=False)


def _retry_after(value: str | None) -> float:
    if value is None:
        return 0.0
    try:
        return max(0.0, Retry().parse_retry_after(value[:100]))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def _some(response: requests.Response) -> bytes:
    """The first bytes of a page that is only wanted for its title."""
    with contextlib.suppress(HTTPError, OSError, ValueError):
        return bytes(response.raw.read1(TITLE_BYTES, decode_content=False))
    return b""


@contextlib.contextmanager
def faults(url: str) -> Iterator[None]:
    """Turn whatever the transport raises into a FaultError that names the host."""
    try:
        yield
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        raise _explained(error, url) from error


def _explained(error: Exception, url: str) -> FaultError:
    host = _host(url)
    causes = list(_causes(error))
    innermost = printable(str(causes[-1]) or type(causes[-1]).__name__, 160)
    proxy = next(
        (cause for cause in causes if isinstance(cause, requests.exceptions.ProxyError)), None
    )
    if proxy is not None:
        return FaultError(f"the proxy refused to connect to {host}: {innermost}", again=False)
    if any(isinstance(cause, requests.exceptions.SSLError) for cause in causes):
        return FaultError(f"no safe connection to {host}: {innermost}", again=False)
    if any(isinstance(cause, NameResolutionError) for cause in causes):
        return FaultError(f"the name {host} could not be resolved", again=True, connected=False)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return FaultError(f"{host} did not answer in time", again=True, connected=False)
    if any(
        isinstance(c, requests.exceptions.ReadTimeout | ReadTimeoutError | TimeoutError)
        for c in causes
    ):
        return SilenceError(f"{host} fell silent", again=True)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return FaultError(f"{host} refused the connection", again=True, connected=False)
    if any(isinstance(cause, IncompleteRead) for cause in causes):
        return FaultError(f"{host} cut the connection", again=True)
    usage = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError)
    if isinstance(error, usage) and not isinstance(error, requests.exceptions.InvalidHeader):
        return FaultError(f"{host} cannot be asked: {innermost}", again=False)
    return FaultError(f"the connection to {host} broke: {innermost}", again=True)


def _host(url: str) -> str:
    try:
        return printable(urlsplit(url).hostname or "the host", 100)
    except ValueError:
        return "the host"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it wraps, outermost first; wrapped as argument, reason or cause."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = [getattr(current, "reason", None), *current.args, current.__cause__]
        current = next((cause for cause in inner if isinstance(cause, BaseException)), None)
