"""What a reader has: the files that the pages name, a mirror, the Hub; all on this machine."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.documentation import narrow
from tests.documentation.snippets import ROOT
from tests.hub_server import Hub

SYNSETS = ("n01440764", "n01443537", "n02102040")


def small_world(folder: Path) -> None:
    """The nine, narrow, on a mirror, and files of every kind that the pages speak of."""
    from fixtures import small

    narrow.build(folder / "mirror")
    narrow.enter(folder / "mirror")
    files = _common(folder)
    for name, classes in {"tiny": 1000, "tiny-gf": 1000, "base": 1000, "large-gf": 10459}.items():
        path = files / f"hornet_{name.replace('-', '_')}.pth"
        small.write(path, "official-zip", name, num_classes=classes)
    small.write(files / "training.pth", "training-zip", "tiny-gf", num_classes=1000)


def full_world(folder: Path) -> None:
    """tiny-gf, seeded and in full size, on a mirror."""
    from fixtures import zoo

    zoo.build(folder / "mirror", "tiny-gf", "openmmlab")
    _common(folder)


def _common(folder: Path) -> Path:
    """Pictures, and links to the mirror and to this repository."""
    from tests.usage.pictures import picture

    files = folder / "files"
    files.mkdir()
    (files / "mirror").symlink_to(folder / "mirror")
    (files / "hornet-convert").symlink_to(ROOT)
    names = ["photo.jpg", "holiday/beach.jpg", "holiday/hills.png"]
    names += [f"imagenet/val/{synset}/{number}.JPEG" for synset in SYNSETS for number in (1, 2)]
    for seed, name in enumerate(names):
        path = files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)
    program = folder / "bin" / "hornet-convert"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.documentation.narrow "$@"\n')
    program.chmod(0o755)
    return files


def fill(hub: Hub) -> None:
    """A repository with a small model in it and a training's checkpoint, on two branches."""
    from fixtures import small
    from hornet_convert import HorNet

    with tempfile.TemporaryDirectory() as folder:
        HorNet("w8-gf", 1000).save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        path = small.write(Path(folder) / "training.pth", "training-zip", "w8-gf")
        files["weights/training.pth"] = path.read_bytes()
    for branch in ("main", "v2"):
        hub.commit("ORG/REPO", files, branch)
