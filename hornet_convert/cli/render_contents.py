"""What is in checkpoints, as a person reads it: what `inspect` and `compare` found."""

from __future__ import annotations

from rich.table import Table

from hornet_convert.cli.render import facts, print_alarm
from hornet_convert.cli.screen import Screen, figure, table
from hornet_convert.comparison.outcome import Comparison
from hornet_convert.family.architecture import Shape
from hornet_convert.inspect import Inspection
from hornet_convert.report.report import ALARM
from hornet_convert.text import counted, in_order, listed, printable


def print_inspection(found: Inspection, every_tensor: bool) -> None:
    """Facts first, then the tensors by block, what lies beside them, and what would run."""
    screen = Screen()
    if found.dangerous:
        screen.say(ALARM, style="bold red")
    for label, value in _facts(found):
        screen.say(printable(value, 4000), printable(label, 100), pad=12)
    if found.blocks:
        screen.print()
        screen.show(_every_tensor(found) if every_tensor else _blocks(found))
    if found.unlisted:
        screen.say(f"and {counted(found.unlisted, 'more tensor')}, not listed")
    for beside in found.beside:
        screen.say(f"beside the weights: {printable(beside, 400)}")
    screen.print()
    if not found.names:
        screen.say("The file names nothing to import: a plain load of it runs nothing.")
    for name in found.names:
        line = f"{name.use:<7} {printable(name.name)}"
        line += f": {printable(name.danger, 400)}" if name.danger else ""
        screen.say(line, style="red" if name.danger else "", indent=8)
    if found.names and not found.dangerous:
        screen.say("Nothing above is known to do harm; a plain pickle.load imports it all.")


def _facts(found: Inspection) -> list[tuple[str, str]]:
    """What there is to say, each with a word for what it is about."""
    whole = "" if found.complete else ", keys or shapes incomplete or wrong (see verify)"
    ema, raw = (path and " → ".join(path) for path in (found.ema_wrapper, found.raw_wrapper))
    taken = "shown here" if found.is_ema else "--ema shows them"
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in found.dtypes.items())
    text = [
        ("file", found.path),
        ("size", f"{found.size:,} bytes"),
        ("container", found.container),
        ("wrapper", " → ".join(found.wrapper)),
        ("prefix", found.prefix),
        ("averaged", ema and f"under {ema}; {taken}"),
        ("raw", raw and f"under {raw}; mmengine exchanged the two"),
        ("layout", found.layout),
        ("model", f"{found.model or 'unknown'}{whole}" if found.layout else "not a HorNet"),
        ("classes", None if found.num_classes is None else str(found.num_classes)),
        ("tensors", f"{dtypes or 'none'}; {found.parameters:,} elements"),
        *((f"[{key}]", value) for key, value in found.metadata.items()),
        (
            "metadata",
            f"{found.unlisted_metadata:,} texts more" if found.unlisted_metadata else None,
        ),
        ("problem", found.problem),
    ]
    return [(label, value) for label, value in text if value]


def _blocks(found: Inspection) -> Table:
    rows = table("block", numbers=("tensors", "elements", "bytes"), last="dtypes")
    for block in sorted(found.blocks, key=lambda block: in_order(block.name)):
        rows.add_row(
            printable(block.name, 100),
            str(len(block.tensors)),
            f"{block.parameters:,}",
            f"{block.nbytes:,}",
            ", ".join(sorted({printable(row.dtype, 40) for row in block.tensors})),
        )
    return rows


def _every_tensor(found: Inspection) -> Table:
    rows = table("tensor", numbers=("dtype", "shape", "bytes"))
    for row in (row for block in found.blocks for row in block.tensors):
        rows.add_row(
            printable(row.name, 200),
            printable(row.dtype, 40),
            "–" if row.shape is None else _shape(row.shape),
            figure(row.nbytes, ","),
        )
    return rows


def _shape(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "scalar"


def print_comparison(found: Comparison, every_tensor: bool) -> None:
    """The two files, the outcome in a sentence, and the changes by block or tensor."""
    screen = Screen()
    for letter, side in (("A", found.a), ("B", found.b)):
        screen.print(f"{letter}  {printable(side.path, 400)}", soft_wrap=True)
        screen.say(f"   {facts(side, 'not a HorNet', counted(side.tensors, 'tensor'))}", indent=3)
        print_alarm(side.dangers, screen)
        if side.damaged:
            names = printable(listed(side.damaged), 1000)
            screen.say(f"   CRC mismatch, bytes have changed: {names}", style="bold red", indent=3)
    screen.print()
    word, style = ("EQUAL", "bold green") if found else ("DIFFERENT", "bold red")
    screen.say(printable(found.sentence, 4000), word, style, pad=len(word) + 1)
    if found.unrelated and not every_tensor:
        return
    if found.changed:
        screen.print()
        screen.show(_changed_tensors(found) if every_tensor else _changed_blocks(found))
    for tensor in found.reshaped:
        shapes = f"{_shape(tensor.a)} to {_shape(tensor.b)}"
        screen.say(f"reshaped {printable(tensor.name)}: {shapes}")
    if found.a.fingerprint is not None and found.a.fingerprint == found.b.fingerprint:
        screen.say(f"fingerprint {found.a.fingerprint}, of both")


def _changed_blocks(found: Comparison) -> Table:
    rows = table("block", numbers=("changed", "largest diff.", "relative"), last="looks like")
    for block in found.blocks:
        rows.add_row(
            printable(block.block or "–", 100),
            str(len(block.changed)),
            f"{block.largest_absolute:.2e}",
            f"{block.largest_relative:.2e}",
            ", ".join(block.looks),
        )
    return rows


def _changed_tensors(found: Comparison) -> Table:
    rows = table("tensor", numbers=("numbers", "largest diff.", "relative"), last="looks like")
    for change in found.changed:
        difference = change.difference
        rows.add_row(
            printable(change.name, 200),
            f"{difference.different:,} of {difference.numel:,}",
            f"{difference.largest_absolute:.2e}",
            f"{difference.largest_relative:.2e}",
            f"moved from {printable(change.same_as)}" if change.same_as else change.look,
        )
    return rows
