"""Checkpoints put together byte by byte, so that tests can put in what no library would write.

Pickle pieces are bytes to be joined; `zip_file` and `legacy_file` make whole files of them.
"""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MAGIC = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    """A string."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    """An integer of any size up to 255 bytes."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes((len(raw),)) + raw


def named(module: str, name: str) -> bytes:
    """A name to import."""
    return f"c{module}\n{name}\n".encode()


def items(*pairs: tuple[bytes, bytes]) -> bytes:
    """A dict."""
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def row(*values: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(values) + b"t"


def integers(values: Iterable[int]) -> bytes:
    """A tuple of integers."""
    return row(*map(integer, values))


def call(function: bytes, *args: bytes) -> bytes:
    """A function called."""
    return function + row(*args) + b"R"


def storage(
    key: str, numel: int, kind: str = "torch\nFloatStorage", extra: Sequence[bytes] = ()
) -> bytes:
    """A persistent id; `extra` is (b"N",) in legacy files, where a view may stand."""
    parts = (text("storage"), f"c{kind}\n".encode(), text(key), text("cpu"), integer(numel))
    return row(*parts, *extra) + b"Q"


def tensor(
    where: bytes, shape: Sequence[int], strides: Sequence[int], first: int = 0, flags: bytes = b""
) -> bytes:
    """A dense tensor over a storage."""
    hooks = call(named("collections", "OrderedDict"))
    parts = (where, integer(first), integers(shape), integers(strides), b"\x89", hooks, flags)
    return call(named("torch._utils", "_rebuild_tensor_v2"), *parts)


def pickled(body: bytes) -> bytes:
    """A whole pickle of protocol 2."""
    return b"\x80\x02" + body + b"."


@dataclass
class Entry:
    """One zip entry. Whatever is given overrides what would be right."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    local_name: str | None = None
    local_crc: int | None = None
    local_size: int | None = None
    before: bytes = b""
    header: int | None = None
    attributes: int = 0
    comment: bytes = b""
    extra: bytes = b""
    local_extra: bytes = b""
    descriptor: bytes = b""


@dataclass
class Zip:
    """A zip archive. `comment`, `before` and `after` are junk; the rest overrides what is right."""

    entries: list[Entry] = field(default_factory=list)
    before: bytes = b""
    after: bytes = b""
    comment: bytes = b""
    gap: bytes = b""
    count: int | None = None
    directory_shift: int = 0

    def build(self) -> bytes:
        """The bytes of the archive."""
        out = bytearray(self.before)
        directory = bytearray()
        for entry in self.entries:
            out += entry.before
            header = len(out) if entry.header is None else entry.header
            crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
            size = len(entry.data) if entry.size is None else entry.size
            local = (entry.local_name or entry.name).encode()
            local_size = size if entry.local_size is None else entry.local_size
            local_crc = crc if entry.local_crc is None else entry.local_crc
            out += struct.pack("<4s5H", b"PK\3\4", 20, entry.flags, entry.method, 0, 0)
            out += struct.pack(
                "<3L2H", local_crc, local_size, local_size, len(local), len(entry.local_extra)
            )
            out += local + entry.local_extra + entry.data + entry.descriptor
            name = entry.name.encode()
            directory += struct.pack("<4s6H", b"PK\1\2", 20, 20, entry.flags, entry.method, 0, 0)
            lengths = len(name), len(entry.extra), len(entry.comment)
            directory += struct.pack(
                "<3L5H2L", crc, size, size, *lengths, 0, 0, entry.attributes, header
            )
            directory += name + entry.extra + entry.comment
        out += self.gap
        start = len(out) + self.directory_shift
        count = len(self.entries) if self.count is None else self.count
        end = struct.pack(
            "<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, len(self.comment)
        )
        return bytes(out + directory + end + self.comment + self.after)


def zip_entries(body: bytes, storages: dict[str, bytes], byteorder: str = "little") -> list[Entry]:
    """What torch puts into a zip file, the pickle's body given."""
    return [
        Entry("archive/data.pkl", pickled(body)),
        Entry("archive/byteorder", byteorder.encode()),
        *(Entry(f"archive/data/{key}", data) for key, data in storages.items()),
        Entry("archive/version", b"3\n"),
    ]


def zip_file(body: bytes, storages: dict[str, bytes], byteorder: str = "little") -> bytes:
    """A zip checkpoint."""
    return Zip(zip_entries(body, storages, byteorder)).build()


def legacy_file(
    body: bytes,
    storages: dict[str, tuple[int, bytes]],
    keys: object = None,
    magic: int = MAGIC,
    protocol: int = 1001,
) -> bytes:
    """A legacy checkpoint; each storage is its count of elements and its bytes."""
    info = {"protocol_version": 1001, "little_endian": True}
    head = b"".join(pickle.dumps(value, 2) for value in (magic, protocol, info))
    names = sorted(storages) if keys is None else keys
    data = b"".join(
        struct.pack("<q", storages[key][0]) + storages[key][1] for key in sorted(storages)
    )
    return head + pickled(body) + pickle.dumps(names, 2) + data
