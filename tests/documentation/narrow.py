"""The nine, narrow: a mirror of small stand-ins, and the package told that these are the nine.

Widths, digits and parameters are changed in the tables, nothing else; what is run is the program.
`python -m tests.documentation.narrow ARGUMENTS` is `hornet-convert ARGUMENTS` in that world.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from hornet_convert.conversion import expected
from hornet_convert.family import architecture, zoo

WIDTHS = {"tiny": 8, "small": 12, "base": 16, "large": 20}
DIGITS = "digits.json"  # beside the mirror: of the files in it, by name
VARIABLE = "NARROW_MIRROR"


def build(mirror: Path) -> None:
    """Make the mirror; its files are OpenMMLab's in kind, and keep the 21k head."""
    import hashlib

    from fixtures import small

    _narrow()
    mirror.mkdir()
    digits = {}
    for row in zoo.MODELS:
        classes = 10459 if row.dataset == "in21k" else 1000
        path = small.write(mirror / "new", "openmmlab-legacy", row.name, num_classes=classes)
        digits[row.name] = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        path.rename(mirror / f"{row.stem}-{digits[row.name]}.pth")
    (mirror.parent / DIGITS).write_text(json.dumps(digits))


def enter(mirror: Path) -> None:
    """Have the tables say that the files of this mirror are the published ones."""
    _narrow()
    digits = json.loads((mirror.parent / DIGITS).read_text())
    zoo.MODELS = tuple(
        replace(
            row,
            sha8=digits[row.name],
            superseded=(),
            parameters_m=row.architecture.parameters(row.published_classes) / 1e6,
        )
        for row in zoo.MODELS
    )
    zoo.BY_NAME = {row.name: row for row in zoo.MODELS}
    zoo._by_alias.cache_clear()


def _narrow() -> None:
    architecture.WIDTHS.update(WIDTHS)
    expected._SIZES.update({width: size for size, width in WIDTHS.items()})
    for row in zoo.MODELS:
        row.__dict__.pop("architecture", None)  # which is computed once


if __name__ == "__main__":
    from hornet_convert.cli import run

    if VARIABLE in os.environ:
        enter(Path(os.environ[VARIABLE]))
    sys.exit(run(sys.argv[1:]))
