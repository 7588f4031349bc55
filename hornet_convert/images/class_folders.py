"""A folder in the form of ImageNet: a folder per class, named by its synset.

A class has its number of ImageNet-1k whatever other folders are there: ten of the thousand folders
do not become classes 0 to 9.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hornet_convert import labels
from hornet_convert.errors import UsageError, printable
from hornet_convert.images.files import entries, images_below, is_image_name
from hornet_convert.images.samples import Dataset, Sample, Skipped

# A class folder is named n01440764, or that and the words for it, as n01440764-tench.
_CLASS_FOLDER: Final = re.compile(r"(n\d{8})(?:[-_. ].*)?", re.DOTALL)
_SHOWN: Final = 5
_AS_CSV: Final = "or give a CSV file with the columns path,label"


@dataclass
class _Found:
    """What the folder holds: class folders, folders of no class, and images outside of both."""

    samples: list[Sample] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    class_folders: int = 0
    unknown: list[str] = field(default_factory=list)
    stray: int = 0


def read_class_folders(root: Path) -> Dataset:
    """The images below the class folders of `root`, labelled with ImageNet-1k class numbers.

    Folders that are no class are left out and listed. Raises UsageError if none is one, or if there
    is no image; DiskError if a folder cannot be read.
    """
    found = _Found()
    for entry in sorted(entries(str(root)), key=lambda entry: entry.name):
        if entry.is_dir():
            _add_folder(found, entry)
        elif is_image_name(entry.name):
            found.stray += 1
    if not found.class_folders:
        raise _no_class_folder(root, found.unknown, found.stray)
    if not found.samples:
        raise UsageError(
            "the class folders hold no image",
            where=printable(str(root)),
            found=f"{found.class_folders} class folders without a file named like an image",
            hint=f"Put the images into them, {_AS_CSV}.",
        )
    if found.stray:
        found.skipped.append(Skipped("./", "images outside the class folders", found.stray))
    return Dataset(root, root, labels.IN1K_CLASSES, tuple(found.samples), tuple(found.skipped))


def _add_folder(found: _Found, entry: os.DirEntry[str]) -> None:
    match = _CLASS_FOLDER.fullmatch(entry.name)
    label = None if match is None else labels.in1k_index().get(match[1])
    images = images_below(Path(entry.path))
    shown = f"{printable(entry.name)}/"
    if label is None:
        found.unknown.append(entry.name)
        reason = "the folder's name is no synset" if match is None else "no class of ImageNet-1k"
        found.skipped.append(Skipped(shown, reason, len(images)))
        return
    found.class_folders += 1
    found.samples += [Sample(image, label) for image in images]
    if not images:
        found.skipped.append(Skipped(shown, "no image in the folder", 0))


def _no_class_folder(root: Path, unknown: Sequence[str], stray: int) -> UsageError:
    """Why a folder is none to evaluate on, and what may have been meant."""
    found = []
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        found.append("folders " + ", ".join(map(printable, unknown[:_SHOWN])) + more)
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
        else f"Name the folders by synset, {_AS_CSV}.",
    )


def _has_class_folders(folder: Path) -> bool:
    names = (_CLASS_FOLDER.fullmatch(entry.name) for entry in entries(str(folder)))
    return any(match[1] in labels.in1k_index() for match in names if match)
