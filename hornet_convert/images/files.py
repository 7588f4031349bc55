"""Which images are meant: files named one by one, and all below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import ClassVar, Final

from hornet_convert.errors import DiskError, ErrorCode, FileRefusedError, UsageError
from hornet_convert.text import printable

SUFFIXES: Final = (
    *(".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)


class ImageRefusedError(FileRefusedError):
    """The file is no image that is read: something else, damaged, or far too large."""

    code: ClassVar[ErrorCode] = "not-an-image"


@dataclass(frozen=True)
class ImageFile:
    """The path of an image, and whether the user named it, or only a folder that holds it."""

    path: str
    named: bool


def chosen(paths: Iterable[Path]) -> list[ImageFile]:
    """The images meant by paths of files and folders, in order; a folder stands for all below it.

    Raises UsageError for a path that is not there and for a folder without images, DiskError for a
    folder that cannot be read.
    """
    found: list[ImageFile] = []
    for path in paths:
        if is_folder(path):
            below = images_below(path)
            if not below:
                raise UsageError(
                    "there is no image in this folder",
                    where=printable(str(path)),
                    expected=f"files named *{', *'.join(SUFFIXES)}",
                    hint="Name a folder with images, or the images themselves.",
                )
            found += [ImageFile(image, named=False) for image in below]
        else:
            found.append(ImageFile(str(path), named=True))
    return found


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; raises UsageError if there is nothing at all."""
    try:
        if path.is_dir():
            return True
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError(
            "there is no such file or folder", where=printable(str(path)), hint="Check the path."
        ) from error
    except OSError as error:
        raise unreadable(str(path), error) from error
    return False


def images_below(folder: Path) -> list[str]:
    """Paths of the image files in a folder and its subfolders, known by their names, sorted.

    Hidden files are left out, and links to folders are not followed. Raises DiskError if a folder
    cannot be read.
    """
    images: list[str] = []
    waiting = [str(folder)]
    while waiting:
        for entry in entries(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif is_image_name(entry.name):
                images.append(entry.path)
    return sorted(images)


def entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, hidden things left out; raises DiskError if it cannot be read."""
    try:
        with os.scandir(folder) as listing:
            yield from (entry for entry in listing if not entry.name.startswith("."))
    except OSError as error:
        raise unreadable(folder, error) from error


def is_image_name(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    return PurePath(name).suffix.lower() in SUFFIXES


def unreadable(path: str, error: OSError) -> DiskError:
    """The error for a file or folder that the system does not let us read."""
    return DiskError(
        "it cannot be read",
        where=printable(path),
        found=error.strerror,
        hint="Check its permissions and the disk.",
    )
