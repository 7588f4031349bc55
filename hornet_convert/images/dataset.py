"""Labelled images to evaluate on: class folders named by synset, or a CSV of paths and labels."""

from __future__ import annotations

from pathlib import Path

from hornet_convert.errors import UsageError, printable
from hornet_convert.family import labels
from hornet_convert.images.class_folders import read_class_folders
from hornet_convert.images.csv_file import read_csv
from hornet_convert.images.files import is_folder
from hornet_convert.images.samples import Dataset


def read_dataset(path: Path, num_classes: int) -> Dataset:
    """Find the labelled images for a model with `num_classes` outputs; opens none of them.

    The labels are class numbers of ImageNet-1k for a head that has these classes, be it the 1k or
    the 21k head; the model's own for any other.

    Raises
    ------
    UsageError
        There is nothing there, no image, or no folder that is named like a class.
    FileRefusedError
        The file is no CSV, or no row of it can be used.
    DiskError
        It cannot be read.
    """
    rows = labels.in1k_rows(num_classes)
    if not is_folder(path):
        return read_csv(path, num_classes if rows is None else len(rows))
    if rows is None:
        raise UsageError(
            f"class folders are named by synset, and the {num_classes} classes of this model are "
            "not those of ImageNet",
            where=printable(str(path)),
            hint="Give a CSV file with the columns path,label, the labels being class numbers.",
        )
    return read_class_folders(path)
