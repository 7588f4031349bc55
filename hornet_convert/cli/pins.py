"""`pins`: the record of good files, and how records are exchanged."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hornet_convert.cli import completion, options, output
from hornet_convert.errors import EXIT_CHECK_FAILED, EXIT_OK, DiskError, MalformedError, UsageError
from hornet_convert.family import zoo
from hornet_convert.report.document import result
from hornet_convert.text import counted, printable

if TYPE_CHECKING:
    from hornet_convert.download.cache import Cache
    from hornet_convert.download.pins import Compared, Pin
    from hornet_convert.download.trust import TrustRecord
    from hornet_convert.report.results import PinFacts


@click.group(invoke_without_command=True)
@options.cache
@click.option("--merge", metavar="FILE", type=options.FILE, hidden=True)
@click.option("--forget", metavar="NAME", hidden=True)
@options.as_json
@click.pass_context
def pins(
    context: click.Context, cache: Cache, merge: Path | None, forget: str | None, as_json: bool
) -> int:
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
        gone = record.forget(zoo.find(forget).name)
        click.echo(f"{counted(len(gone), 'pin')} forgotten", err=True)
    if merge is not None:
        click.echo(f"{counted(len(record.merge(_document(merge))), 'pin')} added", err=True)
    if as_json:
        return _print_json(record, map(_row, record.pins()))
    click.echo(exported(record.pins()), nl=False)
    return EXIT_OK


def _on_record(command: Callable[..., int]) -> Callable[..., int]:
    """Hand the record to a command; `--cache` and `--json` may stand before its name or after."""

    @options.as_json
    @options.cache
    @functools.wraps(command)
    def on_record(cache: Cache, as_json: bool, **values: Any) -> int:
        from hornet_convert.download.trust import TrustRecord

        context = click.get_current_context()
        if context.get_parameter_source("cache") == ParameterSource.DEFAULT and context.parent:
            cache = context.parent.params["cache"]
        as_json = as_json or bool(context.parent and context.parent.params["as_json"])
        return command(TrustRecord(cache.trust_path), as_json=as_json, **values)

    return on_record


def _row(pin: Pin) -> dict[str, Any]:
    return {**result(pin.model), **asdict(pin)}


def _compared(row: Compared) -> dict[str, Any]:
    code = EXIT_CHECK_FAILED if row.state == "contradicts" else EXIT_OK
    return {**result(row.pin.model, exit_code=code), **asdict(row)}


def _print_json(
    record: TrustRecord,
    rows: Iterable[Mapping[str, Any]],
    *,
    output_file: Path | None = None,
    stored: int = 0,
) -> int:
    written = None if output_file is None else str(output_file)
    facts: PinFacts = {"trust_record": str(record.path), "output": written, "stored": stored}
    return output.print_document([*rows], about=facts)


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
def export_pins(
    record: TrustRecord, by: str | None, out: Path | None, every: bool, as_json: bool
) -> int:
    """Export the pins recorded here, for others to merge.

    Model, source, size, full SHA-256, fingerprint, who and when; no secrets from URLs.

    \b
    Example:
      hornet-convert pins export --by "Ada Lovelace" --out pins.json
    """
    import getpass

    from hornet_convert.download.pins import exported, ordered
    from hornet_convert.files.writing import publish_bytes

    name = (by or getpass.getuser()).strip()
    if not name or not name.isprintable():
        raise UsageError(
            "--by is not a name", found=printable(by or ""), hint="Give your name, or the job's."
        )
    chosen = record.pins() if every else record.seen_here()
    named = ordered(pin if pin.by else replace(pin, by=name) for pin in chosen)
    if out is not None:
        _require_export(out, record)
        publish_bytes(exported(named).encode(), out)
    if as_json:
        return _print_json(record, map(_row, named), output_file=out)
    if out is None:
        click.echo(exported(named), nl=False)
    return EXIT_OK


@pins.command("merge")
@click.argument("file", type=options.FILE)
@click.option("--dry-run", is_flag=True, help="Compare only; store nothing.")
@click.option("--yes", is_flag=True, help="Store without asking; needed where nobody can be asked.")
@_on_record
def merge_pins(record: TrustRecord, file: Path, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Add pins from somebody else, after showing which agree.

    From then on, a file with one of these digests is `authentic`, by that record: merge only
    records from people you trust. At a terminal it asks first; elsewhere it stores with --yes
    only (exit 2 without). If any pin contradicts the record, nothing is stored (exit 1).

    \b
    Example:
      hornet-convert pins merge pins.json --dry-run
    """
    rows = record.compare(_document(file))
    count = {state: sum(row.state == state for row in rows) for state in _SAID}
    against = count["contradicts"]
    fresh = 0 if against or dry_run else count["new"] + count["agrees"]
    undecided = bool(fresh) and not yes
    at_terminal = bool(sys.stdin and sys.stdin.isatty())
    if not as_json or (undecided and at_terminal):
        for row in rows:
            click.echo(_line(row), err=as_json)
        told = (f"{number} {_SAID[state]}" for state, number in count.items() if number)
        click.echo(", ".join(told), err=as_json)
    if against and not as_json:
        click.echo("Nothing was stored. Find out which record is wrong.", err=True)
    if undecided and not at_terminal:
        raise UsageError(
            "nothing was stored: whom to trust is for you to say, and there is no terminal to ask",
            where=printable(str(file), 1000),
            hint="Look at the pins with --dry-run; --yes stores them.",
        )
    if undecided and not click.confirm(f"Store {fresh}?", err=True):
        fresh = 0
        click.echo("Nothing was stored.", err=True)
    if fresh:
        record.merge(row.pin for row in rows)
    if as_json:
        return _print_json(record, map(_compared, rows), stored=fresh)
    if fresh:
        click.echo(f"{fresh} stored in {printable(str(record.path), 1000)}", err=True)
    return EXIT_CHECK_FAILED if against else EXIT_OK


@pins.command("forget")
@click.argument("name", shell_complete=completion.names)
@_on_record
def forget_pins(record: TrustRecord, name: str, as_json: bool) -> int:
    """Remove every pin of a model, including merged ones.

    \b
    Example:
      hornet-convert pins forget tiny
    """
    gone = record.forget(zoo.find(name).name)
    if as_json:
        return _print_json(record, map(_row, gone))
    click.echo(f"{counted(len(gone), 'pin')} forgotten", err=True)
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


def _require_export(file: Path, record: TrustRecord) -> None:
    """Raise DiskError if what stands there is not what an export wrote, or is the record itself."""
    from hornet_convert.files.errors import disk_errors
    from hornet_convert.files.writing import refuse_special

    with disk_errors(file, "reading"):
        refuse_special(file)
        if not file.exists():
            return
        with contextlib.suppress(MalformedError):
            _document(file)
            if file.resolve() != record.path.resolve():
                return
    raise DiskError(
        "the pins would replace a file that holds no exported pins",
        where=printable(str(file), 1000),
        hint="Name another place with --out; what stands there is left alone.",
    )


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
