"""`hornet-convert pins`: the record of what was found to be right."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options


@click.command()
@options.cache
@click.option(
    "--merge",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Add the pins that another user exported.",
)
@click.option("--forget", metavar="NAME", help="Remove the pins of a model.")
def pins(cache: str | None, merge: Path | None, forget: str | None) -> int:
    """Print the trust record: full SHA-256, size and fingerprint of every source that was good.

    After the first good fetch from a source, another file from there is an error. The output is the
    JSON that --merge reads.

    \b
    Examples:
      hornet-convert pins > pins.json
      hornet-convert pins --merge pins.json
    """
    from hornet_convert.conversion.publish import disk_errors
    from hornet_convert.download.cache import Cache
    from hornet_convert.download.trust import TrustRecord, exported, pins_from
    from hornet_convert.family import zoo

    record = TrustRecord(Cache.at(cache).trust_path)
    if forget is not None:
        gone = record.forget(zoo.find(forget).name)
        click.echo(f"{len(gone)} pins forgotten", err=True)
    if merge is not None:
        with disk_errors(merge, "reading"):
            text = merge.read_bytes()
        added = record.merge(pins_from(text, str(merge)))
        click.echo(f"{len(added)} pins added", err=True)
    click.echo(exported(record.pins()), nl=False)
    return 0
