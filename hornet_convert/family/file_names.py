"""What files are called: the digits in a name, and how a result's name tells of edits.

The name of a published file is given only to its weights as they are. Everything else is called
`hornet-<model>_<classes>c[-<edit>…]`, where `<model>` is what the weights were made for, so that
filters resized for 384 do not look like the published `large-gf384`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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


_DIGITS: Final = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|pt|safetensors|onnx)$")


def digits_in(name: str, sha256: str) -> str | None:
    """The digits that a file name claims by the convention `…-<hex>.pth`; None if it claims none.

    Decimal digits alone are as likely a date or a count: they claim something only if they are the
    first of the file's `sha256`, or published.
    """
    match = _DIGITS.search(name)
    if match is None:
        return None
    digits = match[1]
    meant = sha256.startswith(digits) or zoo.with_hash(digits) is not None
    return None if digits.isdecimal() and not meant else digits


def history(recorded: str, tokens: Sequence[str]) -> tuple[str, ...]:
    """The edits a source's metadata records, then new ones; the same edit twice is one.

    A record that is not of our making tells of nothing. Raises UsageError for too many.
    """
    known = recorded.split(" ", MAX_EDITS)
    if len(known) > MAX_EDITS or not all(map(_TOKEN.fullmatch, known)):
        known = []
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
    """File name without hash and extension; `row` is what is published with these weights."""
    if row is not None and not edits:
        return row.stem
    return "-".join((f"hornet-{origin(architecture, edits).name}_{num_classes or 0}c", *edits))


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
