"""What a result is called, and how its name and metadata tell of edits.

The name of a published file is given only to its weights as they are. Everything else is called
`hornet-<model>_<classes>c[-<edit>…]`, where `<model>` is what the weights were made for, so that
filters resized for 384 do not look like the published `large-gf384`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, get_args

from hornet_convert.errors import UsageError
from hornet_convert.family import zoo
from hornet_convert.family.architecture import Architecture

Format = Literal["safetensors", "pth"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

MAX_EDITS: Final = 8  # in the history of one file; keeps its name within what file systems take

_TOKEN: Final = re.compile(
    r"(?P<old>[0-9]{2,4})to[0-9]{2,4}px|in1k-head|no-head|backbone|float32|float16|bfloat16"
)


def history(metadata: Mapping[str, str], tokens: Sequence[str]) -> tuple[str, ...]:
    """The edits a source's metadata tells of, then new ones; the same edit twice is one.

    Metadata that is not of our making tells of nothing. Raises UsageError for too many.
    """
    recorded = metadata.get("edits", "")
    found = recorded.split(" ", MAX_EDITS)
    ours = len(found) <= MAX_EDITS and all(_TOKEN.fullmatch(token) for token in found)
    known = found if ours else []
    edits = list[str]()
    for edit in (*known, *tokens):
        if edit not in edits[-1:] and not (edit == "backbone" and edit in edits):
            edits.append(edit)
    if len(edits) > MAX_EDITS:
        raise UsageError(
            "the checkpoint has been edited too often to say so in its name",
            expected=f"at most {MAX_EDITS} edits",
            found=", ".join(edits),
            hint="Start from the published file.",
        )
    return tuple(edits)


def stem(
    architecture: Architecture,
    num_classes: int | None,
    edits: Sequence[str],
    row: zoo.Published | None,
) -> str:
    """File name without hash and extension.

    `row` is the published checkpoint whose weights these are, if that is known.
    """
    if row is not None and not edits:
        return row.stem
    base = f"hornet-{origin(architecture, edits).name}_{num_classes or 0}c"
    return "-".join((base, *edits))


def origin(architecture: Architecture, edits: Sequence[str]) -> Architecture:
    """What the weights were made for, before any filters were resized."""
    sizes = (match["old"] for token in edits if (match := _TOKEN.fullmatch(token)))
    first = next((size for size in sizes if size is not None), None)
    if first is None or architecture.filter_resolution is None or int(first) < 32:
        return architecture
    return replace(architecture, filter_resolution=int(first))


def file_name(stem: str, sha256: str, container: Format) -> str:
    """By the published convention: the first eight digits of the file's own SHA-256."""
    return f"{stem}-{sha256[:8]}.{container}"
