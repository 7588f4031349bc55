"""The downloaded files: `cache path|list|verify|clear|prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hornet_convert.cli import options, output
from hornet_convert.text import printable

if TYPE_CHECKING:
    from hornet_convert.download.cache import Cache, Usage


@click.group()
def cache() -> None:
    """Look after the downloaded files.

    \b
    Examples:
      hornet-convert cache list
      hornet-convert cache clear tiny
    """


@cache.command("path")
@options.cache
def show_path(cache: Cache) -> int:
    """Print the folder of the cache.

    \b
    Example:
      du -sh "$(hornet-convert cache path)"
    """
    click.echo(cache.folder)
    return 0


@cache.command("list")
@options.cache
@options.as_json
def list_files(cache: Cache, as_json: bool) -> int:
    """Show what is kept, from where, and how much it takes.

    \b
    Example:
      hornet-convert cache list
    """
    from hornet_convert.download.cache import CONVERTED

    files = [
        {
            "kind": CONVERTED if path.parent.name == CONVERTED else "download",
            "model": entry.model,
            "source": entry.source,
            "url": entry.url,
            "path": str(path),
            "size": entry.size,
            "sha256": entry.sha256,
            "problem": entry.problem or None,
        }
        for entry, path in cache.entries()
    ]
    if as_json:
        held = cache.usage()
        unfinished = {"count": held.parts, "bytes": held.part_bytes}
        output.print_json({"cache": str(cache.folder), "files": files, "unfinished": unfinished})
        return 0
    for file in files:
        model, digest, url, path, problem = (
            printable(str(file[name]), 4096)
            for name in ("model", "sha256", "url", "path", "problem")
        )
        origin = "converted from " if file["kind"] == CONVERTED else ""
        click.echo(f"{model}  {file['size']:,} bytes  {digest}  {origin}{url}\n  {path}")
        if file["problem"]:
            click.echo(f"  set aside: {problem}")
    click.echo(options.cache_line(cache, "now"))
    return 0


@cache.command()
@options.cache
def verify(cache: Cache) -> int:
    """Read every kept file again and compare its SHA-256 with the recorded one.

    \b
    Example:
      hornet-convert cache verify
    """
    wrong = 0
    for _, path, problem in cache.verify():
        line = f"{path}: {problem}" if problem else str(path)
        click.echo(f"{'FAIL' if problem else 'pass'}  {printable(line, 8192)}")
        wrong += problem is not None
    if wrong:
        click.echo("`hornet-convert fetch` downloads a wrong file again.", err=True)
    return 1 if wrong else 0


@cache.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@options.cache
def clear(names: tuple[str, ...], cache: Cache) -> int:
    """Remove kept files, unfinished downloads and converted models: all, or of the models named.

    \b
    Example:
      hornet-convert cache clear tiny
    """
    models = [model.name for model in options.chosen(names, every=False)] if names else [None]
    return _removed(cache, [cache.clear(model) for model in models])


@cache.command()
@options.cache
def prune(cache: Cache) -> int:
    """Remove what no run will use: leftovers of killed runs, files set aside, and of no record.

    Good files, converted models and unfinished downloads stay.

    \b
    Example:
      hornet-convert cache prune
    """
    return _removed(cache, [cache.prune()])


def _removed(cache: Cache, gone: list[Usage]) -> int:
    count = sum(usage.files + usage.parts for usage in gone)
    click.echo(f"{count} removed, {sum(u.bytes + u.part_bytes for u in gone):,} bytes freed")
    click.echo(options.cache_line(cache, "now"))
    return 0
