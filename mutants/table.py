"""The table of mutants: `table/*.toml`, one table a file of the package, one row a bug."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("table")
ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hornet_convert"


@dataclass(frozen=True)
class Mutant:
    """A bug: the source texts that stand in for those of the package, by path within it.

    `explained` says why it may survive, or why nothing can be seen of it.
    """

    name: str
    bug: str
    sources: dict[str, str]
    explained: str | None = None


class StaleError(ValueError):
    """A patch whose old text does not stand in its file exactly once."""


def mutants() -> list[Mutant]:
    """Every row of the tables, named by table and number. Raises StaleError if one is stale."""
    found = []
    for table in sorted(FOLDER.glob("*.toml")):
        files = tomllib.loads(table.read_text(encoding="utf-8")).items()
        rows = [{"file": file, **row} for file, rows in files for row in rows]
        for number, row in enumerate(rows, 1):
            name = f"{table.stem}:{number}"
            sources = patched(name, [row, *row.get("and", ())])
            found.append(Mutant(name, row["bug"], sources, row.get("explained")))
    return found


def patched(name: str, patches: list[dict[str, str]]) -> dict[str, str]:
    """The texts of the patched files, by path within the package."""
    sources: dict[str, str] = {}
    for patch in patches:
        file = patch["file"]
        text = sources.get(file) or (PACKAGE / file).read_text()
        if text.count(patch["old"]) != 1:
            times = text.count(patch["old"])
            raise StaleError(f"{name}: found {times} times in {file}, not once: {patch['old']!r}")
        sources[file] = text.replace(patch["old"], patch["new"])
        compile(sources[file], file, "exec")
    return sources
