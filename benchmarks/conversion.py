"""What the work costs beside what others do for the same: `make bench`.

Every command is timed as a whole process, start to exit; the ones compared take turns, so that a
drift of the machine's speed meets both. Medians are printed, and written as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

Form = Literal["official", "openmmlab"]

PYTHON = sys.executable
TOOL = [PYTHON, "-m", "hornet_convert"]

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


@dataclass
class Run:
    """Medians of one command: wall seconds, and the peak memory of its largest process in MiB."""

    name: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """Median wall time in seconds."""
        return statistics.median(self.seconds)

    @property
    def peak(self) -> float:
        """Median peak memory in MiB."""
        return statistics.median(self.mebibytes)

    def once(self, count: bool) -> None:
        """Run it once; a warm-up does not count."""
        begun = time.perf_counter()
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        if status:
            raise SystemExit(f"{self.name} ended with status {status}: {self.command}")
        if count:
            self.seconds.append(seconds)
            self.mebibytes.append(usage.ru_maxrss / 1024)


@dataclass(frozen=True)
class Ratio:
    """One claim: ours divided by theirs, and the limit it has to keep: at most, or at least."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def conclude(claims: Sequence[Ratio], facts: Mapping[str, object], path: Path) -> int:
    """Print the claims, write them with the facts as JSON; 1 if a limit was not kept."""
    for claim in claims:
        kept = "ok" if claim.kept else "NOT KEPT"
        bound = "at least" if claim.at_least else "at most"
        print(f"{claim.value:8.3f} ({bound} {claim.limit:.3f}) {kept}  {claim.what}")
    document = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        **facts,
        "ratios": [asdict(claim) | {"kept": claim.kept} for claim in claims],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if all(claim.kept for claim in claims) else 1


def shown(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Print the medians of the runs; the runs as JSON objects."""
    for run in runs:
        print(f"{run.wall:8.3f} s {run.peak:8.0f} MiB  {run.name}")
    return [asdict(run) | {"wall": run.wall, "peak": run.peak} for run in runs]


def build(folder: Path, name: str, form: Form) -> Path:
    """Build one seeded file and return its path.

    In a process of its own: a child's peak memory counts what its parent had at the fork.
    """
    command = [PYTHON, "-m", "fixtures.zoo", str(folder), name, "--form", form]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    index = json.loads((folder / "index.json").read_text())
    files = {str(entry["model"]): str(entry["file"]) for entry in index["files"]}
    return folder / files[name]


def take_turns(runs: list[Run], rounds: int, tidy: Callable[[], None]) -> None:
    """Run the commands in turn: one round not counted, then as many as asked for."""
    for number in range(rounds + 1):
        for run in runs:
            tidy()
            run.once(count=number > 0)


def conversions(zoo: dict[tuple[Form, str], Path], scratch: Path, rounds: int) -> Iterator[Run]:
    """Ours on three files, and the three peers on the largest."""
    out = scratch / "out"

    def ours(form: Form, name: str) -> Run:
        ckpt = str(zoo[form, name])
        convert = ["convert", "--ckpt", ckpt, "--out", str(out), "--no-forward", "--json"]
        return Run(f"hornet-convert convert --no-forward, {name}, {form}", [*TOOL, *convert])

    large = str(zoo["official", "large-gf384"])
    copy = str(scratch / "copy")
    runs = [
        ours("official", "large-gf384"),
        Run("torch.load, save_file, SHA-256 (timm's way)", [PYTHON, "-c", TIMM_WAY, large, copy]),
        Run(
            "rename, save, load, save, SHA-256 (OpenMMLab's way)",
            [PYTHON, "-c", OPENMMLAB_WAY, large, copy],
        ),
        Run("cp, sha256sum", ["sh", "-c", f"cp {large} {copy} && sha256sum {copy}"]),
        ours("openmmlab", "large-gf384"),
        ours("official", "base-gf"),
        ours("official", "tiny"),
    ]

    def tidy() -> None:
        shutil.rmtree(out, ignore_errors=True)
        for file in scratch.glob("copy*"):
            file.unlink()

    take_turns(runs, rounds, tidy)
    yield from runs


def starts(rounds: int) -> Iterator[Run]:
    """What it takes before anything happens."""
    runs = [
        Run("python -c pass", [PYTHON, "-c", "pass"]),
        Run("hornet-convert --help", [*TOOL, "--help"]),
        Run("hornet-convert list --json", [*TOOL, "list", "--json"]),
    ]
    take_turns(runs, rounds * 3, lambda: None)
    yield from runs


def ratios(runs: list[Run], sizes: dict[str, int]) -> list[Ratio]:
    """The claims, from the medians."""
    ours, timm, openmmlab, copy, legacy, base, tiny, bare, help_, listing = runs
    per_byte = (ours.wall - base.wall) / (sizes["large-gf384"] - sizes["base-gf"])
    before = (base.wall - tiny.wall) / (sizes["base-gf"] - sizes["tiny"])
    return [
        Ratio("wall, convert / timm's way", ours.wall / timm.wall, 1 / 3.5),
        Ratio("wall, convert / OpenMMLab's way", ours.wall / openmmlab.wall, 1 / 3.5),
        Ratio("wall, convert / (cp + sha256sum)", ours.wall / copy.wall, 1.0),
        Ratio("wall, legacy / zip", legacy.wall / ours.wall, 1.15),
        Ratio("peak MiB, large-gf384", ours.peak, 96),
        Ratio("peak MiB, large-gf384 - tiny", abs(ours.peak - tiny.peak), 10),
        Ratio("cost per further byte, base-gf to large / tiny to base-gf", per_byte / before, 1.3),
        Ratio("wall, --help / python -c pass", help_.wall / bare.wall, 8),
        Ratio("wall, list --json / python -c pass", listing.wall / bare.wall, 8),
    ]


def main() -> int:
    """Measure, print, write; 1 if a limit was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path, help="where the seeded full-size files are or go")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    arguments = parser.parse_args()

    wanted: tuple[tuple[Form, str], ...] = (
        ("official", "large-gf384"),
        ("openmmlab", "large-gf384"),
        ("official", "base-gf"),
        ("official", "tiny"),
    )
    zoo = {(form, name): build(arguments.zoo / form, name, form) for form, name in wanted}
    sizes = {
        name: zoo["official", name].stat().st_size for form, name in wanted if form == "official"
    }
    with TemporaryDirectory(dir=arguments.zoo) as scratch:
        runs = [*conversions(zoo, Path(scratch), arguments.rounds), *starts(arguments.rounds)]
    facts = {"rounds": arguments.rounds, "runs": shown(runs)}
    return conclude(ratios(runs, sizes), facts, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
