"""Build sdist and wheel of a commit: `python -m release.dist [FOLDER] [--commit NAME]`.

The same bytes wherever, whenever and by whomever they are built, with the versions of
`constraints.txt`: only what is committed goes in, the time is that of the commit, and owner, order
and permissions do not come from the machine.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
UMASK = 0o022  # the permissions of what the builders write


def git(*words: str) -> bytes:
    """What git prints. Raises CalledProcessError; git says why."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def build(source: Path, kind: str, out: Path, seconds: int) -> Path:
    """The distribution of that kind ("sdist" or "wheel"), built by what is installed here."""
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--quiet"]
    settings = {**os.environ, "SOURCE_DATE_EPOCH": str(seconds), "TZ": "UTC"}
    subprocess.run([*command, "--outdir", str(out), str(source)], check=True, env=settings)
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def normalise(sdist: Path, seconds: int) -> None:
    """Write the archive again: sorted, nobody's, of one time, with only the bit to run it kept."""
    with tarfile.open(sdist) as old:
        files = {item.name: (item, old.extractfile(item)) for item in old if item.isfile()}
        with (
            sdist.with_suffix(".new").open("xb") as raw,
            gzip.GzipFile("", "wb", 9, raw, mtime=seconds) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
        ):
            for name, (item, content) in sorted(files.items()):
                clean = tarfile.TarInfo(name)
                clean.size, clean.mtime = item.size, seconds
                clean.mode = 0o755 if item.mode & 0o100 else 0o644
                new.addfile(clean, content)
    sdist.with_suffix(".new").replace(sdist)


def make(out: Path, commit: str = "HEAD") -> list[Path]:
    """The sdist and, built from it, the wheel, in the folder `out`. Sets the umask."""
    out.mkdir(parents=True, exist_ok=True)
    os.umask(UMASK)
    seconds = int(git("log", "-1", "--format=%ct", commit))
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        exported = git("-c", f"tar.umask={UMASK:04o}", "archive", "--prefix=source/", commit)
        (place / "source.tar").write_bytes(exported)
        unpack(place / "source.tar", place)
        sdist = build(place / "source", "sdist", place / "sdist", seconds)
        normalise(sdist, seconds)
        unpack(sdist, place)
        (unpacked,) = (path for path in place.iterdir() if path.name.startswith("hornet_convert-"))
        made = [sdist, build(unpacked, "wheel", place / "wheel", seconds)]
        for path in made:
            (out / path.name).write_bytes(path.read_bytes())
    return [out / path.name for path in made]


def unpack(archive: Path, folder: Path) -> None:
    """The files of an archive of ours."""
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m release.dist", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist")
    parser.add_argument("--commit", default="HEAD")
    options = parser.parse_args(arguments)
    if options.commit == "HEAD" and git("status", "--porcelain", "--untracked-files=no"):
        print("note: what is not committed is not in the distributions", file=sys.stderr)
    for path in make(options.folder, options.commit):
        print(path)


if __name__ == "__main__":
    main()
