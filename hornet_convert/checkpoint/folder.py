"""A folder that holds one model, as the Hub's libraries lay it out: weights and `config.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hornet_convert.errors import NotACheckpointError
from hornet_convert.files.records import parse, read_text
from hornet_convert.text import printable

CONFIG: Final = "config.json"
SAFETENSORS: Final = "model.safetensors"
WEIGHTS: Final = (SAFETENSORS, f"{SAFETENSORS}.index.json", "pytorch_model.bin")
"""What the weights are called; of several the first is taken."""


@dataclass(frozen=True)
class Config:
    """What is read of `config.json`: the model's name as timm spells it, and its classes."""

    architecture: str | None = None
    num_classes: int | None = None


def weights_in(folder: Path) -> Path:
    """The weights in a folder. Raises NotACheckpointError if there are none."""
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise NotACheckpointError(
            "this is a directory without weights under a name that is known",
            where=printable(str(folder), 1000),
            expected=" or ".join(WEIGHTS),
            hint="If they have another name, give the path of the file.",
        )
    return found


def file_of(path: Path) -> Path:
    """The file that a path means: that of a folder with one model are its weights.

    Raises NotACheckpointError if there are none.
    """
    distributed = (path / ".metadata").is_file()  # which is refused by its name
    return weights_in(path) if path.is_dir() and not distributed else path


def read_config(path: Path) -> Config:
    """A `config.json`; an empty one if there is none. Raises MalformedError, or OSError."""
    text = read_text(path)
    return Config() if text is None else parse(text, Config, CONFIG, str(path))
