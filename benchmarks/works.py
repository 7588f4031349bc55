"""Everything that is measured: our commands, what others do for the same, and the limits.

A limit is a ratio; no time is one, for no two machines have the same.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.download import FETCH, mirror
from benchmarks.turns import OURS, Work
from hornet_convert.family import zoo
from hornet_convert.family.architecture import Architecture

Form = Literal["official", "openmmlab"]

PYTHON = sys.executable
TOOL = [PYTHON, "-m", "hornet_convert"]
FLOOR = [PYTHON, "-m", "benchmarks.floors"]
LARGEST, LARGEST_MEBIBYTES = "large-gf384", 826

TIMM_WAY = """
import hashlib, sys, torch, safetensors.torch
from argparse import Namespace
torch.serialization.add_safe_globals([Namespace])
weights = torch.load(sys.argv[1], map_location="cpu", weights_only=True)["model"]
safetensors.torch.save_file(weights, sys.argv[2])
print(hashlib.file_digest(open(sys.argv[2], "rb"), "sha256").hexdigest())
"""

OPENMMLAB_WAY = """
import hashlib, sys, torch
from argparse import Namespace
torch.serialization.add_safe_globals([Namespace])
weights = torch.load(sys.argv[1], map_location="cpu", weights_only=True)["model"]
renamed = {"backbone." + key: value for key, value in weights.items()}
torch.save({"state_dict": renamed}, sys.argv[2])
loaded = torch.load(sys.argv[2], map_location="cpu", weights_only=True)
torch.save(loaded, sys.argv[2] + ".final")
print(hashlib.file_digest(open(sys.argv[2] + ".final", "rb"), "sha256").hexdigest())
"""


def built(folder: Path, name: str, form: Form = "official") -> str:
    """The path of a seeded full-size file, which is built if need be."""
    command = [PYTHON, "-m", "fixtures.zoo", str(folder / form), name, "--form", form]
    subprocess.run(command, capture_output=True, check=True)
    files = json.loads((folder / form / "index.json").read_text())["files"]
    return str(folder / form / next(row["file"] for row in files if row["model"] == name))


def starting(folder: Path, scratch: Path) -> Iterator[Work]:
    """What it takes before anything happens."""
    bare = [PYTHON, "-c", "pass"]
    for arguments in (["--help"], ["list", "--json"]):
        commands = {OURS: [*TOOL, *arguments], "python -c pass": bare}
        limits = {"python -c pass": 8.0}
        yield Work(f"start {' '.join(arguments)}", partial(dict, commands), limits, rounds=3)


def converting(folder: Path, scratch: Path) -> Iterator[Work]:
    """`convert --no-forward`, of the largest file, of the same in the legacy container."""
    out, copy = scratch / "out", scratch / "copy"
    floor, timm, openmmlab, cp = (
        *("floor: three digests, a copy", "timm's way", "OpenMMLab's way", "cp, sha256sum"),
    )

    def ours(path: str) -> list[str]:
        return [*TOOL, "convert", "--ckpt", path, "--out", str(out), "--no-forward", "--json"]

    def tidy() -> None:
        shutil.rmtree(out, ignore_errors=True)
        for file in scratch.glob("copy*"):
            file.unlink()

    def of_zip() -> dict[str, list[str]]:
        large = built(folder, LARGEST)
        return {
            OURS: ours(large),
            floor: [*FLOOR, "convert", large, str(copy)],
            timm: [PYTHON, "-c", TIMM_WAY, large, str(copy)],
            openmmlab: [PYTHON, "-c", OPENMMLAB_WAY, large, str(copy)],
            cp: ["sh", "-c", f"cp {large} {copy} && sha256sum {copy}"],
        }

    def of_legacy() -> dict[str, list[str]]:
        return {
            OURS: ours(built(folder, LARGEST, "openmmlab")),
            "of a zip": ours(built(folder, LARGEST)),
        }

    limits = {floor: 1.15, timm: 1 / 3.5, openmmlab: 1 / 3.5, cp: 1.0}
    yield Work(f"convert {LARGEST}", of_zip, limits, 64, tidy)
    yield Work(f"convert legacy {LARGEST}", of_legacy, {"of a zip": 1.1}, 64, tidy)


def verifying(folder: Path, scratch: Path) -> Iterator[Work]:
    """`verify`, whole and without the forward check."""
    floor, digests = "floor: torch, products of two forwards", "floor: two digests"

    def ours(path: str, *more: str) -> list[str]:
        return [*TOOL, "verify", "--ckpt", path, "--cache", str(scratch / "no-cache"), *more]

    def whole(name: str) -> dict[str, list[str]]:
        path, products = built(folder, name), 2 * Architecture.from_name(name).flops()
        return {
            OURS: ours(path),
            "by hand": [PYTHON, "-m", "benchmarks.by_hand", path, name],
            floor: [*FLOOR, "verify", path, str(products)],
        }

    def without() -> dict[str, list[str]]:
        path = built(folder, LARGEST)
        return {
            OURS: ours(path, "--no-forward"),
            digests: [*FLOOR, "hash", path],
            "sha256sum": ["sha256sum", path],
        }

    for name in (row.name for row in zoo.MODELS):
        limits = {"by hand": 1.25 if name == LARGEST else 1.0, floor: 1.15}
        most = 2.5 * LARGEST_MEBIBYTES if name == LARGEST else None
        yield Work(f"verify {name}", partial(whole, name), limits, most)
    yield Work(f"verify --no-forward {LARGEST}", without, {digests: 1.2})


def fetching(folder: Path, scratch: Path) -> Iterator[Work]:
    """A download over loopback, which is hashed and synced too."""
    got, cache = scratch / "got", scratch / "cache"

    def tidy() -> None:
        got.unlink(missing_ok=True)
        shutil.rmtree(cache, ignore_errors=True)

    with ExitStack() as served:

        def commands() -> dict[str, list[str]]:
            url = served.enter_context(mirror(scratch / "mirror"))
            return {
                OURS: [PYTHON, "-c", FETCH, url, str(cache)],
                "curl": ["curl", "--silent", "--output", str(got), f"{url}/model.pth"],
            }

        yield Work("fetch 866 MB over loopback", commands, tidy=tidy)


GROUPS: tuple[Callable[[Path, Path], Iterator[Work]], ...] = (
    starting,
    converting,
    verifying,
    fetching,
)
