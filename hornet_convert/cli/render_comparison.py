"""What `compare` found, as a person reads it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from hornet_convert.cli.render import console
from hornet_convert.comparison.outcome import Comparison, Side
from hornet_convert.errors import printable
from hornet_convert.verification.naming import listed


def print_comparison(found: Comparison, every_tensor: bool) -> None:
    """The two files, the outcome in a sentence, and the changes by block or tensor."""
    screen = console()
    for letter, side in (("A", found.a), ("B", found.b)):
        screen.print(Text(f"{letter}  {printable(side.path, 400)}"), soft_wrap=True)
        screen.print(Text(f"   {_facts(side)}"))
        if side.damaged:
            names = printable(listed(side.damaged), 1000)
            screen.print(Text(f"   CRC mismatch, bytes have changed: {names}", "bold red"))
    screen.print()
    word = Text("EQUAL", "bold green") if found else Text("DIFFERENT", "bold red")
    screen.print(word.append(f" {printable(found.sentence, 4000)}", "not bold default"))
    if found.changed:
        screen.print()
        screen.print(_tensors(found) if every_tensor else _blocks(found))
    for tensor in found.reshaped:
        shapes = " to ".join(
            "×".join(map(str, shape)) or "scalar" for shape in (tensor.a, tensor.b)
        )
        screen.print(Text(f"reshaped {printable(tensor.name)}: {shapes}"))
    if found.a.fingerprint is not None and found.a.fingerprint == found.b.fingerprint:
        screen.print(Text(f"fingerprint {found.a.fingerprint}, of both"))


def _facts(side: Side) -> str:
    facts = [
        side.model or "not a HorNet",
        f"{side.layout} layout" if side.layout else None,
        f"{side.container} container",
        f"{side.tensors} tensors",
        f"{side.num_classes} classes" if side.num_classes is not None else None,
    ]
    return ", ".join(fact for fact in facts if fact)


def _blocks(found: Comparison) -> Table:
    table = _table("block", "changed")
    for block in found.blocks:
        table.add_row(
            printable(block.block or "–", 100),
            str(len(block.changed)),
            f"{block.largest_absolute:.2e}",
            f"{block.largest_relative:.2e}",
            ", ".join(block.looks),
        )
    return table


def _tensors(found: Comparison) -> Table:
    table = _table("tensor", "numbers")
    for change in found.changed:
        difference = change.difference
        table.add_row(
            printable(change.name, 200),
            f"{difference.different:,} of {difference.numel:,}",
            f"{difference.largest_absolute:.2e}",
            f"{difference.largest_relative:.2e}",
            f"moved from {printable(change.same_as)}" if change.same_as else change.look,
        )
    return table


def _table(first: str, second: str) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for title in (second, "largest diff.", "relative"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("looks like", overflow="fold")
    return table
