"""The cache: `cache path|list|verify|clear|prune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hornet_convert.cli import asked, completion, options, output
from hornet_convert.errors import DiskError
from hornet_convert.report.check import Check, failed, passed
from hornet_convert.report.document import result, worst_exit_code
from hornet_convert.text import counted, printable

if TYPE_CHECKING:
    from hornet_convert.download.cache import Cache, CacheEntry, Usage
    from hornet_convert.report.results import CachedResult, CacheFacts, FreedResult


_LEFT: Final = (
    "What a run is using can be removed when it is done; what another user made, by that user."
)


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
@options.as_json
def show_path(cache: Cache, as_json: bool) -> int:
    """Print the folder of the cache.

    \b
    Example:
      du -sh "$(hornet-convert cache path)"
    """
    if as_json:
        return output.print_document([], about=_facts(cache))
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
    files = [_row(entry, path, entry.problem or None) for entry, path in cache.entries()]
    if as_json:
        return output.print_document(files, about=_facts(cache))
    for file in files:
        told = (file["model"], file["sha256"], file["url"], file["path"], str(file["problem"]))
        model, digest, url, path, problem = (printable(text, 4096) for text in told)
        origin = "" if file["kind"] == "download" else "converted from "
        click.echo(f"{model}  {file['size']:,} bytes  {digest}  {origin}{url}\n  {path}")
        if file["problem"]:
            click.echo(f"  rejected: {problem}")
    click.echo(asked.cache_line(cache, "now"))
    return 0


def _row(
    entry: CacheEntry, path: Path, problem: str | None, checks: Sequence[Check] = ()
) -> CachedResult:
    """A file in the cache as a result; what is wrong with it is no error of the listing."""
    from hornet_convert.download.cache import CONVERTED

    return {
        **result(str(path), checks=checks),
        "kind": "converted" if path.parent.name == CONVERTED else "download",
        "model": entry.model,
        "source": entry.source,
        "url": entry.url,
        "path": str(path),
        "size": entry.size,
        "sha256": entry.sha256,
        "problem": problem,
    }


def _facts(cache: Cache) -> CacheFacts:
    held = cache.usage()
    return {
        "cache": str(cache.folder),
        "files": held.files,
        "bytes": held.bytes,
        "unfinished": held.parts,
        "unfinished_bytes": held.part_bytes,
    }


@cache.command()
@options.cache
@options.as_json
def verify(cache: Cache, as_json: bool) -> int:
    """Compare every cached file with its recorded SHA-256.

    \b
    Example:
      hornet-convert cache verify
    """
    results = []
    for entry, path, problem in cache.verify():
        good = passed("checksum", f"SHA-256 {entry.sha256}, as recorded")
        row = good if problem is None else failed("checksum", problem)
        results.append(_row(entry, path, problem, [row]))
        if not as_json:
            line = f"{path}: {problem}" if problem else str(path)
            click.echo(f"{'FAIL' if problem else 'pass'}  {printable(line, 8192)}")
    if as_json:
        return output.print_document(results, about=_facts(cache))
    code = worst_exit_code(row["exit_code"] for row in results)
    if code:
        click.echo(
            "To download a wrong file again: `hornet-convert fetch NAME --refetch`.", err=True
        )
    return code


@cache.command()
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=completion.names)
@options.cache
@options.as_json
def clear(names: tuple[str, ...], cache: Cache, as_json: bool) -> int:
    """Empty the cache, or remove what it holds of the models named.

    \b
    Example:
      hornet-convert cache clear tiny
    """
    models = [model.name for model in asked.chosen(names, every=False)] if names else [None]
    return _removed(cache, {model: cache.clear(model) for model in models}, as_json)


@cache.command()
@options.cache
@options.as_json
def prune(cache: Cache, as_json: bool) -> int:
    """Remove what no run will use.

    That is leftovers of killed runs, and rejected or unrecorded files. Good files, converted
    models and unfinished downloads are kept.

    \b
    Example:
      hornet-convert cache prune
    """
    return _removed(cache, {None: cache.prune()}, as_json)


def _removed(cache: Cache, gone: Mapping[str | None, Usage], as_json: bool) -> int:
    def unfinished(left: Sequence[str]) -> DiskError | None:
        found = "; ".join(left)
        error = DiskError("not everything could be removed", found=found, hint=_LEFT)
        return error if left else None

    results: list[FreedResult] = [
        {
            **result(model or "all", error=unfinished(usage.left)),
            "model": model,
            "files": usage.files + usage.parts,
            "bytes": usage.bytes + usage.part_bytes,
        }
        for model, usage in gone.items()
    ]
    if as_json:
        return output.print_document(results, about=_facts(cache))
    count, freed = (sum(row["files"] for row in results), sum(row["bytes"] for row in results))
    click.echo(f"{counted(count, 'file')} removed, {freed:,} bytes freed")
    click.echo(asked.cache_line(cache, "now"))
    problem = unfinished([line for usage in gone.values() for line in usage.left])
    return output.with_problems(0, [problem] if problem else [])
