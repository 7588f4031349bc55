"""Changes to checkpoints: of their bytes, opcode by opcode, and of the fields of each container."""

from __future__ import annotations

import random
from collections.abc import Callable

from fuzz import fragments
from hornet_convert.checkpoint.pickle_stream import OPCODES, Stream
from hornet_convert.errors import MalformedError

MAX_SIZE = 32 << 10  # bytes of a mutated file
_NUMBERS = (0, 1, 7, 8, 63, 64, 127, 128, 255, 256, 1 << 15, 1 << 31, (1 << 32) - 1, (1 << 63) - 1)


def _replace(data: bytearray, r: random.Random) -> None:
    data[r.randrange(len(data))] = r.choice((*OPCODES, r.randrange(256)))


def _nudge(data: bytearray, r: random.Random) -> None:
    """Change a small number or a digit, which most counts here are made of."""
    where = r.randrange(len(data))
    data[where] = (data[where] + r.choice((-1, 1, 2, -2, 1 << r.randrange(8)))) % 256


def _number(data: bytearray, r: random.Random) -> None:
    width = r.choice((1, 2, 4, 8))
    value = (r.choice(_NUMBERS) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    where = r.randrange(len(data))
    data[where : where + width] = value[: len(data) - where]


def _insert(data: bytearray, r: random.Random) -> None:
    where = r.randrange(len(data) + 1)
    new = r.choice((r.randbytes(r.randrange(1, 9)), bytes(r.choices([*OPCODES], k=2))))
    data[where:where] = new


def _delete(data: bytearray, r: random.Random) -> None:
    where = r.randrange(len(data))
    del data[where : where + r.randrange(1, 17)]


def _copy(data: bytearray, r: random.Random) -> None:
    start, where, length = r.randrange(len(data)), r.randrange(len(data)), r.randrange(1, 65)
    part = data[start : start + length]
    data[where : where + r.choice((0, len(part)))] = part


def _cut(data: bytearray, r: random.Random) -> None:
    del data[r.randrange(len(data)) :]


_OF_BYTES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_replace, _replace, _nudge, _nudge, _nudge, _number, _insert, _delete, _copy, _cut),
)


def in_bytes(data: bytes, r: random.Random) -> bytes:
    """One to five random changes of bytes."""
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 1, 2, 2, 3, 5))):
        if changed:
            r.choice(_OF_BYTES)(changed, r)
    return bytes(changed)


def opcodes(data: bytes) -> list[bytes]:
    """A pickle as its opcodes with their arguments, to its end or as far as there are any."""
    stream = Stream(lambda at, count: data[at : at + count], 0, len(data))
    parts: list[bytes] = []
    try:
        while not parts or parts[-1] != b".":
            start = stream.tell()
            code = stream.opcode()
            if code not in OPCODES:
                break
            if (read := OPCODES[code][1]) is not None:
                read(stream)
            parts.append(data[start : stream.tell()])
    except MalformedError:
        pass
    return parts


def in_pickle(data: bytes, r: random.Random, extra: tuple[bytes, ...]) -> bytes:
    """One to four changes of opcodes; now and then another pickle altogether."""
    if r.random() < 0.25:
        return fragments.body(r, extra)
    parts = opcodes(data)
    for _ in range(r.choice((1, 1, 1, 2, 2, 3, 4))):
        if len(parts) < 3:
            return fragments.body(r, extra)
        _in_opcodes(parts, r, extra)
    return b"".join(parts)


def _in_opcodes(parts: list[bytes], r: random.Random, extra: tuple[bytes, ...]) -> None:
    at, other = r.randrange(len(parts)), r.randrange(len(parts))
    scalars = [
        i for i, part in enumerate(parts) if part[:1] and part[0] in b"KMJNXU\x8c\x8aI\x88\x89"
    ] or [at]
    match r.randrange(10):
        case 0:
            del parts[at]
        case 1:
            parts.insert(at, parts[other])
        case 2:
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            code = r.choice([code for code, (op, _) in OPCODES.items() if op.arg is None])
            parts.insert(at, bytes((code,)))
        case 4:
            index = r.randrange(4)
            put, get = (b"q%c" % index, b"h%c" % index) if r.random() < 0.7 else (b"\x94", b"h\0")
            parts.insert(at, r.choice((put, get, b"p%d\n" % index, b"g%d\n" % index)))
        case 5:
            start, length = sorted((at, other)), r.randrange(1, 30)
            parts[start[1] : start[1]] = parts[start[0] : start[0] + length]
        case 6:
            parts[at] = in_bytes(parts[at], r)
        case 7:
            parts[r.choice(scalars)] = fragments.value(r, extra, 2)
        case 8:
            make = (fragments.number, fragments.word, fragments.name)
            parts[r.choice(scalars)] = r.choice(make)(r)
        case 9:
            names = [i for i, part in enumerate(parts) if part[:1] == b"c"] or [at]
            parts[r.choice(names)] = fragments.name(r)
