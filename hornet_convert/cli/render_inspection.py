"""What `inspect` found, as a person reads it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from hornet_convert.cli.render import console
from hornet_convert.errors import printable
from hornet_convert.inspect import Block, Inspection


def print_inspection(found: Inspection, every_tensor: bool) -> None:
    """Facts first, then the tensors by block, what lies beside them, and what would run."""
    screen = console()
    for label, value in _facts(found):
        screen.print(Text(f"{printable(label, 100):<12}").append(printable(value, 400)))
    if found.blocks:
        screen.print()
        screen.print(_tensors(found) if every_tensor else _blocks(found))
    if found.unlisted:
        screen.print(Text(f"and {found.unlisted:,} more tensors, not listed"))
    for beside in found.beside:
        screen.print(Text(f"beside the weights: {printable(beside, 400)}"))
    screen.print()
    if not found.names:
        screen.print(Text("The file names nothing to import: a plain load of it runs nothing."))
    for name in found.names:
        line = Text(f"{name.use:<7} {printable(name.name)}", "red" if name.danger else "")
        screen.print(line.append(f": {printable(name.danger, 400)}" if name.danger else ""))
    if found.dangerous:
        verdict = "A plain pickle.load of this file would be DANGEROUS. Here nothing ran."
        screen.print(Text(verdict, "bold red"))
    elif found.names:
        screen.print(Text("Nothing above is known to do harm; a plain pickle.load imports it all."))


def _facts(found: Inspection) -> list[tuple[str, str]]:
    facts = [
        ("file", found.path),
        ("size", f"{found.size:,} bytes"),
        ("container", found.container),
    ]
    if found.wrapper:
        facts.append(("wrapper", " → ".join(found.wrapper)))
    if found.prefix:
        facts.append(("prefix", found.prefix))
    if found.ema_wrapper is not None:
        taken = "shown here" if found.is_ema else "--ema shows them"
        facts.append(("averaged", f"under {' → '.join(found.ema_wrapper)}; {taken}"))
    if found.layout is not None:
        whole = "" if found.complete else ", keys or shapes incomplete or wrong (see verify)"
        facts.append(("layout", found.layout))
        facts.append(("model", f"{found.model or 'unknown'}{whole}"))
        if found.num_classes is not None:
            facts.append(("classes", str(found.num_classes)))
    else:
        facts.append(("model", "not a HorNet"))
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in found.dtypes.items())
    facts.append(("tensors", f"{dtypes or 'none'}; {found.parameters:,} elements"))
    facts += [(f"[{key}]", value) for key, value in found.metadata.items()]
    if found.problem is not None:
        facts.append(("problem", found.problem))
    return facts


def _blocks(found: Inspection) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("block", overflow="fold")
    for title in ("tensors", "elements", "bytes"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("dtypes", overflow="fold")
    for block in found.blocks:
        dtypes = ", ".join(sorted({printable(row.dtype, 40) for row in block.tensors}))
        table.add_row(
            printable(block.name, 100),
            str(len(block.tensors)),
            f"{block.parameters:,}",
            f"{block.nbytes:,}",
            dtypes,
        )
    return table


def _tensors(found: Inspection) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("tensor", overflow="fold")
    table.add_column("dtype", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    for row in (row for block in found.blocks for row in _in(block)):
        table.add_row(*row)
    return table


def _in(block: Block) -> list[tuple[str, str, str, str]]:
    return [
        (
            printable(row.name, 200),
            printable(row.dtype, 40),
            "–" if row.shape is None else "×".join(map(str, row.shape)) or "scalar",
            "–" if row.nbytes is None else f"{row.nbytes:,}",
        )
        for row in block.tensors
    ]
