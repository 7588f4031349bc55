"""Where the weights lie that a user names by a file, a folder, or a repository of the Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hornet_convert.checkpoint.folder import CONFIG, WEIGHTS, Config, file_of, read_config
from hornet_convert.download.hub import SCHEME, weights_of
from hornet_convert.errors import CheckFailedError
from hornet_convert.family import zoo
from hornet_convert.family.architecture import Architecture
from hornet_convert.text import printable


class Located(NamedTuple):
    """A file with weights; and the config beside it, where a whole model was named."""

    file: Path
    config: Path | None = None


def located(
    path: str | os.PathLike[str] | Located,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Located:
    """Where the weights are, fetched if they are on the Hub.

    `path` is a file, a folder, or hf://ORG/REPO[@REVISION][/FILE], for which the other arguments
    are. Raises what `weights_of` and `weights_in` do.
    """
    if isinstance(path, Located):
        return path
    text = os.fspath(path)
    if text.startswith(SCHEME):
        address = text.removeprefix(SCHEME)
        file = weights_of(address, revision=revision, token=token, cache=cache, offline=offline)
        return Located(file, file.with_name(CONFIG) if file.name in WEIGHTS else None)
    file = file_of(Path(text))
    return Located(file, None if file == Path(text) else file.with_name(CONFIG))


def require_agreement(
    path: Path | None, architecture: Architecture, num_classes: int | None
) -> None:
    """Raise CheckFailedError if a `config.json` says another model than the weights are."""
    config = Config() if path is None else read_config(path)
    named = zoo.of_timm_name(config.architecture or "")
    classes = num_classes if config.num_classes is None else config.num_classes or None
    if (named or architecture, classes) != (architecture, num_classes):
        raise CheckFailedError(
            f"{CONFIG} and the weights are not of the same model",
            where=printable(str(path), 1000),
            expected=f"{architecture.name} with {num_classes or 'no'} classes, as the weights are",
            found=f"{printable(str(config.architecture))} with {classes or 'no'} classes",
            hint="Get both again from one place, or give the path of the weights' own file.",
        )
