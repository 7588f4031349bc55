"""`pins`: the record of good files, and how records are exchanged."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hornet_convert.cli import options
from hornet_convert.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from hornet_convert.family import zoo
from hornet_convert.text import counted, printable

if TYPE_CHECKING:
    from hornet_convert.download.cache import Cache
    from hornet_convert.download.pins import Compared, Pin
    from hornet_convert.download.trust import TrustRecord


@click.group(invoke_without_command=True)
@options.cache
@click.option("--merge", metavar="FILE", type=options.FILE, hidden=True)
@click.option("--forget", metavar="NAME", hidden=True)
@click.option("--json", is_flag=True, expose_value=False, help="JSON on stdout (the default).")
@click.pass_context
def pins(context: click.Context, cache: Cache, merge: Path | None, forget: str | None) -> int:
    """Show, export and merge the trust record.

    It holds the full SHA-256, size and fingerprint of every file that passed. After the first
    good fetch from a source, a different file from there is an error. A file that you have
    fetched before is `seen before`; one that a merged record lists is `authentic`.

    \b
    Examples:
      hornet-convert pins
      hornet-convert pins export --by "Ada Lovelace" > pins.json
      hornet-convert pins merge pins.json
    """
    from hornet_convert.download.pins import exported
    from hornet_convert.download.trust import TrustRecord

    if context.invoked_subcommand is not None:
        return EXIT_OK
    record = TrustRecord(cache.trust_path)
    if forget is not None:
        _forget(record, forget)
    if merge is not None:
        click.echo(f"{counted(len(record.merge(_document(merge))), 'pin')} added", err=True)
    click.echo(exported(record.pins()), nl=False)
    return EXIT_OK


def _on_record(command: Callable[..., int]) -> Callable[..., int]:
    """Hand the record to a command of the group; `--cache` may stand before or after its name."""

    @options.cache
    @functools.wraps(command)
    def on_record(cache: Cache, **values: Any) -> int:
        from hornet_convert.download.trust import TrustRecord

        context = click.get_current_context()
        if context.get_parameter_source("cache") == ParameterSource.DEFAULT and context.parent:
            cache = context.parent.params["cache"]
        return command(TrustRecord(cache.trust_path), **values)

    return on_record


@pins.command("export")
@click.option(
    "--by",
    metavar="NAME",
    envvar="HORNET_CONVERT_BY",
    help="Who recorded these files: a person or a CI job.",
)
@click.option(
    "--out", metavar="FILE", type=options.PATH, help="Write to this file instead of stdout."
)
@click.option("--all", "every", is_flag=True, help="Include pins merged from others.")
@_on_record
def export_pins(record: TrustRecord, by: str | None, out: Path | None, every: bool) -> int:
    """Export the pins recorded here, for others to merge.

    Model, source, size, full SHA-256, fingerprint, who and when; no secrets from URLs.

    \b
    Example:
      hornet-convert pins export --by "Ada Lovelace" --out pins.json
    """
    import getpass
    from dataclasses import replace

    from hornet_convert.download.pins import exported
    from hornet_convert.files.writing import publish_bytes

    name = (by or getpass.getuser()).strip()
    if not name or not name.isprintable():
        raise UsageError(
            "--by is not a name", found=printable(by or ""), hint="Give your name, or the job's."
        )
    chosen = record.pins() if every else record.seen_here()
    text = exported(pin if pin.by else replace(pin, by=name) for pin in chosen)
    if out is None:
        click.echo(text, nl=False)
    else:
        publish_bytes(text.encode(), out)
    return EXIT_OK


@pins.command("merge")
@click.argument("file", type=options.FILE)
@click.option("--dry-run", is_flag=True, help="Compare only; store nothing.")
@click.option("--yes", is_flag=True, help="Store without asking.")
@_on_record
def merge_pins(record: TrustRecord, file: Path, dry_run: bool, yes: bool) -> int:
    """Add pins from somebody else, after showing which agree.

    From then on, a file with one of these digests is `authentic`, by that record: merge only
    records from people you trust. If any pin contradicts the record, nothing is stored (exit 1).

    \b
    Example:
      hornet-convert pins merge pins.json --dry-run
    """
    rows = record.compare(_document(file))
    for row in rows:
        click.echo(_line(row))
    count = {state: sum(row.state == state for row in rows) for state in _SAID}
    click.echo(", ".join(f"{number} {_SAID[state]}" for state, number in count.items() if number))
    if count["contradicts"]:
        click.echo("Nothing was stored. Find out which record is wrong.", err=True)
        return EXIT_CHECK_FAILED
    fresh = count["new"] + count["agrees"]
    if dry_run or not fresh:
        return EXIT_OK
    if not yes and sys.stdin.isatty():
        click.confirm(f"Store {fresh}?", abort=True, err=True)
    record.merge(row.pin for row in rows)
    click.echo(f"{fresh} stored in {printable(str(record.path), 1000)}", err=True)
    return EXIT_OK


@pins.command("forget")
@click.argument("name")
@_on_record
def forget_pins(record: TrustRecord, name: str) -> int:
    """Remove every pin of a model, including merged ones.

    \b
    Example:
      hornet-convert pins forget tiny
    """
    _forget(record, name)
    return EXIT_OK


_SAID = {
    "new": "new",
    "agrees": "for files already known",
    "known": "already recorded",
    "contradicts": "contradicting the record",
}


def _line(row: Compared) -> str:
    pin, other = row.pin, row.other
    by, place = printable(pin.by, 100), printable(f"{pin.source} {pin.location}", 1000)
    line = f"{row.state:<11}  {printable(pin.model)}  {pin.sha256}  {place}, seen by {by}"
    line += f" on {printable(pin.first_seen)}"
    if other is None or row.state == "known":
        return line
    text = printable(other.claim("sha256", binding=False).origin, 1000)
    found = "" if row.state == "agrees" else f": {other.sha256}, {other.size:,} bytes"
    if row.state == "contradicts" and other.sha256 == pin.sha256:
        found += f", fingerprint {other.fingerprint} and not {pin.fingerprint}"
    return f"{line}\n{'':<11}  {'as' if row.state == 'agrees' else 'but'} {text}{found}"


def _document(file: Path) -> list[Pin]:
    from hornet_convert.download.pins import of_others, pins_from
    from hornet_convert.download.trust import MAX_RECORD_BYTES
    from hornet_convert.files.errors import disk_errors
    from hornet_convert.files.records import read_text

    with disk_errors(file, "reading"):
        text = read_text(file, MAX_RECORD_BYTES)
    if text is None:
        where = printable(str(file), 1000)
        raise UsageError("there is no such file", where=where, hint="Check the path.")
    hint = "Give a document that `hornet-convert pins export` wrote."
    return of_others(pins_from(text, str(file), hint=hint))


def _forget(record: TrustRecord, name: str) -> None:
    gone = record.forget(zoo.find(name).name)
    click.echo(f"{counted(len(gone), 'pin')} forgotten", err=True)
