"""Labelled images to evaluate on: class folders named by synset, or a list of paths and labels.

A class has its number of ImageNet-1k whatever other folders are there: ten of the thousand folders
do not become classes 0 to 9.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hornet_convert.errors import DiskError, FileRefusedError, UsageError
from hornet_convert.family import labels
from hornet_convert.images.files import entries, images_below, is_folder, is_image_name, unreadable
from hornet_convert.images.samples import Dataset, Sample, Skipped
from hornet_convert.text import listed, printable

# A class folder is named n01440764, or that and the words for it, as n01440764-tench.
_CLASS_FOLDER: Final = re.compile(r"(n\d{8})(?:[-_. ].*)?", re.DOTALL)
_SYNSET: Final = re.compile(r"n\d{8}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
# A line of a val.txt: the label comes last, and the path may have spaces of its own.
_LISTED: Final = re.compile(r"\s*(.*[^\s,;])\s+(n\d{8}|[0-9]{1,9})\s*")
_PATH_TITLES: Final = ("path", "file", "filename", "file_name", "image")
_LABEL_TITLES: Final = ("label", "synset", "wnid", "class", "target")
_SHOWN: Final = 5
_A_CSV: Final = "a CSV file with the columns path,label, or a val.txt"
_HINT: Final = f"Give {_A_CSV}, or a folder with class folders named by synset."


def read_dataset(path: Path, num_classes: int) -> Dataset:
    """Find the labelled images for a model with `num_classes` outputs; opens none of them.

    The labels are class numbers of ImageNet-1k for a head that has these classes, be it the 1k or
    the 21k head; the model's own for any other. What cannot be used is left out and listed: folders
    that are no class, rows of a list by line.

    Raises
    ------
    UsageError
        There is nothing there, no image, or no folder that is named like a class.
    FileRefusedError
        The file is not a list, or no row of it can be used.
    DiskError
        It cannot be read.
    """
    rows = labels.in1k_rows(num_classes)
    if not is_folder(path):
        return _read_list(path, num_classes if rows is None else len(rows))
    if rows is None:
        raise UsageError(
            f"class folders are named by synset, and the {num_classes} classes of this model are "
            "not those of ImageNet",
            where=printable(str(path)),
            hint=f"Give {_A_CSV}, the labels being class numbers.",
        )
    return _read_class_folders(path)


def _read_class_folders(root: Path) -> Dataset:
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    unknown: list[str] = []
    known = stray = 0
    for entry in sorted(entries(str(root)), key=lambda entry: entry.name):
        if not entry.is_dir():
            stray += is_image_name(entry.name)
        elif (label := _class_of_folder(entry.name)) is None:
            unknown.append(entry.name)
        else:
            known += 1
            images = images_below(Path(entry.path))
            samples += [Sample(image, label) for image in images]
            if not images:
                skipped.append(Skipped(f"{printable(entry.name)}/", "no image in the folder", 0))
    if not known:
        raise _no_class_folder(root, unknown, stray)
    if not samples:
        raise UsageError(
            "the class folders hold no image",
            where=printable(str(root)),
            found=f"{known} class folders without a file named like an image",
            hint=f"Put the images into them, or give {_A_CSV}.",
        )
    skipped += [_unknown(root, name) for name in unknown]
    if stray:
        skipped.append(Skipped("./", "images outside the class folders", stray))
    return Dataset(root, root, labels.IN1K_CLASSES, tuple(samples), tuple(skipped))


def _class_of_folder(name: str) -> int | None:
    """The ImageNet-1k class that a folder's name means, if any."""
    match = _CLASS_FOLDER.fullmatch(name)
    return None if match is None else labels.in1k_index().get(match[1])


def _unknown(root: Path, name: str) -> Skipped:
    """A folder of no class, beside folders that are."""
    is_synset = _CLASS_FOLDER.fullmatch(name) is not None
    reason = "no class of ImageNet-1k" if is_synset else "the folder's name is no synset"
    try:
        images = len(images_below(root / name))
    except DiskError:  # lost+found, and the like
        images = 0
    return Skipped(f"{printable(name)}/", reason, images)


def _no_class_folder(root: Path, unknown: Sequence[str], stray: int) -> UsageError:
    """Why a folder cannot be evaluated on, and what may have been meant."""
    found = []
    if unknown:
        names = [printable(name) for name in unknown]
        # The last comma would read like one more name.
        found.append("folders " + listed(names, most=_SHOWN).replace(", and ", " and "))
    if stray:
        found.append(f"{stray} images that lie in no class folder")
    meant = [name for name in unknown if _has_class_folders(root / name)]
    return UsageError(
        "there is no class folder",
        where=printable(str(root)),
        expected="folders named by the synsets of ImageNet-1k, such as n01440764",
        found=" and ".join(found) or "no folder and no image",
        hint=f"Did you mean {printable(str(root / meant[0]))}?"
        if meant
        else f"Name the folders by synset, or give {_A_CSV}.",
    )


def _has_class_folders(folder: Path) -> bool:
    try:
        return any(_class_of_folder(entry.name) is not None for entry in entries(str(folder)))
    except DiskError:
        return False


def _read_list(path: Path, num_classes: int) -> Dataset:
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    columns = None
    for line, row in _rows(path):
        if columns is None:
            columns = _titles(row)
            if columns is not None:
                continue
            columns = (0, 1, 2)
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
    """The rows that are not empty, with their line numbers: of a CSV, or of a val.txt."""
    shown = printable(str(path))
    if not path.is_file():
        raise UsageError("this is neither a folder nor a file", where=shown, hint=_HINT)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = {number: line for number, line in enumerate(file, 1) if line.strip()}
            matches = [_LISTED.fullmatch(line) for line in lines.values()]
            if path.suffix.lower() != ".csv" and sum(map(bool, matches)) > len(lines) / 2:
                for number, match in zip(lines, matches, strict=True):
                    yield number, [lines[number]] if match is None else [match[1], match[2]]
                return
            file.seek(0)
            reader = csv.reader(file)
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileRefusedError(
            "not a CSV file in UTF-8", where=shown, found=printable(str(error)), hint=_HINT
        ) from error
    except OSError as error:
        raise unreadable(str(path), error) from error


def _titles(row: Sequence[str]) -> tuple[int, int, int] | None:
    """Where path and label stand in a row of titles, and its length; None if it is not one."""
    titles = [cell.strip().lower() for cell in row]
    path = next((titles.index(title) for title in _PATH_TITLES if title in titles), None)
    label = next((titles.index(title) for title in _LABEL_TITLES if title in titles), None)
    return None if path is None or label is None else (path, label, len(row))


def _sample(
    row: Sequence[str], columns: tuple[int, int, int], folder: Path, num_classes: int
) -> Sample:
    """The sample in a row; raises ValueError that says what is wrong with it."""
    path_at, label_at, count = columns
    if len(row) != count:
        raise ValueError(f"{count} columns expected, {len(row)} found")
    name = row[path_at].strip()
    if not name:
        raise ValueError("no path")
    number = _class_of_label(row[label_at].strip(), num_classes)
    path = folder / name
    if not _exists(path):
        raise ValueError(f"no such file: {printable(name)}")
    return Sample(str(path), number)


def _class_of_label(text: str, num_classes: int) -> int:
    """The class number that a label means; raises ValueError."""
    if _SYNSET.fullmatch(text):
        if num_classes != labels.IN1K_CLASSES:
            raise ValueError(f"the model's {num_classes} classes have no synsets; give numbers")
        number = labels.in1k_index().get(text)
        if number is None:
            raise ValueError(f"{text} is not a class of ImageNet-1k")
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
