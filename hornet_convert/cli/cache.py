"""The cache: `cache path|list|verify|clear|prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hornet_convert.cli import asked, options, output
from hornet_convert.errors import EXIT_DISK
from hornet_convert.text import counted, printable

if TYPE_CHECKING:
    from hornet_convert.download.cache import Cache, Usage


@click.group()
def cache() -> None:
    """Manage the cache.

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
    """List the files in the cache, with their source and size.

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
            click.echo(f"  rejected: {problem}")
    click.echo(asked.cache_line(cache, "now"))
    return 0


@cache.command()
@options.cache
def verify(cache: Cache) -> int:
    """Compare every cached file with its recorded SHA-256.

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
        click.echo(
            "To download a wrong file again: `hornet-convert fetch NAME --refetch`.", err=True
        )
    return 1 if wrong else 0


@cache.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@options.cache
def clear(names: tuple[str, ...], cache: Cache) -> int:
    """Empty the cache, or remove what it holds of the models named.

    \b
    Example:
      hornet-convert cache clear tiny
    """
    models = [model.name for model in asked.chosen(names, every=False)] if names else [None]
    return _removed(cache, [cache.clear(model) for model in models])


@cache.command()
@options.cache
def prune(cache: Cache) -> int:
    """Remove what no run will use.

    That is leftovers of killed runs, and rejected or unrecorded files. Good files, converted
    models and unfinished downloads are kept.

    \b
    Example:
      hornet-convert cache prune
    """
    return _removed(cache, [cache.prune()])


def _removed(cache: Cache, gone: list[Usage]) -> int:
    count = sum(usage.files + usage.parts for usage in gone)
    freed = sum(usage.bytes + usage.part_bytes for usage in gone)
    click.echo(f"{counted(count, 'file')} removed, {freed:,} bytes freed")
    click.echo(asked.cache_line(cache, "now"))
    left = [line for usage in gone for line in usage.left]
    for line in left:
        click.echo(f"not removed: {printable(line, 8192)}", err=True)
    return EXIT_DISK if left else 0
