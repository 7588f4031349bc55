"""Words for people: text from files made safe to show, many names in one sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

SHOWN = 12  # items named in a sentence before the rest is counted
SHOWN_OF_MANY = 3

_OPTION = re.compile(
    r"`[^`]*`|(?<![^\s(;,])--(?P<no>no-)?(?P<name>[a-z][a-z0-9-]*)(?!\w|[./]\w)"
    r"(?: (?:(?P<number>[A-Z_]{2,}|\d+)|(?P<word>none|in1k|keep|backbone|openmmlab|cpu))\b)?"
)
_FLAGS = ("ema", "offline", "refetch", "force")

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


def python_arguments(text: str) -> str:
    """A sentence about options of the command line as one about arguments in Python.

    What stands between backticks is a whole command, and stays: `hornet-convert pins`.
    """

    def argument(match: re.Match[str]) -> str:
        if match["name"] is None:
            return match[0]
        name = match["name"].replace("-", "_")
        value = "False" if match["no"] else "True" if name in _FLAGS else match["number"]
        if match["word"]:
            value = f'"{match["word"]}"'
        return f"`{name}`" if value is None else f"`{name}={value}`"

    return _OPTION.sub(argument, text)


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


def in_order(name: str) -> tuple[object, ...]:
    """A key to sort tensor names by: the stem first, then by number, what follows the stages last.

    Names in a safetensors file stand in alphabetical order, block 10 before block 2.
    """
    parts = name.removeprefix("backbone.").split(".")
    rank = {"stem": 0, "norm": 2, "head": 2, "fc": 2}.get(parts[0], 1)
    return (rank, *((part.isdigit(), int(part) if part.isdigit() else part) for part in parts))


def counted(number: int, what: str, many: str | None = None) -> str:
    """`1 model`, `2 models`; `many` where the plural is no mere s."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"
