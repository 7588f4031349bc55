"""The converted models that the cache keeps in `converted/`, for whoever loads a model by name.

`<model>.kept.json` says which file there is the model's, its SHA-256 and where it came from; beside
the file may lie its provenance, under the same name with `.json`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hornet_convert.download.digests import sha256_of
from hornet_convert.download.disk import disk_errors, read_json
from hornet_convert.download.index import is_plain_name
from hornet_convert.family import zoo

FOLDER = "converted"
SUFFIX = ".safetensors"

_TEMPORARY = re.compile(r"\.hornet-convert-[0-9a-f]{16}\.tmp|\.tmp-.*", re.DOTALL)


@dataclass(frozen=True)
class Converted:
    """One converted model: `size` in bytes as found, `sha256` and the rest as recorded."""

    model: str
    source: str
    url: str
    sha256: str
    path: Path
    size: int


def converted(cache: Path, model: str | None = None) -> list[Converted]:
    """The converted models in the cache at a folder, or that of one model, in order of names."""
    folder = cache / FOLDER
    names = [model] if model else sorted(zoo.BY_NAME)
    found = (_converted(folder, name) for name in names) if _is_folder(folder) else ()
    return [one for one in found if one is not None]


def verify(cache: Path) -> Iterator[tuple[Converted, str | None]]:
    """Read every converted model again; yields each with what is wrong with it, None if nothing."""
    for one in converted(cache):
        try:
            digest, size = sha256_of(one.path)
        except OSError as error:
            yield one, f"cannot be read: {error.strerror}"
            continue
        said = f"expected SHA-256 {one.sha256}; found {digest}, {size} bytes"
        yield one, None if digest == one.sha256 else said


def clear(cache: Path, model: str | None = None) -> list[Converted]:
    """Remove the converted models, or one; returns what went. Anything else there stays.

    A model that a running process converts or looks up is left alone. Raises DiskError.
    """
    from filelock import FileLock, Timeout

    folder = cache / FOLDER
    if not _is_folder(folder):
        return []
    gone = []
    with disk_errors(folder, "clearing the cache"):
        for name in [model] if model else sorted(zoo.BY_NAME):
            record, lock = folder / f"{name}.kept.json", folder / f".{name}.lock"
            if not (record.exists() or lock.exists()):
                continue
            with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
                one = _converted(folder, name)
                own = [] if one is None else [one.path, one.path.with_suffix(".json")]
                for path in (*own, record, lock):
                    if not _is_folder(path):
                        path.unlink(missing_ok=True)
                gone += [] if one is None else [one]
        if not any(folder.glob(".*.lock")):  # nobody is writing
            for path in list(folder.iterdir()):
                if _TEMPORARY.fullmatch(path.name) and not _is_folder(path):
                    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
    return gone


def _converted(folder: Path, model: str) -> Converted | None:
    try:
        record = read_json(folder / f"{model}.kept.json") or {}
        values = [record.get(name) for name in ("file", "sha256", "source", "url")]
        if not all(isinstance(value, str) for value in values):
            return None
        file, sha256, source, url = map(str, values)
        path = folder / file
        if not (is_plain_name(file) and file.endswith(SUFFIX) and path.is_file()):
            return None
        return Converted(model, source, url, sha256, path, path.stat().st_size)
    except OSError:
        return None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
