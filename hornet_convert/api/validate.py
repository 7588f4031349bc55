"""`validate`: what CI runs. Every model through the whole of `fetch`, the results thrown away."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hornet_convert.api.fetch import Download, fetch
from hornet_convert.conversion.request import Onnx, Request
from hornet_convert.download.cache import SCRATCH
from hornet_convert.download.edges import Event, ignore
from hornet_convert.download.errors import OPTION
from hornet_convert.errors import DiskError
from hornet_convert.family import zoo
from hornet_convert.files.writing import temporary_folder
from hornet_convert.report.progress import Progress
from hornet_convert.report.report import Report


def validate(
    models: Sequence[zoo.Published],
    settings: Download,
    *,
    statistics: bool = False,
    onnx: Onnx | None = None,
    events: Callable[[Event], None] = ignore,
    progress: Callable[[str], Progress | None] = lambda name: None,
) -> Iterator[tuple[Report, float]]:
    """Fetch, convert, verify and read back each model; yields its report and the seconds it took.

    `onnx` asks for ONNX models of them, too, which are proved as well.

    The seconds are those from one report to the next: downloads run ahead of the conversions.
    """
    with contextlib.ExitStack() as stack:
        folder = _scratch_folder(stack, settings.cache.folder)
        begun = time.monotonic()
        request = Request(folder, statistics=statistics, keep=False, onnx=onnx)
        for report in fetch(models, settings, request, events=events, progress=progress):
            for path in list(folder.glob("[!.]*")):
                path.unlink()
            now = time.monotonic()
            yield report, now - begun
            begun = now


def _scratch_folder(stack: contextlib.ExitStack, cache: Path) -> Path:
    """A folder in the cache, or where that cannot be written, in the system's temporary folder."""
    try:
        return stack.enter_context(temporary_folder(cache, SCRATCH, OPTION))
    except DiskError:
        return stack.enter_context(temporary_folder(Path(tempfile.gettempdir()), SCRATCH))
