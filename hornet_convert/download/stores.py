"""Mirrors that other libraries ask: the Hugging Face Hub, and whatever store fsspec knows.

Both are optional: `pip install 'hornet-convert[hub]'`, `'hornet-convert[stores]'`.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

from hornet_convert.download.edges import MIB, Edges
from hornet_convert.download.following import Follower
from hornet_convert.download.http import FaultError
from hornet_convert.download.partfile import Origin, PartFile
from hornet_convert.download.sources import Source, without_secrets
from hornet_convert.download.transfer import Arrived, Asked, Report
from hornet_convert.errors import HornetConvertError, UsageError
from hornet_convert.text import printable

HUB: Final = "hf"
_NEEDS: Final = {True: ("huggingface_hub", "hub"), False: ("fsspec", "stores")}


def require_stores(sources: Sequence[Source]) -> None:
    """Raise UsageError for a mirror that no library here can ask: a slip of the pen, mostly."""
    for source in sources:
        if source.store is None:
            continue
        library, extra = _NEEDS[source.store == HUB]
        if importlib.util.find_spec(library) is None:
            raise UsageError(
                f"a mirror at {source.store}:// needs {library}, which is not installed",
                where=f"--mirror {source.location}",
                hint=f"Install it with: pip install 'hornet-convert[{extra}]'.",
            )
        if source.store != HUB:
            from fsspec import get_filesystem_class

            try:
                get_filesystem_class(source.store)
            except (ValueError, ImportError) as error:
                raise UsageError(
                    f"a mirror at {source.store}:// cannot be asked",
                    where=f"--mirror {source.location}",
                    found=printable(str(error), 200),
                    hint="Check how it begins, or install what fsspec needs for it.",
                ) from error


def from_hub(source: Source, file: str, edges: Edges, *, offline: bool, force: bool) -> Path | None:
    """A file of a repository, in the Hub's own cache; None if the repository has no such file.

    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE count as ever. Raises FaultError.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    repository, _, revision = source.address.partition("://")[2].partition("@")
    with _faults(source):
        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    repository,
                    file,
                    revision=revision or None,
                    local_files_only=offline,
                    force_download=force,
                    etag_timeout=edges.limits.timeout,
                )
            )
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError) and not offline:
                raise
            return None


def small_file(source: Source, file: str, limit: int) -> bytes | None:
    """The first bytes of a short file of a store; None if it has none. Raises FaultError."""
    with _faults(source):
        try:
            store, path = _store(source.url_of(file))
            with store.open(path, "rb") as opened:
                text: bytes = opened.read(limit)
                return text
        except FileNotFoundError:
            return None


def copy(source: Source, asked: Asked, part: PartFile, edges: Edges, report: Report) -> Arrived:
    """Bring a part file to the whole of a store's file. Raises FaultError."""
    url = without_secrets(asked.url)
    with _faults(source):
        store, path = _store(asked.url)
        size, tag = int(store.size(path)), str(store.ukey(path))
        if size > edges.limits.max_bytes:
            raise FaultError(f"{size} bytes are offered", again=False)
        if part.origin != Origin(url, tag, size) or len(part.spans) > 1:
            part.restart(Origin(url, tag, size))
        part.check_space(size)
        follower = Follower(part)
        try:
            with store.open(path, "rb") as opened:
                opened.seek(part.size)
                while data := opened.read(MIB):
                    edges.check()
                    part.append(part.spans[0], data)
                    follower.check()
                    report("downloading", part.size, size, None)
                    edges.hold_back(len(data))
            if not part.is_complete:
                raise FaultError(f"cut after {part.size} of {size} bytes", again=False)
            sha256 = follower.hexdigest(lambda done: report("hashing", done, size, None))
        finally:
            follower.stop()
    part.finish()
    return Arrived(sha256)


def _store(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    return cast("tuple[Any, str]", url_to_fs(url))


@contextlib.contextmanager
def _faults(source: Source) -> Iterator[None]:
    """Turn whatever these libraries raise into a FaultError without anything secret in it."""
    try:
        yield
    except (FaultError, HornetConvertError):
        raise
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        text = text.replace(source.address, source.location)
        reason = f"{type(error).__name__}: {printable(text, 200)}"
        raise FaultError(reason, again=False) from error
