"""One request: connect, follow redirects, say what went wrong, give the body piece by piece.

With `watchdog.py` the only module that imports requests; imported when a download begins.

Retries are not left to the transport. urllib3 would read the whole body of a refused answer before
it tries again, without a limit, and sleep where nobody can interrupt it. Its `Retry` is used as
the policy (how often, how long between), and the loop stands in `transfer.py`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

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

from hornet_convert.download.answers import SNIFF_BYTES, TITLE_BYTES, disguise, title
from hornet_convert.download.edges import MIB, Edges
from hornet_convert.download.sources import Headers, without_secrets
from hornet_convert.download.watchdog import ExpiredError, Watchdog, WatchedAdapter
from hornet_convert.text import printable

USER_AGENT: Final = "hornet-convert (+https://arxiv.org/abs/2207.14284)"
REDIRECTS: Final = (301, 302, 303, 307, 308)
READ_BYTES: Final = MIB
CROWDED: Final = (429, 503, 509)  # what servers answer that limit connections


@dataclass(eq=False)
class FaultError(Exception):
    """A request that did not give what was asked for.

    `reason` is a clause for a sentence. `again` says whether another try may help, `wait` how long
    the server asks to wait in seconds, `connected` whether anything answered, `status` what.
    """

    reason: str
    _: KW_ONLY
    again: bool
    wait: float = 0.0
    connected: bool = True
    status: int | None = None


class _Session(requests.Session):
    """Leaves redirects alone: requests would read their bodies whole. Survives a broken netrc."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        if "Authorization" in (request.headers or {}):
            request.auth = lambda asked: asked  # what was given by hand counts more than a netrc
        try:
            return super().prepare_request(request)
        except UnicodeDecodeError:
            request.auth = lambda asked: asked
            return super().prepare_request(request)


def new_session() -> requests.Session:
    """A session with proxies, CA bundle and netrc from the environment, and checks switched on."""
    session = _Session()
    session.verify = os.environ.get("SSL_CERT_FILE") or True
    # Each request has a connection of its own, which its watchdog knows.
    session.headers.update({"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, WatchedAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
    return session


class Policy:
    """How many more times to try one URL, and how long to wait first."""

    def __init__(self, edges: Edges, url: str) -> None:
        self._edges = edges
        self._url = url
        self._host = host_of(url)
        # A host that just failed for another file gets one try, not the whole patience again.
        unreachable = self._host in edges.hosts.unreachable
        self._connects = 1 if unreachable else edges.limits.connect_tries
        self.reset()

    def reset(self) -> None:
        """Start counting anew, after substantial progress."""
        limits = self._edges.limits
        self._began: float | None = None
        self._retry = Retry(
            total=limits.retries,
            backoff_factor=limits.backoff,
            backoff_max=limits.backoff_max,
            backoff_jitter=limits.jitter,
        )

    def next_wait(self, fault: FaultError) -> float | None:
        """Seconds to wait before the next try; None if there is to be none."""
        hosts, limits, now = self._edges.hosts, self._edges.limits, self._edges.monotonic()
        if fault.connected:
            hosts.answered.add(self._host)
        if self._host not in hosts.answered:
            self._connects -= 1
            if self._connects <= 0:
                hosts.unreachable.add(self._host)
                return None
        if not fault.again:
            return None
        try:
            error = ProtocolError(fault.reason)
            self._retry = self._retry.increment("GET", without_secrets(self._url), error=error)
        except MaxRetryError:
            return None
        wait = max(self._retry.get_backoff_time(), min(fault.wait, limits.retry_after_max))
        self._began = now if self._began is None else self._began
        return wait if now + wait - self._began <= limits.retry_max_time else None


class Answer:
    """The answer to one request, its body not yet read. Every fault of the way is a FaultError."""

    def __init__(self, response: requests.Response, url: str, watchdog: Watchdog) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = url
        self._response = response
        self._watchdog = watchdog
        self._head = b""

    def read(self) -> bytes:
        """The next bytes; empty at the end."""
        head, self._head = self._head, b""
        if head:
            return head
        with faults(self.url), self._watchdog.waiting():
            data: bytes = self._response.raw.read1(READ_BYTES, decode_content=False)
        self._watchdog.received(len(data))
        return data

    def refuse_disguise(self) -> None:
        """Raise FaultError if the body is something else than a checkpoint.

        What had to be read for that is given again by `read`.
        """
        head = b""
        while len(head) < SNIFF_BYTES and (data := self.read()):
            head += data
        if not head and "content-length" not in self.headers:
            # A connection that broke within the header looks like an answer without any.
            raise FaultError("the connection was closed without an answer", again=True)
        self._head = head
        kind = self.headers.get("content-type")
        what = disguise(head[:SNIFF_BYTES], kind)
        if what is not None:
            heading = self.title() if what == "an HTML page" else None
            text = f"titled “{heading}”, " if heading else ""
            kind = f"type {printable(kind, 60)}" if kind else "no content type"
            reason = f"got {what}, not a checkpoint ({text}status {self.status}, {kind})"
            raise FaultError(reason, again=False)

    def title(self) -> str | None:
        """Title of the page that the body is, as far as it comes."""
        page = bytearray()
        with contextlib.suppress(FaultError):
            while len(page) < TITLE_BYTES and (data := self.read()):
                page += data
        return title(bytes(page[:TITLE_BYTES]))


@contextlib.contextmanager
def answer(
    session: requests.Session,
    url: str,
    headers: Mapping[str, str],
    edges: Edges,
    ours: Headers = (),
) -> Iterator[Answer]:
    """The answer to a GET, redirects followed.

    Every header that decides about resuming is the caller's; `ours` are those of the source, for
    its own host alone. Status 200 and 206 are given back; every other is a FaultError.
    """
    home, origin = url, _origin(url)
    with Watchdog(edges) as watchdog:
        for _ in range(edges.limits.redirects + 1):
            edges.check()
            sent = dict(ours) if _origin(url) == origin else {}
            with faults(url), watchdog.waiting():
                response = session.get(
                    url,
                    headers={**sent, **headers, "Accept-Encoding": "identity"},
                    stream=True,
                    allow_redirects=False,
                    timeout=edges.limits.timeout,
                )
            watchdog.answered()
            with contextlib.closing(response):
                edges.hosts.answered.add(host_of(home))
                edges.hosts.unreachable.discard(host_of(home))
                if response.status_code in REDIRECTS and "location" in response.headers:
                    url = _redirected(url, response.headers["location"])
                    continue
                found = Answer(response, url, watchdog)
                if found.status not in (200, 206):
                    raise _refused(found, response.reason or "")
                yield found
                return
        raise FaultError(f"more than {edges.limits.redirects} redirects", again=False)


def _redirected(url: str, location: str) -> str:
    # Headers arrive as Latin-1; servers mean UTF-8.
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = urljoin(url, location)
        parts, before = urlsplit(target), urlsplit(url)
        if _origin(target) == _origin(url) and "@" in before.netloc and "@" not in parts.netloc:
            # A name and password given for this server are meant for all of it.
            target = urlunsplit(parts._replace(netloc=before.netloc))
        scheme = parts.scheme.lower()
    except ValueError:
        target, scheme = location, "unusable"
    shown = printable(without_secrets(target), 120)
    if scheme not in ("http", "https"):
        raise FaultError(f"redirected to something that is not http(s): {shown}", again=False)
    if scheme == "http" and before.scheme.lower() == "https":
        raise FaultError(f"redirected from https to unprotected http: {shown}", again=False)
    return target


def _refused(found: Answer, text: str) -> FaultError:
    status = found.status
    reason = f"{status} {printable(text, 60)}".strip()
    if found.headers.get("content-type", "").lower().startswith("text/html"):
        heading = found.title()
        reason += ", an HTML page" + (f" titled “{heading}”" if heading else "")
    again = status in (408, 425, 429) or (500 <= status < 600 and status not in (501, 505))
    wait = _retry_after(found.headers.get("retry-after"))
    return FaultError(reason, again=again, wait=wait, status=status)


def _retry_after(value: str | None) -> float:
    try:
        return max(0.0, Retry().parse_retry_after((value or "0")[:100]))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


@contextlib.contextmanager
def faults(url: str) -> Iterator[None]:
    """Turn whatever the transport raises into a FaultError that names the host."""
    try:
        yield
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        raise _explained(error, url) from error


_UNCONNECTED: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((NameResolutionError,), "the name {host} could not be resolved"),
    ((requests.exceptions.ConnectTimeout,), "{host} did not answer in time"),
    ((ExpiredError,), "{host} was too slow"),
    ((requests.exceptions.ReadTimeout, ReadTimeoutError, TimeoutError), "{host} fell silent"),
    ((ConnectionRefusedError,), "{host} refused the connection"),
)


def _explained(error: Exception, url: str) -> FaultError:
    host = printable(_netloc(url)[0] or "the host", 100)
    causes = list(_causes(error))
    innermost = printable(_scrubbed(str(causes[-1]) or type(causes[-1]).__name__, url), 160)

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if "CA certificate bundle" in innermost:
        text = "REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE names no file"
        return FaultError(f"{text}: {innermost}", again=False, connected=False)
    if has(requests.exceptions.ProxyError):
        proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) or ""
        place = printable(without_secrets(proxy), 100)
        reason = f"the proxy {place} did not connect to {host}: {innermost}"
        return FaultError(reason, again="407" not in innermost, connected=False)
    if has(requests.exceptions.SSLError) and "EOF" not in innermost:
        return FaultError(f"no safe connection to {host}: {innermost}", again=False)
    for kinds, text in _UNCONNECTED:
        if has(*kinds):
            return FaultError(text.format(host=host), again=True, connected=False)
    if has(IncompleteRead):
        return FaultError(f"{host} cut the connection", again=True)
    usage = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError)
    if isinstance(error, usage) and not isinstance(error, requests.exceptions.InvalidHeader):
        return FaultError(f"{host} cannot be reached: {innermost}", again=False)
    return FaultError(f"the connection to {host} broke: {innermost}", again=True)


def _scrubbed(text: str, url: str) -> str:
    """The text without the parts of a URL that may be secret, which libraries like to repeat."""
    parts = urlsplit(url)
    for secret in (parts.query, parts.netloc.rpartition("@")[0]):
        text = text.replace(secret, "…") if secret else text
    return text


def host_of(url: str) -> str:
    """Host and port of a URL: what a connection is made to."""
    return ":".join(map(str, _netloc(url)))


def _origin(url: str) -> tuple[object, ...]:
    return (urlsplit(url).scheme.lower(), *_netloc(url))


def _netloc(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it wraps, outermost first; wrapped as argument, reason or cause."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = [getattr(current, "reason", None), *current.args, current.__cause__]
        current = next((cause for cause in inner if isinstance(cause, BaseException)), None)


def small_document(
    session: requests.Session,
    url: str,
    limit: int,
    edges: Edges,
    ours: Headers,
    say: Callable[[str], None],
) -> bytes | None:
    """A short document whole, or at least its first `limit` bytes; None if there is none.

    `say` is told why it is asked for again. Many servers answer with an HTML page for whatever
    they do not have. Raises FaultError.
    """
    policy = Policy(edges, url)
    while True:
        try:
            with answer(session, url, {}, edges, ours) as found:
                text = bytearray()
                while len(text) < limit and (data := found.read()):
                    text += data
                reason = found.headers.get("content-length", "")
                if reason.isdecimal() and len(text) < min(limit, int(reason)):
                    raise FaultError(f"cut after {len(text)} bytes", again=True)
            page = disguise(bytes(text[:SNIFF_BYTES]), None) == "an HTML page"
            return None if page or found.status != 200 else bytes(text)
        except FaultError as fault:
            if fault.status in (403, 404, 410):
                return None
            if (wait := policy.next_wait(fault)) is None:
                raise
            say(f"{fault.reason}; next try in {wait:.1f} s")
            edges.pause(wait)
