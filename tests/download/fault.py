"""One row of the table of faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hornet_convert.download.edges import Limits
from tests.download.fault_server import Answer
from tests.download.setting import LIMITS, Knows


@dataclass(frozen=True)
class Fault:
    """What a server does, and what has to come of it.

    `answers` to the requests for the file, in turn, the last one for all that follow. `code` is the
    exit code; `says` what the message has to contain. `asked` is the number of requests for the
    file, `kept` how many bytes stay for the next run, `extra` how many bytes may be sent beyond the
    file's length, `limits` the patience.
    """

    name: str
    answers: tuple[Answer, ...]
    knows: Knows = "digits"
    code: int = 0
    says: tuple[str, ...] = ()
    asked: int | None = None
    kept: int = 0
    extra: int | None = None
    limits: Limits = LIMITS


def right(name: str, *answers: Answer, **more: Any) -> Fault:
    """What the right file comes of in the end."""
    return Fault(name, answers, **more)


def wrong(
    name: str, *answers: Answer, says: str | tuple[str, ...] = (), code: int = 3, **more: Any
) -> Fault:
    """What an error comes of, that says so."""
    return Fault(name, answers, code=code, says=(says,) if isinstance(says, str) else says, **more)
