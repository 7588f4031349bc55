"""The distributions: the same bytes wherever they are built, and complete."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from fixtures import small

ROOT = Path(__file__).parent.parent
GIT = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs a git clone"
)


def listed() -> set[str]:
    """The files that are to be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if (ROOT / name).is_file()}


def built(clone: Path, **environment: str) -> tuple[Path, Path]:
    """The sdist and the wheel that are built in a clone."""
    command = [sys.executable, "-m", "release.dist", str(clone / "dist")]
    subprocess.run(command, cwd=clone, check=True, env={**os.environ, **environment})
    (sdist,), (wheel,) = (clone / "dist").glob("*.tar.gz"), (clone / "dist").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with what stands here now as its one commit."""
    folder = tmp_path_factory.mktemp("clones") / "first"
    for name in listed():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All"]):
        subprocess.run([*GIT, *words], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def distributions(clone: Path) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    return built(clone)


def test_the_same_bytes_elsewhere(clone: Path, distributions: tuple[Path, Path]) -> None:
    """Another folder, umask, time zone and language; remains of other builds, and edits."""
    other = clone.parent / "another name"
    mask = os.umask(0o077)
    try:
        subprocess.run(["git", "clone", "-q", str(clone), str(other)], check=True)
        stale = other / "build/lib/hornet_convert/stale.py"
        stale.parent.mkdir(parents=True)
        stale.write_text("")
        (other / "hornet_convert/begun.py").write_text("")
        (other / "README.md").write_text("edited")
        again = built(other, TZ="Asia/Tokyo", LC_ALL="C", SOURCE_DATE_EPOCH="1", PYTHONHASHSEED="7")
    finally:
        os.umask(mask)
    assert [path.name for path in distributions] == [path.name for path in again]
    assert [path.read_bytes() for path in distributions] == [path.read_bytes() for path in again]


def test_the_sdist_is_the_repository(distributions: tuple[Path, Path]) -> None:
    """With its tests and all that they read; nobody owns the files."""
    with tarfile.open(distributions[0]) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    made = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    assert listed() == names - made
    assert {(0, 0, "", "")} == {(m.uid, m.gid, m.uname, m.gname) for m in members}
    assert {0o644, 0o755} >= {member.mode for member in members}


def test_the_wheel_works_by_itself(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    """Every file of the package is in it, and it runs where nothing else of the repository is."""
    wheel = tmp_path / "wheel"
    with zipfile.ZipFile(distributions[1]) as archive:
        archive.extractall(wheel)
    inside = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    package = {name for name in listed() if name.startswith("hornet_convert/")}
    assert package == {name for name in inside if ".dist-info/" not in name}
    ckpt = small.write(tmp_path / "in.pth", "official-zip", "w8")
    program = (
        "import sys, hornet_convert; from hornet_convert.__main__ import main\n"
        "assert hornet_convert.__file__.startswith(sys.argv.pop(1)), hornet_convert.__file__\n"
        "main()\n"
    )
    asked = ["verify", str(ckpt), "--no-forward", "--quiet", "--report", "out.html"]
    done = subprocess.run(
        [sys.executable, "-c", program, str(wheel), *asked],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert "</html>" in (tmp_path / "out.html").read_text()
