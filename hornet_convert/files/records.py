"""Small JSON records of this package's own: read by their type, replaced whole or not at all."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from hornet_convert.errors import MalformedError
from hornet_convert.files.reading import open_regular
from hornet_convert.files.writing import publish_bytes
from hornet_convert.text import printable

LONGEST: Final = 1 << 20  # bytes

T = TypeVar("T")

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
AnySha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(gt=0)]


def shaped(value: object, kind: type[T], what: str, where: str, hint: str | None = None) -> T:
    """A record of a type out of what a JSON text held. Raises MalformedError as `parse` does."""
    with _malformed(what, where, hint):
        return msgspec.convert(value, type=kind)


def parse(text: bytes, kind: type[T], what: str, where: str, hint: str | None = None) -> T:
    """A record of a type out of a JSON text.

    Raises MalformedError that names the field; `what` is the subject of its sentence.
    """
    with _malformed(what, where, hint):
        return msgspec.json.decode(text, type=kind)


@contextlib.contextmanager
def _malformed(what: str, where: str, hint: str | None) -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(
            f"{what} is malformed",
            where=printable(where, 1000),
            found=printable(str(error), 400),
            hint=hint,
        ) from error


def read_record(path: Path, kind: type[T], limit: int = LONGEST) -> T | None:
    """The record at a path; None if there is none or it is damaged. Raises OSError.

    For what this package alone writes and can make again: a damaged one means "know nothing".
    """
    text = read_text(path, limit)
    with contextlib.suppress(MalformedError):
        return None if text is None else parse(text, kind, "the record", str(path))
    return None


def read_text(path: Path, limit: int = LONGEST) -> bytes | None:
    """The first `limit` + 1 bytes of a regular file; None if there is none. Raises OSError."""
    try:
        with io.BufferedReader(open_regular(path)) as file:
            return file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_record(path: Path, record: object, option: str = "--out") -> None:
    """Replace the record at a path; mode by umask. Raises DiskError."""
    publish_bytes(as_text(record), path, option)


def as_text(record: object) -> bytes:
    """A record as indented JSON, ended by a line feed."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
