"""A folder in the form of ImageNet: a folder per class, named by its synset.

A class has its number of ImageNet-1k whatever other folders are there: ten of the thousand folders
do not become classes 0 to 9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hornet_convert.errors import DiskError, UsageError, printable
from hornet_convert.family import labels
from hornet_convert.images.files import entries, images_below, is_image_name
from hornet_convert.images.samples import Dataset, Sample, Skipped

# A class folder is named n01440764, or that and the words for it, as n01440764-tench.
_CLASS_FOLDER: Final = re.compile(r"(n\d{8})(?:[-_. ].*)?", re.DOTALL)
_SHOWN: Final = 5
_AS_CSV: Final = "or give a CSV file with the columns path,label"


def read_class_folders(root: Path) -> Dataset:
    """The images below the class folders of `root`, labelled with ImageNet-1k class numbers.

    Folders that are no class are left out and listed. Raises UsageError if none is one, or if there
    is no image; DiskError if a folder cannot be read.
    """
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    unknown: list[str] = []
    known = stray = 0
    for entry in sorted(entries(str(root)), key=lambda entry: entry.name):
        if not entry.is_dir():
            stray += is_image_name(entry.name)
        elif (label := _class_number(entry.name)) is None:
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
            hint=f"Put the images into them, {_AS_CSV}.",
        )
    skipped += [_unknown(root, name) for name in unknown]
    if stray:
        skipped.append(Skipped("./", "images outside the class folders", stray))
    return Dataset(root, root, labels.IN1K_CLASSES, tuple(samples), tuple(skipped))


def _class_number(name: str) -> int | None:
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
    try:
        return any(_class_number(entry.name) is not None for entry in entries(str(folder)))
    except DiskError:
        return False
