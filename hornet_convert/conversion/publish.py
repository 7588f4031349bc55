"""Giving a proved result its name, and its record a place beside it; and the proof of that."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Final

from hornet_convert.errors import CheckFailedError, DiskError
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.reading import sha256_of
from hornet_convert.files.writing import refuse_special

MAX_RECORD_BYTES: Final = 1 << 22

Stamp = tuple[int, int, int, int]
"""Which file an open one is, its size, and when it was written to last."""


def already_there(final: Path, sha256: str, force: bool) -> bool:
    """Whether the very same file has the result's name already.

    Raises DiskError if another file has it, or that of the record, unless forced.
    """
    require_place(final, final.with_suffix(".json"), force)
    return same_there(final, sha256, force)


def same_there(final: Path, sha256: str, force: bool) -> bool:
    """Whether this very file has a name already. Raises DiskError if another has, unless forced."""
    if not os.path.lexists(final):
        return False
    digest = None
    if final.is_file():
        with disk_errors(final, "reading"):
            digest, _ = sha256_of(final)
    if digest != sha256 and not force:
        raise DiskError(
            "another file has the result's name",
            where=str(final),
            expected=f"SHA-256 {sha256}",
            found="not a regular file" if digest is None else f"SHA-256 {digest}",
            hint="It may be a damaged copy. --force replaces it.",
        )
    return digest == sha256


def require_place(final: Path, place: Path, force: bool) -> None:
    """Raise DiskError if the record of `final` would replace what is no record of it."""
    refuse_special(place)
    if force or not os.path.lexists(place):
        return
    with disk_errors(place, "reading"), place.open("rb") as there:
        text = there.read(MAX_RECORD_BYTES)
    try:
        (subject,) = json.loads(text)["subject"]
        name = subject["name"]
    except (ValueError, TypeError, KeyError, RecursionError):
        name = None
    if name != final.name:
        raise DiskError(
            "another file has the name of the result's record",
            where=str(place),
            expected=f"the record of {final.name}, or nothing",
            hint="Name another folder with --out, or replace it with --force.",
        )


def stamp(file: io.FileIO | io.BufferedReader) -> Stamp:
    """The stamp of an open file."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def in_the_way(final: Path, sha256: str, force: bool) -> str | None:
    """What would be replaced without leave, in a sentence: the last look before publishing."""
    record = final.with_suffix(".json")
    if force:
        return None
    with disk_errors(final, "reading"):
        if final.exists():
            with final.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != sha256:
                return f"{final.name} would replace another file"
        if record.exists() and final.name.encode() not in record.read_bytes():
            return f"{record.name} would replace another file"
    return None


def require_published(final: Path, proved: Stamp | None, sha256: str, record: bytes) -> None:
    """Raise CheckFailedError unless what was proved has the name, and the record lies beside it.

    It must be the very file that was `proved`, and nothing may have written to it since; None for
    one that stood there before, of which its SHA-256 tells.
    """
    wrong = None
    with disk_errors(final, "reading"):
        with final.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if proved is None else sha256
            if digest != sha256 or (proved is not None and stamp(file) != proved):
                wrong = final
        if final.with_suffix(".json").read_bytes() != record:
            wrong = final.with_suffix(".json")
    if wrong is not None:
        raise CheckFailedError(
            "what has the result's name is not what was proved",
            where=str(wrong),
            hint="Something else is writing to that folder: remove the file and try again.",
        )
