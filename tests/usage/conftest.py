"""What the tests of predict and eval share: small checkpoints with 1000 classes, and images."""

from pathlib import Path

import pytest

from fixtures import small
from tests.threads import one_thread
from tests.usage.pictures import picture

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small HorNet with 1000 classes, in the authors' form."""
    path = tmp_path_factory.mktemp("ckpt") / "w8.pth"
    return small.write(path, "official-zip", "w8", num_classes=1000)


@pytest.fixture(scope="session")
def ckpt_21k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small HorNet with the 21k head."""
    path = tmp_path_factory.mktemp("ckpt") / "w8.safetensors"
    return small.write(path, "safetensors-reference", "w8", num_classes=10459)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five photographs of different sizes and formats, and a text file."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, (name, size) in enumerate(
        {
            "a.jpg": (320, 240),
            "b.JPEG": (240, 333),
            "c.png": (224, 224),
            "d.webp": (500, 250),
            "e.gif": (64, 48),
        }.items()
    ):
        picture(seed, size).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder
