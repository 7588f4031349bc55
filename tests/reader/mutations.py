"""Broken copies of small checkpoints, and what reading each of them comes to. No torch in here.

Run as a program, this reads a series of them under a memory limit and a time limit each, and
prints one JSON line for each that was not refused, or that ended in anything but a refusal.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import resource
import signal
import sys
import time
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from types import FrameType

from fuzz.mutate import in_bytes
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import HornetConvertError
from tests.reader.assemble import Entry, Zip

MEMORY = 400 << 20  # bytes of address space beyond what the interpreter and numpy take
SECONDS = 20


@lru_cache
def _entries(data: bytes) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return tuple((entry.filename, archive.read(entry)) for entry in archive.infolist())


def broken(base: Path, seed: int, number: int) -> bytes:
    """The `number`-th broken copy of a file; of every second zip file, only its pickle is broken.

    The checksum of such a pickle is right again, so that the reader gets to see it.
    """
    r = random.Random(f"{base.name} {seed} {number}")
    data = base.read_bytes()
    if base.suffix != ".zip" or number % 2 == 0:
        return in_bytes(data, r)
    entries = [
        Entry(name, in_bytes(content, r) if name.endswith("/data.pkl") else content)
        for name, content in _entries(data)
    ]
    return Zip(entries).build()


def outcome(path: Path) -> dict[str, object]:
    """What reading a whole file comes to: a refusal, damage found by its checksums, or tensors."""
    try:
        with open_checkpoint(path) as checkpoint:
            found = select_state_dict(checkpoint.root)
            digest = hashlib.sha256()
            damaged = False
            for name, tensor in sorted(found.tensors.items()):
                raw = checkpoint.read(tensor).tobytes()
                digest.update(repr((name, tensor.dtype.torch, tensor.shape)).encode() + raw)
                storage = tensor.storage
                if storage.crc32 is not None:
                    checkpoint.file.seek(storage.offset)
                    data = checkpoint.file.read(storage.nbytes)
                    damaged = damaged or zlib.crc32(data) != storage.crc32
    except HornetConvertError as error:
        if not str(error).isprintable():
            raise ValueError("a message that is not fit to print") from error
        return {"result": "refused", "code": error.code}
    if damaged:
        return {"result": "damaged"}
    return {
        "result": "read",
        "digest": digest.hexdigest(),
        "wrapper": found.wrapper,
        "prefix": found.prefix,
    }


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def main(folder: str, seed: str, first: str, last: str) -> None:
    """Read the broken copies `first` to `last` of every file in a folder."""
    import numpy as np

    assert "torch" not in sys.modules
    np.zeros(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, _too_long)
    bases = sorted(path for path in Path(folder).iterdir() if path.suffix in SUFFIXES)
    path = Path(folder) / f"broken-{first}"
    for number in range(int(first), int(last)):
        base = bases[number % len(bases)]
        path.write_bytes(broken(base, int(seed), number))
        start = time.perf_counter()
        signal.alarm(SECONDS)
        try:
            found = outcome(path)
        except BaseException as error:
            found = {"result": "failed", "error": f"{type(error).__name__}: {error}"}
        signal.alarm(0)
        found |= {"base": base.name, "number": number, "seconds": time.perf_counter() - start}
        print(json.dumps(found), flush=True)
    path.unlink()


SUFFIXES = (".zip", ".legacy", ".safetensors")

if __name__ == "__main__":
    main(*sys.argv[1:])
