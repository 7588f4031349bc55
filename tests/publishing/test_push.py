"""`--push` by the real client to a Hub on loopback: what it gets, and what never leaves."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hornet_convert.cli import run
from tests.documents import only
from tests.hub_server import Hub, serving
from tests.publishing.folders import NAMES, files

ROOT = Path(__file__).parents[2]

PICTURES = """
import numpy as np
from PIL import Image
from hornet_convert import transform

image = Image.effect_noise((90, 70), 50).convert("RGB")
images = transform("w8-gf64")(image)[None].numpy()
"""
SAME = "print(np.allclose(logits, model(transform(model)(image)[None]).detach(), atol=1e-5))"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub without repositories."""
    with serving() as served:
        yield served


def push(hub: Hub, source: Path, out: Path, *more: str, **environment: str) -> dict[str, object]:
    """Publish a file and push it, in a process of its own; the JSON document and its exit code."""
    command = ["-m", "hornet_convert", "publish", str(source), "--out", str(out), "--no-forward"]
    done = subprocess.run(
        [sys.executable, *command, "--push", "org/w8", "--json", "--quiet", *more],
        cwd=ROOT,
        env=hub.environment(out.parent / "hf", **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return {**only(done.stdout), "code": done.returncode}


def test_pushed_and_loaded(hub: Hub, source: Path, tmp_path: Path) -> None:
    """The Hub has what the folder has, and nothing else; the programs on its card run from it."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "secret.txt").write_text("mine")
    result = push(hub, source, out, "--onnx")
    assert result["code"] == 0
    on_hub = hub.repos["org/w8"]["main"]
    assert NAMES == set(on_hub)
    assert on_hub.items() < files(out).items()
    assert b'HorNet.from_pretrained("org/w8")' in on_hub["README.md"]
    assert isinstance(result["conversion"], dict)
    assert str(result["conversion"]["pushed"]).startswith(f"{hub.url}/org/w8/commit/")
    blocks = re.findall(r"```python\n(.*?)```", on_hub["README.md"].decode(), re.DOTALL)
    program = [PICTURES, *blocks, "print(len(weights))", SAME]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)],
        cwd=ROOT,
        env=hub.environment(tmp_path / "hf"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "640\nTrue\n"


def test_a_folder_made_before_is_pushed(hub: Hub, source: Path, tmp_path: Path) -> None:
    """Its card then has the name of the repository; no --force is needed."""
    out = tmp_path / "out"
    assert run(["publish", str(source), "--out", str(out), "--no-forward"]) == 0
    assert b"ORG/REPO" in (out / "README.md").read_bytes()
    assert push(hub, source, out)["code"] == 0
    assert b"org/w8" in hub.repos["org/w8"]["main"]["README.md"]


def test_what_the_hub_refuses(hub: Hub, source: Path, tmp_path: Path) -> None:
    """The folder is there; exit code 3, and the token is not shown."""
    out = tmp_path / "out"
    result = push(hub, source, out, HF_TOKEN="wrong-one")
    assert (result["code"], result["status"]) == (3, "error")
    assert "HF_TOKEN" in str(result["error"])
    assert "wrong-one" not in str(result)
    assert result["output"] == str(out)
    assert (out / "model.safetensors").exists()
    assert hub.repos == {}


def test_what_fails_is_not_pushed(hub: Hub, source: Path, tmp_path: Path) -> None:
    """Nobody asks the Hub for anything."""
    result = push(hub, source, tmp_path / "out", "--sha256", "0" * 64)
    assert (result["code"], result["verdict"], result["output"]) == (1, "failed", None)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["w8", "org/w8@dev", "org/w8/x", "a b/c"])
def test_no_repository(
    source: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before anything is done."""
    assert run(["publish", str(source), "--out", str(tmp_path / "x"), "--push", name]) == 2
    assert "no name of a repository" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_offline_nothing_is_pushed(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither by the option nor by the variable."""
    command = ["publish", str(source), "--out", str(tmp_path / "x"), "--push", "org/w8"]
    assert run([*command, "--offline"]) == 2
    assert "off limits" in capsys.readouterr().err
    monkeypatch.setenv("HORNET_CONVERT_OFFLINE", "1")
    assert run(command) == 2
    assert not (tmp_path / "x").exists()
