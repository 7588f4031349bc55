"""Words for people: text from files made safe to show, many names in one sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

SHOWN = 12  # items named in a sentence before the rest is counted
SHOWN_OF_MANY = 3

_BLOCK = re.compile(
    r"((?:backbone\.)?(?:stages\.\d+\.(?:(?:blocks\.)?\d+|downsample)|[^.]+))\.(.+)"
)


def printable(text: str, limit: int = 200) -> str:
    """Text from a file or a server, safe to show: control characters escaped, cut short."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def listed(items: Sequence[str], separator: str = ", ", most: int = SHOWN) -> str:
    """The first few items, and how many more there are."""
    shown = separator.join(items[:most])
    return shown if len(items) <= most else f"{shown}{separator}and {len(items) - most} more"


def by_block(names: Sequence[str]) -> str:
    """Tensor names collapsed by the block, or module, they belong to."""
    groups: dict[str, list[str]] = {}
    for name in names:
        block, rest = split_block(name)
        groups.setdefault(block, []).append(rest)
    most = SHOWN if len(names) <= 2 * SHOWN else SHOWN_OF_MANY
    return listed(
        [
            f"{block}.{{{listed(rest, most=most)}}}"
            if len(rest) > 1
            else ".".join(filter(None, (block, *rest)))
            for block, rest in groups.items()
        ]
    )


def split_block(name: str) -> tuple[str, str]:
    """The block, or module, a tensor belongs to, and the rest of its name."""
    match = _BLOCK.fullmatch(name)
    return (match[1], match[2]) if match else ("", name)
