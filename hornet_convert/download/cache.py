"""The folder that downloads are kept in.

`<model>/<source>-<8 digits of its address>/` holds the file under its published name, `.entry.json`
saying what it is, and while a download is unfinished `.part` and `.part.json`. Names that start
with a dot are the cache's own. The folder may be one that others use too: only folders of the names
above are looked into, and only files of the cache's own names are ever removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_args

from hornet_convert.conversion.publish import sync_folder
from hornet_convert.download import converted
from hornet_convert.download.digests import sha256_of
from hornet_convert.download.disk import TEMPORARY, disk_errors, read_json, write_json
from hornet_convert.download.index import is_plain_name
from hornet_convert.download.partfile import PartFile
from hornet_convert.download.sources import Source, SourceName, home_expanded
from hornet_convert.errors import DiskError
from hornet_convert.family import zoo

VARIABLE = "HORNET_CONVERT_CACHE"
ENTRY, PART, PART_SIDECAR, LOCK = ".entry.json", ".part", ".part.json", ".lock"
# Temporary files live for a moment, private part files as long as a download may take.
STALE_SECONDS = {TEMPORARY: 60.0, f"{PART}-": 86400.0}

_SLOT = re.compile(rf"(?:{'|'.join(get_args(SourceName))})-[0-9a-f]{{8}}")
_OWN = re.compile(r"\.entry\.json|\.part(?:-[0-9a-f]{12})?(?:\.json)?|\.lock|\.tmp-.*", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """What is recorded about one cached file.

    `size` in bytes, `fetched` a date in UTC; `expected` the digest, or the first digits of one,
    that the file had to have, and `origin` who said so; `note` a sentence for the user; empty if
    none.
    """

    model: str
    source: str
    location: str
    url: str
    file: str
    size: int
    sha256: str
    fetched: str
    expected: str
    origin: str
    note: str


@dataclass(frozen=True)
class Slot:
    """The folder of one model from one source."""

    folder: Path

    @property
    def part(self) -> Path:
        """The unfinished download."""
        return self.folder / PART

    @property
    def part_sidecar(self) -> Path:
        """What the unfinished download is a part of."""
        return self.folder / PART_SIDECAR

    @property
    def lock(self) -> Path:
        """The lock that a download holds."""
        return self.folder / LOCK

    def entry(self) -> Entry | None:
        """What is recorded about the file here; None if nothing, or nothing legible."""
        document = read_json(self.folder / ENTRY) or {}
        values = {field.name: document.get(field.name) for field in fields(Entry)}
        size = values.pop("size")
        if not isinstance(size, int) or not all(isinstance(v, str) for v in values.values()):
            return None
        entry = Entry(size=size, **{name: str(value) for name, value in values.items()})
        return entry if is_plain_name(entry.file) else None

    def path_of(self, entry: Entry) -> Path:
        """Where the file of an entry lies."""
        return self.folder / entry.file

    def refuse_link(self) -> None:
        """Raise DiskError if the folder is a link: what lies behind it is not the cache's."""
        if self.folder.is_symlink():
            raise DiskError(
                "the place in the cache is a link",
                where=str(self.folder),
                expected="a folder",
                hint="Remove the link, or name another folder with --cache.",
            )

    def clear(self) -> None:
        """Remove what the cache put here, and the folder if nothing else is in it.

        Whatever has another name stays, and so does every folder. Raises OSError.
        """
        entry = self.legible_entry()
        with contextlib.suppress(FileNotFoundError):
            for path in list(self.folder.iterdir()):
                own = _OWN.fullmatch(path.name) or (entry is not None and path.name == entry.file)
                if own and not _is_folder(path):
                    path.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def legible_entry(self) -> Entry | None:
        """The same, and None too if it cannot be read."""
        try:
            return self.entry()
        except OSError:
            return None

    def publish(self, part: PartFile, entry: Entry) -> Path:
        """Put a finished part file in its place.

        The entry goes first: killed in between, the next run finds the finished part file and need
        not fetch it again.
        """
        with disk_errors(self.folder, "storing the download"):
            before = self.entry()
            write_json(self.folder / ENTRY, asdict(entry))
            final = self.path_of(entry)
            part.path.replace(final)
            part.published()
            sync_folder(self.folder)
            if before is not None and before.file != entry.file:
                self.path_of(before).unlink(missing_ok=True)
        return final


@dataclass(frozen=True)
class Usage:
    """What a cache holds, with bytes: files and converted models, and unfinished downloads."""

    files: int
    bytes: int
    parts: int
    part_bytes: int


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
        import platformdirs

        data = platformdirs.user_data_path("hornet-convert")
        return cls(platformdirs.user_cache_path("hornet-convert"), data / "trust.json")

    def slot(self, model: str, source: Source) -> Slot:
        """Where the file of a model from a source lies, or would."""
        address = hashlib.sha256(source.location.encode("utf-8", "surrogatepass")).hexdigest()
        return Slot(self.folder / model / f"{source.name}-{address[:8]}")

    def slots(self, model: str | None = None) -> list[Slot]:
        """All slots, or those of one model, in order of their names; links are none."""
        with disk_errors(self.folder, "listing the cache"):
            return [
                Slot(path)
                for name in ([model] if model else sorted(zoo.BY_NAME))
                if _is_folder(self.folder / name)
                for path in sorted(self.folder.glob(f"{name}/*-????????"))
                if _SLOT.fullmatch(path.name) and _is_folder(path)
            ]

    def entries(self, model: str | None = None) -> list[tuple[Entry, Path]]:
        """Every recorded file that is there, with its path."""
        found = ((slot, slot.legible_entry()) for slot in self.slots(model))
        return [
            (entry, slot.path_of(entry))
            for slot, entry in found
            if entry is not None and _is_file(slot.path_of(entry))
        ]

    def usage(self) -> Usage:
        """How many files and bytes the cache holds now."""
        sizes = [_size(path) for _, path in self.entries()]
        sizes += [one.size for one in converted.converted(self.folder)]
        parts = [size for slot in self.slots() if (size := _size(slot.part))]
        return Usage(len(sizes), sum(sizes), len(parts), sum(parts))

    def verify(
        self, seen: Callable[[Entry, int], None] | None = None
    ) -> Iterator[tuple[Entry, Path, str | None]]:
        """Read every file again; yields each with what is wrong with it, None if nothing is."""
        for entry, path in self.entries():
            try:
                digest, size = sha256_of(path, seen=_bind(seen, entry))
            except OSError as error:
                yield entry, path, f"cannot be read: {error.strerror}"
                continue
            wrong = (digest, size) != (entry.sha256, entry.size)
            found = f"expected SHA-256 {entry.sha256}, {entry.size} bytes; found {digest}, {size}"
            yield entry, path, found if wrong else None

    def clear(self, model: str | None = None) -> Usage:
        """Remove every file, unfinished download and converted model, or those of one model.

        Returns what went. The trust record stays. Slots that a download holds are left alone.
        """
        sizes = [one.size for one in converted.clear(self.folder, model)]
        files, freed, parts, part_bytes = len(sizes), sum(sizes), 0, 0
        for slot in self.slots(model):
            entry, part = slot.legible_entry(), _size(slot.part)
            size = _size(slot.path_of(entry)) if entry is not None else 0
            if not self._remove(slot):
                continue
            files, freed = files + (size > 0), freed + size
            parts, part_bytes = parts + (part > 0), part_bytes + part
        return Usage(files, freed, parts, part_bytes)

    def discard(self, model: str, source: Source) -> bool:
        """Remove what came from one source; False if a running download holds it."""
        return self._remove(self.slot(model, source))

    def sweep(self, slot: Slot) -> None:
        """Remove what killed runs left in a slot, but for the part file that can be continued."""
        now = time.time()
        with contextlib.suppress(OSError):
            for path in slot.folder.iterdir():
                age = now - path.lstat().st_mtime
                for prefix, stale in STALE_SECONDS.items():
                    if path.name.startswith(prefix) and age > stale:
                        path.unlink()

    def _remove(self, slot: Slot) -> bool:
        from filelock import FileLock, Timeout

        if not _is_folder(slot.folder):
            return False
        try:
            with FileLock(slot.lock, timeout=0):
                slot.clear()
        except Timeout:
            return False
        except OSError as error:
            raise DiskError(
                f"clearing the cache failed: {error.strerror}", where=str(slot.folder)
            ) from error
        return True


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


def _bind(seen: Callable[[Entry, int], None] | None, entry: Entry) -> Callable[[int], None] | None:
    return None if seen is None else lambda done: seen(entry, done)
