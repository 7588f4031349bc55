"""A CSV file of images and their classes: `path,label`, with or without a row of titles."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hornet_convert.errors import DiskError, FileRefusedError, UsageError, printable
from hornet_convert.family import labels
from hornet_convert.images.samples import Dataset, Sample, Skipped

_PATH_TITLES: Final = ("path", "file", "filename", "file_name", "image")
_LABEL_TITLES: Final = ("label", "synset", "wnid", "class", "target")
_SYNSET: Final = re.compile(r"n\d{8}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_HINT: Final = (
    "Give a CSV file with the columns path,label, or a folder with class folders named by synset."
)


@dataclass(frozen=True)
class _Columns:
    """Where path and label stand in a row, and how long a row is."""

    path: int = 0
    label: int = 1
    count: int = 2


def read_csv(path: Path, num_classes: int) -> Dataset:
    """The images a CSV file names, by paths relative to its folder.

    A label is a class number below `num_classes` or, where these are the classes of ImageNet-1k, a
    synset. Rows that cannot be used are left out and listed, by line. Raises FileRefusedError if no
    row can be, UsageError or DiskError if there is no file that can be read.
    """
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    columns = None
    for line, row in _rows(path):
        if columns is None:
            titles = _titles(row)
            columns = titles or _Columns()
            if titles is not None:
                continue
        try:
            samples.append(_sample(row, columns, path.parent, num_classes))
        except ValueError as error:
            skipped.append(Skipped(f"line {line}", str(error)))
    if not samples:
        raise FileRefusedError(
            "no row of this file names an image and its class",
            where=printable(str(path)),
            expected="rows of path,label; a label is a synset or a class number",
            found=f"{skipped[0].where}: {skipped[0].reason}" if skipped else "no rows",
            hint=_HINT,
        )
    return Dataset(path, path.parent, num_classes, tuple(samples), tuple(skipped))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with their line numbers."""
    shown = printable(str(path))
    if not path.is_file():
        raise UsageError("this is neither a folder nor a file", where=shown, hint=_HINT)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileRefusedError(
            "this is no CSV file in UTF-8", where=shown, found=printable(str(error)), hint=_HINT
        ) from error
    except OSError as error:
        raise DiskError(
            "the file cannot be read", where=shown, found=error.strerror, hint="Check it."
        ) from error


def _titles(row: Sequence[str]) -> _Columns | None:
    """The columns, if the row is one of titles."""
    titles = [cell.strip().lower() for cell in row]
    path = next((titles.index(title) for title in _PATH_TITLES if title in titles), None)
    label = next((titles.index(title) for title in _LABEL_TITLES if title in titles), None)
    return None if path is None or label is None else _Columns(path, label, len(row))


def _sample(row: Sequence[str], columns: _Columns, folder: Path, num_classes: int) -> Sample:
    """The sample in a row; raises ValueError that says what is wrong with it."""
    if len(row) != columns.count:
        raise ValueError(f"{columns.count} columns expected, {len(row)} found")
    name = row[columns.path].strip()
    if not name:
        raise ValueError("no path")
    number = _class_number(row[columns.label].strip(), num_classes)
    path = folder / name
    if not _exists(path):
        raise ValueError(f"no such file: {printable(name)}")
    return Sample(str(path), number)


def _class_number(text: str, num_classes: int) -> int:
    """The class number that a label means; raises ValueError."""
    if _SYNSET.fullmatch(text):
        if num_classes != labels.IN1K_CLASSES:
            raise ValueError(f"the model's {num_classes} classes have no synsets; give numbers")
        number = labels.in1k_index().get(text)
        if number is None:
            raise ValueError(f"{text} is no class of ImageNet-1k")
        return number
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"the label {printable(text)!r} is neither a synset nor a class number")
    if int(text) >= num_classes:
        raise ValueError(f"there is no class {int(text)}: they go from 0 to {num_classes - 1}")
    return int(text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, a null character
        return False
