"""The folder that downloads are kept in.

`<model>/<source>-<8 digits of its address>/` holds the file under its published name, `.entry.json`
saying what it is, and while a download is unfinished `.part`. `<model>/converted/` holds, in the
same way, the converted model for whoever loads it by name, with its provenance in a `.json` beside
it. Names that start with a dot are the cache's own. The folder may be one that others use too: only
folders of the names above are looked into, and only files that the cache knows are ever removed.

A file that was refused, or that failed a check, stays where it is, set aside: its entry says so. It
is fetched again once; if the same file comes, it is used, because asking a third time is no use.
"""

from __future__ import annotations

import contextlib
import hashlib
import operator
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from hornet_convert.download.errors import OPTION
from hornet_convert.download.locks import holder, is_free
from hornet_convert.download.partfile import DATA, PartFile, remove_part
from hornet_convert.download.sources import Source, SourceName, home_expanded
from hornet_convert.download.wanted import is_plain_name
from hornet_convert.errors import DiskError
from hornet_convert.family import zoo
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.reading import sha256_of
from hornet_convert.files.records import Count, read_record, write_record
from hornet_convert.files.writing import sweep, sweep_folders, sync_folder
from hornet_convert.report.claims import Claim

VARIABLE: Final = "HORNET_CONVERT_CACHE"
ENTRY, PART, LOCK = ".entry.json", ".part", ".lock"
CONVERTED: Final = "converted"
SCRATCH: Final = "validate-"  # folders of results that nobody keeps
STALE_SECONDS: Final = 86400.0  # private part files live as long as a download may take

_SLOT: Final = re.compile(rf"{CONVERTED}|(?:{'|'.join(get_args(SourceName))})-[0-9a-f]{{8}}")
_PART: Final = re.compile(r"\.part(?:-([0-9a-f]{8})([0-9a-f]{8})?[0-9a-f]{4})?")


@dataclass(frozen=True)
class Usage:
    """What a cache holds, with bytes: files, converted models too, and unfinished downloads.

    Where it tells what was removed, `left` are the folders that could not be, each with the reason.
    """

    files: int = 0
    bytes: int = 0
    parts: int = 0
    part_bytes: int = 0
    left: tuple[str, ...] = ()

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(operator.add, astuple(self), astuple(other)))


@dataclass(frozen=True)
class CacheEntry:
    """What is recorded about one cached file.

    `size` in bytes, `fetched` a date in UTC; `expected` the digest, or the first digits of one,
    that the file had to have, and `origin` who said so; `note` a sentence for the user; empty if
    none. `refused` is how many times this very file came and turned out wrong, `problem` how.
    """

    model: str
    source: str
    location: str
    url: str
    file: str
    size: Count
    sha256: str
    fetched: str
    expected: str
    origin: str
    note: str
    refused: Count = 0
    problem: str = ""


@dataclass(frozen=True)
class Slot:
    """The folder of one model from one source, or of the converted model."""

    folder: Path

    @property
    def is_converted(self) -> bool:
        """Whether what lies here was converted, not downloaded."""
        return self.folder.name == CONVERTED

    @property
    def part(self) -> Path:
        """The unfinished download."""
        return self.folder / PART

    @property
    def lock(self) -> Path:
        """The lock that a download holds."""
        return self.folder / LOCK

    def entry(self) -> CacheEntry | None:
        """What is recorded about the file here; None if nothing, or nothing legible."""
        entry = read_record(self.folder / ENTRY, CacheEntry)
        return entry if entry is not None and is_plain_name(entry.file) else None

    def legible_entry(self) -> CacheEntry | None:
        """The same, and None too if it cannot be read."""
        try:
            return self.entry()
        except OSError:
            return None

    def may_be_written(self) -> bool:
        """Whether this user may make files here, as far as that can be told without doing it."""
        there = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        return os.access(there, os.W_OK | os.X_OK)

    def names(self) -> list[str]:
        """The names of the files that the entry knows."""
        entry = self.legible_entry()
        if entry is None:
            return []
        beside = [str(Path(entry.file).with_suffix(".json"))] if self.is_converted else []
        return [entry.file, *beside]

    def usage(self) -> Usage:
        """What this folder holds."""
        entry = self.legible_entry()
        data = [path / DATA for path in self.parts()]
        unfinished = Usage(0, 0, sum(map(_is_file, data)), sum(map(_size, data)))
        if entry is None or not _is_file(file := self.folder / entry.file):
            return unfinished
        return unfinished + Usage(1, _size(file))

    def prepare(self) -> None:
        """Make the folder. Raises DiskError if it, or that of the model, is a link.

        What lies behind a link is not the cache's: it would be neither listed nor cleared.
        """
        for folder in (self.folder, self.folder.parent):
            if folder.is_symlink():
                raise DiskError(
                    "the place in the cache is a link",
                    where=str(folder),
                    expected="a folder",
                    hint="Remove the link, or name another folder with --cache.",
                )
        with disk_errors(self.folder, "creating a place in the cache", OPTION):
            self.folder.mkdir(parents=True, exist_ok=True)

    def record(
        self, file: str, *, model: str, source: Source, url: str, size: int, sha256: str,
        expected: Claim | None = None, notes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Write down what a file here is. Raises DiskError."""
        before = self.legible_entry()
        entry = CacheEntry(
            model=model,
            source=source.name,
            location=source.location,
            url=url,
            file=file,
            size=size,
            sha256=sha256,
            fetched=datetime.now(UTC).isoformat(timespec="seconds"),
            expected=expected.digest if expected else "",
            origin=expected.origin if expected else "",
            note="; ".join(notes),
        )
        if before is not None and before.sha256 == sha256:
            entry = replace(entry, refused=before.refused, problem=before.problem)
        write_record(self.folder / ENTRY, entry, OPTION)

    def publish(self, part: PartFile, file: str, **facts: Any) -> Path:
        """Put a finished part file in its place; `facts` are those of `record`.

        The entry goes first: killed in between, the next run finds the finished part file and need
        not fetch it again.
        """
        with disk_errors(self.folder, "storing the download", OPTION):
            before = self.entry()
            self.record(file, **facts)
            final = self.folder / file
            part.data.replace(final)
            part.remove()
            sync_folder(self.folder)
            if before is not None and before.file != file:
                (self.folder / before.file).unlink(missing_ok=True)
        return final

    def parts(self) -> list[Path]:
        """Every unfinished download here, also those of where locks do nothing."""
        return [path for path in self.folder.glob(f"{PART}*") if _PART.fullmatch(path.name)]

    def own_part(self) -> Path:
        """A place of its own for an unfinished download, where locks do nothing."""
        return self.folder / f"{PART}-{_machine()}{os.getpid():08x}{secrets.token_hex(2)}"

    def idle_parts(self) -> list[Path]:
        """Unfinished downloads that nobody is at, the largest first."""
        found = [path for path in self.parts() if path == self.part or _is_left(path)]
        return sorted(found, key=lambda path: -_size(path / DATA))

    def sweep(self) -> None:
        """Remove what killed runs left, but for the part file that can be continued."""
        sweep(self.folder)
        for path in self.parts():
            with contextlib.suppress(OSError):
                if path != self.part and time.time() - path.stat().st_mtime > STALE_SECONDS:
                    remove_part(path)

    def clear(self) -> None:
        """Remove what the cache put here, and the folder if nothing else is in it. Raises OSError.

        Whatever has another name stays.
        """
        names = self.names()
        sweep(self.folder)
        for path in self.parts():
            remove_part(path)
        for name in (*names, ENTRY, LOCK):
            if not _is_folder(self.folder / name):
                (self.folder / name).unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()


class Cache:
    """A folder of downloads. Makes nothing until something is stored."""

    def __init__(self, folder: Path, trust_path: Path | None = None) -> None:
        self.folder = folder
        self.trust_path = trust_path or folder / "trust.json"

    @classmethod
    def at(cls, explicit: str | os.PathLike[str] | None = None) -> Cache:
        """The cache at a given folder, else at HORNET_CONVERT_CACHE, else at the user's default.

        The trust record of the default cache lies with the user's data, where nothing that empties
        caches removes it; that of a cache of one's own choice lies inside it.
        Raises UsageError for the home folder of an unknown user.
        """
        chosen = explicit or os.environ.get(VARIABLE)
        if chosen:
            return cls(home_expanded(chosen, "--cache or HORNET_CONVERT_CACHE"))
        return cls.of_user()

    @classmethod
    def of_user(cls) -> Cache:
        """The user's default cache."""
        import platformdirs

        data = platformdirs.user_data_path("hornet-convert")
        return cls(platformdirs.user_cache_path("hornet-convert"), data / "trust.json")

    def slot(self, model: str, source: Source) -> Slot:
        """Where the file of a model from a source lies, or would."""
        address = hashlib.sha256(source.location.encode()).hexdigest()
        return Slot(self.folder / model / f"{source.name}-{address[:8]}")

    def converted(self, model: str) -> Slot:
        """Where the converted model lies, or would."""
        return Slot(self.folder / model / CONVERTED)

    def slots(self, model: str | None = None) -> list[Slot]:
        """All slots, or those of one model, in order of their names; links are none."""
        with disk_errors(self.folder, "listing the cache", OPTION):
            return [
                Slot(path)
                for name in ([model] if model else sorted(zoo.BY_NAME))
                if _is_folder(self.folder / name)
                for path in sorted((self.folder / name).iterdir())
                if _SLOT.fullmatch(path.name) and _is_folder(path)
            ]

    def entries(self, model: str | None = None) -> list[tuple[CacheEntry, Path]]:
        """Every recorded file that is there, with its path."""
        found = ((slot, slot.legible_entry()) for slot in self.slots(model))
        return [
            (entry, slot.folder / entry.file)
            for slot, entry in found
            if entry is not None and _is_file(slot.folder / entry.file)
        ]

    def usage(self) -> Usage:
        """How many files and bytes the cache holds now."""
        return sum((slot.usage() for slot in self.slots()), Usage())

    def set_aside(
        self, model: str, source: Source, problem: str | None, *, came: bool = True
    ) -> int:
        """Note that the file of a source is wrong, or with None that it is right after all.

        `came` says whether it has just been fetched. Returns how many times this very file came
        and was wrong. Raises DiskError.
        """
        slot = self.slot(model, source)
        entry = slot.legible_entry()
        if entry is None or (problem is None and not entry.refused):
            return 0
        times = 0 if problem is None else max(1, entry.refused + came)
        entry = replace(entry, refused=times, problem=problem or "")
        write_record(slot.folder / ENTRY, entry, OPTION)
        return times

    def verify(self) -> Iterator[tuple[CacheEntry, Path, str | None]]:
        """Read every file again; yields each with what is wrong with it, None if nothing is."""
        for entry, path in self.entries():
            try:
                digest, size = sha256_of(path)
            except OSError as error:
                yield entry, path, f"cannot be read: {error.strerror}"
                continue
            wrong = (digest, size) != (entry.sha256, entry.size)
            found = f"expected SHA-256 {entry.sha256}, {entry.size} bytes; found {digest}, {size}"
            yield entry, path, found if wrong else entry.problem or None

    def clear(self, model: str | None = None) -> Usage:
        """Remove every file, unfinished download and converted model, or those of one model.

        Returns what went, and what did not: slots that a download holds are left alone, and those
        of another user have to be. The trust record stays.
        """
        gone = sum((self._remove(slot) for slot in self.slots(model)), Usage())
        sweep(self.folder)
        sweep_folders(self.folder, SCRATCH)
        return gone

    def prune(self) -> Usage:
        """Remove what nobody will use: leftovers of killed runs, files set aside, and of no record.

        Returns what went, and what could not. An unfinished download stays, because the next run
        goes on from there; so does whatever a running one holds.
        """
        sweep(self.folder)
        sweep_folders(self.folder, SCRATCH)
        gone = Usage()
        for slot in self.slots():
            if not is_free(slot.lock):
                continue
            slot.sweep()
            entry = slot.legible_entry()
            if entry is not None and entry.refused:
                gone += self._remove(slot)
                continue
            names = slot.names()
            if not names and not slot.lock.exists():
                continue  # not made by the cache
            for path in slot.folder.iterdir():
                known = path.name.startswith(".") or path.name in names
                if not known and path.is_file():
                    gone += _removed(path.unlink, path, Usage(1, _size(path)))
        return gone

    def discard(self, model: str, source: Source) -> tuple[str, ...]:
        """Remove what came from one source; what could not be, with the reason."""
        return self._remove(self.slot(model, source)).left

    def _remove(self, slot: Slot) -> Usage:
        if not _is_folder(slot.folder):
            return Usage()
        if not is_free(slot.lock):
            return Usage(left=(f"{slot.folder}: {holder(slot.lock)} is using it",))
        return _removed(slot.clear, slot.folder, slot.usage())


def _removed(remove: Callable[[], object], path: Path, held: Usage) -> Usage:
    """What is gone after trying to remove what is at a path."""
    try:
        remove()
    except OSError as error:
        return Usage(left=(f"{path}: {error.strerror}",))
    return held


def _machine() -> str:
    """What tells this machine, or this container, from others that share the folder."""
    try:
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _is_left(part: Path) -> bool:
    """Whether the process of this machine that the name tells of is gone."""
    match = _PART.fullmatch(part.name)
    if match is None or match[2] is None or match[1] != _machine():
        return False
    try:
        os.kill(int(match[2], 16), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return 0 if path.is_dir() else path.lstat().st_size
    except OSError:
        return 0
