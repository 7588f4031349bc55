"""The blocks of README.md and docs/: what a reader would type, and what it is said to print."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
RUN = ("console", "python")
SHOWN = ("json", "yaml", "text")  # not typed anywhere

_FENCE = re.compile(r"(?P<ticks>```+)(?P<language>\S*)(?P<more>.*)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line its text begins at, its language."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where an editor finds it."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A line behind a `$`, those it goes on in included, and the lines shown below it."""

    place: str
    text: str
    shown: str


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page; a fence that is never closed is an error."""
    name, found = page.relative_to(ROOT).as_posix(), []
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        if match := _FENCE.fullmatch(line.strip()):
            indent = len(line) - len(line.lstrip())
            text = _until(match["ticks"], lines)
            text = [each[indent:] for each in text]
            found.append(Block(name, number + 1, match["language"], "\n".join(text) + "\n"))
    return found


def _until(ticks: str, lines: Iterator[tuple[int, str]]) -> list[str]:
    text: list[str] = []
    for _, line in lines:
        if line.strip() == ticks:
            return text
        text.append(line)
    raise ValueError("a block is never closed")


def indented(page: Path) -> list[int]:
    """Lines of blocks that are made by indentation, which nothing here would run."""
    inside, blank, found = False, True, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if _FENCE.fullmatch(line.strip()):
            inside = not inside
        elif not inside and blank and re.match(r" {4,}\S", line):
            found.append(number)
        blank = not line.strip()
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block, each with the output shown."""
    found: list[tuple[int, list[str], list[str]]] = []
    goes_on = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif goes_on:
            found[-1][1].append(line)
        elif not found:
            raise ValueError(f"{block.page}:{number}: output before a command")
        else:
            found[-1][2].append(line)
        goes_on = line.endswith("\\") and (goes_on or line.startswith("$ "))
    return [
        Command(f"{block.page}:{number}", "\n".join(text), "\n".join(shown))
        for number, text, shown in found
    ]


def together(page: Sequence[Block]) -> Iterator[tuple[Block, Block | None]]:
    """The blocks to run, each with the JSON that is shown right below it, if any."""
    for block, after in itertools.zip_longest(page, page[1:]):
        if block.language in RUN:
            yield block, after if after is not None and after.language == "json" else None


def is_like(shown: Any, printed: Any) -> bool:
    """Whether a JSON value is what a page shows, which may be of another file or another day.

    Members are the same, and words; lists may be cut short; of numbers, and of text with digits or
    paths in it, the type counts.
    """
    if isinstance(shown, dict) and isinstance(printed, dict):
        same = shown.keys() == printed.keys()
        return same and all(is_like(value, printed[name]) for name, value in shown.items())
    if isinstance(shown, list) and isinstance(printed, list):
        enough = len(shown) <= len(printed)
        return enough and all(map(is_like, shown, printed))
    if isinstance(shown, str) and isinstance(printed, str):
        return shown == printed or re.search(r"[\d/…]", shown) is not None
    numbers = isinstance(shown, float) and isinstance(printed, float | int)
    return type(shown) is type(printed) or numbers


def agrees(shown: str, printed: str) -> bool:
    """Whether output is what a page shows: words count, not where lines end; … stands for any."""
    parts = [re.escape(" ".join(part.split())) for part in shown.split("…")]
    pattern = r"\s*.*?\s*".join(parts)
    return re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL) is not None
