"""How text reaches stdout: words wrap on a terminal alone; digests and paths never break."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNBOUNDED = 10_000  # columns of what is no terminal
LABEL = 10
STACKED_BELOW = 100  # columns


class Screen(Console):
    """Where human output goes: a terminal at its own width, or lines without padding."""

    def __init__(self) -> None:
        super().__init__(markup=False, highlight=False, emoji=False)
        if not self.is_terminal:
            self.width = UNBOUNDED

    def say(
        self, text: str, label: str = "", style: str = "", *, pad: int = LABEL, indent: int = 0
    ) -> None:
        """A paragraph, its `label` before it in `style`; without a label, `style` is for it all."""
        start = f"{label} ".ljust(pad) if label else ""
        if self.is_terminal:
            text = textwrap.fill(
                start + text,
                self.width,
                subsequent_indent=" " * (len(start) or indent),
                break_long_words=False,
                break_on_hyphens=False,
            )
        else:
            text = start + text
        line = Text(text)
        line.stylize(style, 0, len(label) or len(text))
        self.print(line, soft_wrap=True)

    def show(self, rows: Table) -> None:
        """A table; where it is too wide for the terminal, its last column wraps."""
        if self.is_terminal:
            self.print(rows)
        else:
            for line in plain(rows):
                self.print(line, soft_wrap=True)

    def fits(self, rows: Table) -> bool:
        """Whether a table is shown whole, each row in one line."""
        return max(map(len, plain(rows)), default=0) <= self.width


def plain(rows: Table) -> list[str]:
    """The lines of a table, as long as they have to be."""
    text = io.StringIO()
    Console(file=text, width=UNBOUNDED, no_color=True, force_terminal=False).print(rows)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def table(*names: str, numbers: Sequence[str] = (), last: str | None = None) -> Table:
    """An empty table with columns for names, for numbers, and for words; long first ones fold."""
    shown = any((*names, *numbers, last))
    made = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), show_header=shown)
    made.pad_edge = False
    for name in names:
        made.add_column(name, overflow="fold", no_wrap=len(names) > 1)
    for title in numbers:
        made.add_column(title, justify="right", no_wrap=True)
    if last is not None:
        made.add_column(last, overflow="fold")
    return made


def figure(value: float | None, form: str) -> str:
    """A number in a table; a dash where there is none."""
    return "–" if value is None else format(value, form)
