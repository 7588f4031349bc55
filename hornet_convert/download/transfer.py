"""The bytes of one URL into a part file: resumed, retried, never taken for more than they are.

A download goes in rounds. Each begins with one request, the leader's. Unless its answer comes so
fast that this machine is the limit, helpers ask for the other ranges that are missing, if the
server sends ranges. A round is over when nobody receives any more; what is missing then is for the
next, after a pause.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hornet_convert.download.answers import Body, body_of
from hornet_convert.download.edges import MIB, TICK, Edges, Phase
from hornet_convert.download.following import Follower
from hornet_convert.download.http import (
    CROWDED,
    Answer,
    FaultError,
    Policy,
    answer,
    host_of,
    new_session,
)
from hornet_convert.download.partfile import Origin, PartFile, Span
from hornet_convert.download.sources import Headers, without_secrets

if TYPE_CHECKING:
    import requests

Report = Callable[[Phase, int, int | None, str | None], None]

NO_RANGES: Final = (400, 403, 404, 405, 410, 411, 412, 416, 501, 505)
"""What servers answer to a request for a part, though they would send the whole."""

ALONE: Final = 0.2  # seconds that the leader has to show how fast one connection is
FAST: Final = 256 * MIB  # bytes per second: more than that this machine hardly hashes


@dataclass(frozen=True)
class Asked:
    """What to get: `size` is the file's length in bytes, `known` whether its digest is known."""

    url: str
    size: int | None
    known: bool
    headers: Headers = ()


@dataclass(frozen=True)
class Arrived:
    """SHA-256 of the file; `whole` unless its end could have been a broken connection."""

    sha256: str
    whole: bool = True


class WrongSizeError(FaultError):
    """The server offers another length than the file is known to have."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes", again=False)
        self.size = size


class Transfer:
    """Brings a part file to the whole file."""

    def __init__(self, asked: Asked, part: PartFile, edges: Edges, report: Report) -> None:
        self.asked = asked
        self.part = part
        self.edges = edges
        self.report = report
        self._host = host_of(asked.url)
        self._whole = True
        self._width = edges.limits.connections
        self._ranges = True  # until the server shows that it sends none
        self._offered = True  # whether it says that it does
        self._failures = 0  # of requests for a part, that may have other reasons
        self._lock = threading.Lock()
        self._taken: list[Span] = []
        self._faults: list[FaultError] = []
        self._errors: list[BaseException] = []

    def run(self) -> Arrived:
        """Fetch what is missing.

        Raises FaultError when the tries are used up or another would not help; what arrived stays
        in the part file. Raises DiskError and CancelledError.
        """
        url, size = without_secrets(self.asked.url), self.asked.size
        if not self.part.belongs_to(url, size):
            # Where size and digest are known the first request can be for a part already: a whole
            # answer that is left early has sent more than is read.
            known = size is not None and self.asked.known and self._width > 1
            self.part.restart(Origin(url, None, size) if known else None)
            self._split()
        self._follower = Follower(self.part)
        try:
            self._rounds()
            sha256 = self._follower.hexdigest(self._hashed)
        finally:
            self._follower.stop()
        self.part.finish()
        return Arrived(sha256, self._whole)

    def _split(self) -> None:
        """Plan what to ask for at once, before anything of it is asked for."""
        if self._ranges and self._offered:
            self.part.split(self._width, self.edges.limits.least_range)

    def _hashed(self, done: int) -> None:
        self.edges.check()
        self.report("hashing", done, self.part.size, None)

    def _total(self) -> int | None:
        """Length of the whole file, if anyone has said."""
        return self.asked.size or (self.part.origin.total if self.part.origin else None)

    def _rounds(self) -> None:
        policy, high, tries = Policy(self.edges, self.asked.url), self.part.size, 0
        while not self._is_complete():
            tries, ranges = tries + 1, self._ranges
            fault = self._round()
            if fault is None:
                return
            if ranges and not self._ranges:  # another question, not the same again
                self._say("retrying", f"{fault.reason}; asking for the whole file")
                continue
            if self.part.size - high >= self.edges.limits.substantial:
                policy.reset()
                high = self.part.size
            if fault.status in CROWDED and self._waited_for_others(fault):
                policy.reset()
                self.edges.pause(self.edges.limits.backoff)  # servers notice late that one ended
                continue
            wait = policy.next_wait(fault)
            if wait is None:
                fault.reason += f" (tried {tries} times)" if tries > 1 else ""
                raise fault
            self._say("retrying", f"{fault.reason}; next try in {wait:.1f} s")
            self.edges.pause(wait)

    def _waited_for_others(self, fault: FaultError) -> bool:
        """Whether the host was sending to another download, which got what it asked for."""
        hosts, host = self.edges.hosts, self._host
        given = hosts.given[host]
        if hosts.busy(host):
            self._say("waiting", f"{fault.reason}: waiting for the other download from there")
        while hosts.busy(host) and hosts.given[host] == given:
            self.edges.check()
            self.edges.cancel.wait(TICK)
        return hosts.given[host] > given

    def _say(self, phase: Phase, detail: str | None = None) -> None:
        self.report(phase, self.part.size, self._total(), detail)

    def _is_complete(self) -> bool:
        return self.part.size > 0 and self.part.is_complete

    def _round(self) -> FaultError | None:
        """Ask until nobody receives any more; what was in the way, None if nothing is missing."""
        self._taken, self._faults, self._errors = [], [], []
        if self.part.size:
            self._split()
        helpers: list[threading.Thread] = []
        before = self.part.size

        def help_out() -> None:
            if self.part.size - before > FAST * ALONE:
                return
            gaps = sum(span.left != 0 for span in self.part.spans)
            for n in range(min(self._width, gaps) - 1):
                helpers.append(threading.Thread(target=self._work, name=f"range-{n}", daemon=True))
                helpers[-1].start()

        alone = threading.Timer(ALONE, help_out)
        alone.daemon = True
        self._work(alone)
        alone.cancel()
        if alone.ident is not None:
            alone.join()
        for helper in helpers:
            helper.join()
        if self._errors:
            raise self._errors[0]
        if self._is_complete():
            return None
        return self._faults[0] if self._faults else FaultError("it ended early", again=True)

    def _work(self, alone: threading.Timer | None = None) -> None:
        """Ask for one missing range after another; the leader starts `alone` once it is answered.

        From then on it is one of several, and must not start over what others are at.
        """
        try:
            with new_session() as session:
                while not self._errors and (span := self._take()) is not None:
                    before = self.part.size
                    leads = alone is not None and alone.ident is None
                    try:
                        self._ask(session, span, alone if leads else None)
                    except FaultError as fault:
                        # While others receive, what just got on goes on at once.
                        got_on = self.part.size - before >= self.edges.limits.substantial
                        if not (got_on and self._taken):
                            self._faults.append(fault)
                            return
        except BaseException as error:  # raised again by the leader
            self._errors.append(error)

    def _take(self) -> Span | None:
        """A range that is missing and that nobody asks for."""
        with self._lock:
            for span in sorted(self.part.spans, key=lambda span: span.start):
                if span.left != 0 and span not in self._taken:
                    self._taken.append(span)
                    return span
        return None

    def _ask(self, session: requests.Session, span: Span, alone: threading.Timer | None) -> None:
        """One request; returns when the range is complete, raises FaultError otherwise."""
        leads = alone is not None
        headers = self._range_headers(span)
        self._say("connecting")
        try:
            with (
                self.edges.hosts.asking(self._host),
                answer(session, self.asked.url, headers, self.edges, self.asked.headers) as found,
            ):
                body = body_of(found.status, found.headers)
                if isinstance(body, str):
                    raise FaultError(f"got {body}", again=False, status=416)
                if found.status == 206:
                    self._check_continues(body, span, bool(headers))
                elif leads:
                    found.refuse_disguise()
                    self._check_length(body)
                    span = self._start_over(body, span, bool(headers))
                else:
                    raise FaultError("got the whole file, not a part", again=True, status=416)
                if alone is not None:
                    alone.start()
                self._receive(found, body, span)
        except FaultError as fault:
            with self._lock:
                self._taken.remove(span)
            if headers and fault.status is not None:
                self._refused_a_part(fault, leads)
            raise

    def _refused_a_part(self, fault: FaultError, leads: bool) -> None:
        """Draw the conclusion: without ranges, or with fewer at once."""
        if not leads:
            self._width = max(1, self._width - 1)
        elif fault.status in NO_RANGES or self._failures:
            self._ranges = fault.status in CROWDED
        self._failures += fault.status not in CROWDED
        fault.again = fault.status != 401

    def _range_headers(self, span: Span) -> dict[str, str]:
        origin = self.part.origin
        nothing_yet = len(self.part.spans) == 1 and not self.part.size
        if nothing_yet or origin is None or not self._ranges:
            return {}
        end = "" if span.end in (None, origin.total) else str((span.end or 0) - 1)
        wanted = {"Range": f"bytes={span.at}-{end}"}
        if self.asked.known:
            return wanted  # the digest tells whether the parts are of one file
        # Without a validator the file may have changed in between, and nothing would tell.
        return {**wanted, "If-Range": origin.validator} if origin.validator else {}

    def _check_continues(self, body: Body, span: Span, asked: bool) -> None:
        origin = self.part.origin
        fits = (
            asked
            and origin is not None
            and body.start == span.at
            and (body.total is None or self._total() in (None, body.total))
            and (self.asked.known or body.validator in (None, origin.validator))
        )
        if not fits:
            self._ranges = False
            raise FaultError("got another part than the one asked for", again=True)

    def _check_length(self, body: Body) -> None:
        if body.total is None:
            return
        if self.asked.size and body.total != self.asked.size:
            raise WrongSizeError(body.total)
        most = self.edges.limits.max_bytes
        if body.total > most:
            raise FaultError(f"{body.total} bytes are offered, more than {most}", again=False)

    def _start_over(self, body: Body, span: Span, asked_part: bool) -> Span:
        """Make the part file one of what the server begins to send; its only range."""
        part, before = self.part, self.part.origin
        same = before is not None and before.validator == body.validator
        # Whoever sends the whole of the same file though a part was asked for sends no parts.
        self._ranges = self._ranges and not (asked_part and same)
        self._offered = body.ranges and (self.asked.known or body.validator is not None)
        self._follower.stop()
        url = without_secrets(self.asked.url)
        part.restart(Origin(url, body.validator, self.asked.size or body.total))
        self._follower = Follower(part)
        self._split()
        with self._lock:
            self._taken[:] = [part.spans[0]]
        return part.spans[0]

    def _receive(self, found: Answer, body: Body, span: Span) -> None:
        part, total, received = self.part, self._total(), 0
        most = total or self.edges.limits.max_bytes
        if total is not None:
            part.check_space(total)
        try:
            while span.left != 0 and not self._errors and (data := found.read()):
                received += len(data)
                part.append(span, data)
                if part.size > most:
                    part.restart(None)
                    raise FaultError(f"more than {most} bytes arrived", again=False)
                self._follower.check()
                self._say("downloading")
                self.edges.hold_back(len(data))
        except FaultError as fault:
            fault.reason += f", after {part.size} of {total or 'unknown'} bytes" * fault.again
            raise
        finally:
            self.edges.hosts.given[self._host] += 1
        if span.left or (span.left is None and body.length not in (None, received)):
            self.edges.check()
            raise FaultError(f"cut after {part.size} of {total or 'unknown'} bytes", again=True)
        if span.left is None:
            self._whole = body.self_delimiting
            if not self._whole and not self.asked.known:
                raise FaultError("the server does not say how long the file is", again=False)
            span.end = span.at
