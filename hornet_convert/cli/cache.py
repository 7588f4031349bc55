"""`hornet-convert cache list|verify|clear`."""

from __future__ import annotations

import click

from hornet_convert.cli import options


@click.group()
def cache() -> None:
    """Look after the downloaded files.

    \b
    Examples:
      hornet-convert cache list
      hornet-convert cache clear tiny
    """


@cache.command("list")
@options.cache
def list_files(cache: str | None) -> int:
    """Show what is kept, from where, and how much it takes.

    \b
    Example:
      hornet-convert cache list
    """
    from hornet_convert.download.cache import Cache
    from hornet_convert.errors import printable

    kept = Cache.at(cache)
    for entry, path in kept.entries():
        click.echo(f"{entry.model}  {entry.size:,} bytes  {entry.sha256}  {printable(entry.url)}")
        click.echo(f"  {path}")
    click.echo(options.cache_line(kept, "now"))
    return 0


@cache.command()
@options.cache
def verify(cache: str | None) -> int:
    """Read every kept file again and compare its SHA-256 with the recorded one.

    \b
    Example:
      hornet-convert cache verify
    """
    from hornet_convert.download.cache import Cache

    wrong = 0
    for _, path, problem in Cache.at(cache).verify():
        click.echo(f"{'FAIL' if problem else 'pass'}  {path}" + (f": {problem}" if problem else ""))
        wrong += problem is not None
    if wrong:
        click.echo("`hornet-convert fetch` downloads a wrong file again.", err=True)
    return 1 if wrong else 0


@cache.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@options.cache
def clear(names: tuple[str, ...], cache: str | None) -> int:
    """Remove kept files and unfinished downloads: all, or those of the models named.

    \b
    Example:
      hornet-convert cache clear tiny
    """
    from hornet_convert.download.cache import Cache

    kept = Cache.at(cache)
    models = [model.name for model in options.chosen(names, every=False)] if names else [None]
    gone = [kept.clear(model) for model in models]
    count = sum(usage.files + usage.parts for usage in gone)
    click.echo(f"{count} removed, {sum(u.bytes + u.part_bytes for u in gone):,} bytes freed")
    click.echo(options.cache_line(kept, "now"))
    return 0
