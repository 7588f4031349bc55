"""`hornet-convert cache list|verify|clear`."""

from __future__ import annotations

import itertools
from pathlib import Path

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
    from hornet_convert.download.converted import converted
    from hornet_convert.errors import printable

    kept = Cache.at(cache)
    files = ((e.model, e.size, e.sha256, e.url, path) for e, path in kept.entries())
    results = (
        (one.model, one.size, one.sha256, f"converted from {one.url}", one.path)
        for one in converted(kept.folder)
    )
    for model, size, digest, url, path in itertools.chain(files, results):
        click.echo(f"{printable(model)}  {size:,} bytes  {printable(digest)}  {printable(url)}")
        click.echo(f"  {_shown(path)}")
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
    from hornet_convert.download import converted
    from hornet_convert.download.cache import Cache
    from hornet_convert.errors import printable

    kept = Cache.at(cache)
    files = ((path, problem) for _, path, problem in kept.verify())
    results = ((one.path, problem) for one, problem in converted.verify(kept.folder))
    wrong = 0
    for path, problem in itertools.chain(files, results):
        said = f": {printable(problem, 400)}" if problem else ""
        click.echo(f"{'FAIL' if problem else 'pass'}  {_shown(path)}{said}")
        wrong += problem is not None
    if wrong:
        click.echo("`hornet-convert fetch` downloads a wrong file again.", err=True)
    return 1 if wrong else 0


@cache.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@options.cache
def clear(names: tuple[str, ...], cache: str | None) -> int:
    """Remove kept files, unfinished downloads and converted models: all, or of the models named.

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


def _shown(path: Path) -> str:
    """The whole path, safe to show."""
    from hornet_convert.errors import printable

    return printable(str(path), 4096)
