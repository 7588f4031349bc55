"""A mirror's `index.json`: which file it offers for which model, with size and full SHA-256.

`{"files": [{"model", "file", "size", "sha256"}, ...]}`, or the bare list, or an object of entries
by model. Only the entries of the model asked for have to be right: a mirror may carry others.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from hornet_convert.errors import HornetConvertError, MalformedError, UnknownModelError, printable
from hornet_convert.family import zoo

MAX_INDEX_BYTES = 4 << 20
MAX_FILE_NAME = 200  # bytes: file systems take 255, and some fewer

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_HINT = "Mend the index, or leave it out: the published file names are then asked for."


@dataclass(frozen=True)
class Listed:
    """One file as the index describes it; `sha256` in lower case."""

    file: str
    size: int
    sha256: str


def listed_file(text: bytes, model: zoo.Published, where: str) -> Listed | None:
    """What the index lists for a model; None if it does not list the model.

    Of several entries for one model the one with the published file name counts, else the first.

    Raises
    ------
    MalformedError
        Not JSON of the known form, or an entry of this model is wrong; says which.
    """
    entries = _entries(text, where)
    own = [(n, entry) for n, entry in enumerate(entries) if _is_for(entry, model)]
    listed = [_checked(entry, n, where) for n, entry in own]
    published = [entry for entry in listed if entry.file == model.file_name]
    return next(iter(published + listed), None)


def _entries(text: bytes, where: str) -> list[object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            "the mirror's index is not JSON",
            where=where,
            found=printable(str(error)),
            hint=_HINT,
        ) from error
    entries = document.get("files", document) if isinstance(document, dict) else document
    if (
        isinstance(entries, dict)
        and entries
        and all(isinstance(entry, dict) for entry in entries.values())
    ):
        return [{"model": model, **entry} for model, entry in entries.items()]
    if not isinstance(entries, list):
        raise MalformedError(
            "the mirror's index has another form",
            where=where,
            expected='a list of entries, or an object with such a list under "files"',
            found=_kind(entries if isinstance(document, dict) else document),
            hint=_HINT,
        )
    return entries


def _is_for(entry: object, model: zoo.Published) -> bool:
    name = entry.get("model") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        return False
    try:
        return zoo.find(name[:MAX_FILE_NAME]).name == model.name
    except UnknownModelError:
        return False


def _checked(entry: object, number: int, where: str) -> Listed:
    fields = entry if isinstance(entry, dict) else {}
    place = f"{where}, entry {number + 1} (model {printable(str(fields.get('model')), 60)})"
    file, size, sha256 = fields.get("file"), fields.get("size"), fields.get("sha256")
    if not isinstance(file, str) or not is_plain_name(file):
        raise _wrong("file", file, "a plain file name, without folders", place)
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise _wrong("size", size, "a positive number of bytes", place)
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        raise _wrong("sha256", sha256, "64 hexadecimal digits", place)
    return Listed(file, size, sha256.lower())


def is_plain_name(name: str) -> bool:
    """Whether a name can only mean a file in the folder itself."""
    return (
        0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_FILE_NAME
        and not name.startswith((".", " "))
        and name.isprintable()
        and not any(c in '/\\:*?"<>|' for c in name)
    )


def _wrong(field: str, value: object, expected: str, place: str) -> HornetConvertError:
    return MalformedError(
        f'the mirror\'s index has a wrong "{field}"',
        where=place,
        expected=expected,
        found="nothing" if value is None else printable(json.dumps(value), 120),
        hint=_HINT,
    )


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "nothing"}
    return names.get(type(value), "a number or truth value")
