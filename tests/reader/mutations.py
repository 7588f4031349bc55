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
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FrameType

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import HornetConvertError
from tests.reader.assemble import Entry, Zip

MEMORY = 400 << 20  # bytes of address space beyond what the interpreter and numpy take
SECONDS = 20
INTERESTING = [
    *(0, 1, 7, 8, 63, 64, 127, 128, 255, 256),
    *(1 << 15, 1 << 31, (1 << 32) - 1, (1 << 63) - 1),
]
OPCODES = (
    b"(.012FIJKLMNPQRSTUVXabcd}eghijl]opqrstu)G\x80\x81\x82\x85\x88\x8a\x8b\x8c\x8f\x90\x93\x94\x95"
)

Mutation = Callable[[bytearray, random.Random], None]


def _flip(data: bytearray, r: random.Random) -> None:
    data[r.randrange(len(data))] ^= 1 << r.randrange(8)


def _byte(data: bytearray, r: random.Random) -> None:
    data[r.randrange(len(data))] = r.randrange(256)


def _digit(data: bytearray, r: random.Random) -> None:
    """Change a small number or a digit, which most counts here are made of."""
    where = r.randrange(len(data))
    data[where] = (data[where] + r.choice((-1, 1, 2, -2))) % 256


def _opcode(data: bytearray, r: random.Random) -> None:
    data[r.randrange(len(data))] = r.choice(OPCODES)


def _number(data: bytearray, r: random.Random) -> None:
    width = r.choice((1, 2, 4, 8))
    value = (r.choice(INTERESTING) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    where = r.randrange(len(data))
    data[where : where + width] = value[: len(data) - where]


def _insert(data: bytearray, r: random.Random) -> None:
    where = r.randrange(len(data) + 1)
    data[where:where] = r.randbytes(r.randrange(1, 9))


def _insert_opcodes(data: bytearray, r: random.Random) -> None:
    where = r.randrange(len(data) + 1)
    data[where:where] = bytes(r.choices(OPCODES, k=r.randrange(1, 4)))


def _delete(data: bytearray, r: random.Random) -> None:
    where = r.randrange(len(data))
    del data[where : where + r.randrange(1, 17)]


def _copy(data: bytearray, r: random.Random) -> None:
    start, where, length = r.randrange(len(data)), r.randrange(len(data)), r.randrange(1, 65)
    part = data[start : start + length]
    if r.random() < 0.5:
        data[where:where] = part
    else:
        data[where : where + len(part)] = part


def _cut(data: bytearray, r: random.Random) -> None:
    del data[r.randrange(len(data)) :]


def _append(data: bytearray, r: random.Random) -> None:
    data += r.randbytes(r.randrange(1, 40))


MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _flip, _byte, _byte, _digit, _digit, _digit, _opcode, _opcode, _number, _number),
    *(_insert, _insert_opcodes, _delete, _copy, _copy, _cut, _append),
)


def mutated(data: bytes, r: random.Random) -> bytes:
    """One to five random changes."""
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 1, 2, 2, 3, 5))):
        if changed:
            r.choice(MUTATIONS)(changed, r)
    return bytes(changed)


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
        return mutated(data, r)
    entries = [
        Entry(name, mutated(content, r) if name.endswith("/data.pkl") else content)
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
