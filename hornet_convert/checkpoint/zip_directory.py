"""A strict reader of zip directories, as torch and miniz write them.

Source: APPNOTE.TXT 6.3.10 (the zip format, with zip64). Strict means: the
entries follow each other from byte 0 without gap or overlap, then the directory, then its end
records, then nothing; each entry's own header says what the directory says.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Final

from hornet_convert.checkpoint.files import read_at
from hornet_convert.errors import MalformedError, UnsupportedError, printable

MAX_ENTRIES: Final = 1_000_000

_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _HAS_DESCRIPTOR = 0x0001 | 0x0040 | 0x2000, 0x0008


@dataclass(frozen=True)
class Entry:
    """One stored file of the archive: `offset` and `nbytes` of its data in the whole file."""

    name: str
    header: int
    offset: int
    nbytes: int
    crc32: int


def read_directory(file: io.FileIO, size: int) -> dict[str, Entry]:
    """Every entry of the archive by name.

    Raises MalformedError where the archive contradicts itself, UnsupportedError for compression and
    encryption, which torch does not write.
    """
    start, length, count = _find_directory(file, size)
    directory = read_at(file, start, length)
    entries: dict[str, Entry] = {}
    folded: set[str] = set()
    position = 0
    for _ in range(count):
        row, position = _directory_row(directory, position)
        if row.name in entries:
            raise MalformedError(
                "the zip archive has two entries of one name", found=_show(row.name)
            )
        # torch's zip reader (miniz) looks names up without regard to case: it may take either.
        if (name := row.name.casefold()) in folded:
            raise MalformedError(
                "the zip archive has two entries whose names differ in case only",
                found=_show(row.name),
            )
        folded.add(name)
        entries[row.name] = row
    if position != length:
        raise MalformedError("the zip directory is longer than its entries")
    ordered = sorted(entries.values(), key=lambda entry: entry.header)
    edges = [*(entry.header for entry in ordered), start]
    if edges[0]:
        raise MalformedError(
            "something stands before the zip archive",
            expected="its first entry at byte 0",
            found=f"byte {edges[0]}",
            hint="torch writes no such bytes: get the file from its source again.",
        )
    located = {
        entry.name: _locate(file, entry, after)
        for entry, after in zip(ordered, edges[1:], strict=True)
    }
    return {name: located[name] for name in entries}


def _find_directory(file: io.FileIO, size: int) -> tuple[int, int, int]:
    """(offset, bytes, entries) of the directory."""
    if size < _END.size:
        raise MalformedError("the zip archive is cut off", expected="an end record")
    end = size - _END.size
    record = _END.unpack(read_at(file, end, _END.size))
    if record[0] != b"PK\x05\x06":
        raise _no_end_record(file, size)
    _, disk, first_disk, here, count, length, start, comment = record
    if comment:
        raise MalformedError("the zip archive has a comment that is cut off")
    if disk != first_disk or disk not in (0, 0xFFFF):
        raise UnsupportedError("a zip archive in several parts")
    locator_at = end - _LOCATOR.size
    if locator_at >= 0:
        locator = _LOCATOR.unpack(read_at(file, locator_at, _LOCATOR.size))
        if locator[0] == b"PK\x06\x07":
            return _find_directory64(file, locator, locator_at, (here, count, length, start))
    if 0xFFFF in (here, count) or 0xFFFFFFFF in (length, start):
        raise MalformedError("the zip archive lacks its zip64 end record")
    return _checked_directory(start, length, count, here, end)


def _find_directory64(
    file: io.FileIO,
    locator: tuple[bytes, int, int, int],
    locator_at: int,
    short: tuple[int, int, int, int],
) -> tuple[int, int, int]:
    _, disk, end64, disks = locator
    if disk or disks > 1:
        raise UnsupportedError("a zip archive in several parts")
    if end64 + _END64.size != locator_at:
        raise MalformedError(
            "the zip64 end record does not stand before its locator",
            expected=f"byte {locator_at - _END64.size}",
            found=f"byte {end64}",
        )
    record = _END64.unpack(read_at(file, end64, _END64.size))
    magic, length64, _, _, disk, first_disk, here, count, length, start = record
    if magic != b"PK\x06\x06" or length64 != _END64.size - 12 or disk or first_disk:
        raise MalformedError("the zip64 end record is broken")
    limits = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    for value, value64, limit in zip(short, (here, count, length, start), limits, strict=True):
        if value not in (limit, value64):
            raise MalformedError("the two end records of the zip archive disagree")
    return _checked_directory(start, length, count, here, end64)


def _checked_directory(
    start: int, length: int, count: int, here: int, after: int
) -> tuple[int, int, int]:
    if here != count or count > MAX_ENTRIES or count * _ENTRY.size > length:
        raise MalformedError("the zip directory cannot hold as many entries as it claims")
    if start + length != after:
        raise MalformedError(
            "the zip directory does not end where its end record starts",
            expected=f"byte {after}",
            found=f"byte {start + length}",
            hint="The file is cut, or something was put before or after it: fetch it again.",
        )
    return start, length, count


def _no_end_record(file: io.FileIO, size: int) -> MalformedError:
    """Why there is none: cut off, or followed by a comment or other bytes."""
    tail_at = max(size - (1 << 16) - _END.size, 0)
    tail = read_at(file, tail_at, size - tail_at)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0:
        return MalformedError(
            "the zip archive has no end record: the file is cut off",
            hint="Fetch it again.",
        )
    extra = size - (tail_at + found) - _END.size
    return MalformedError(
        "something follows the zip archive",
        expected="its end record as the last bytes, without a comment",
        found=f"{max(extra, 0)} more bytes",
        hint="torch writes no such bytes: get the file from its source again.",
    )


def _directory_row(directory: bytes, position: int) -> tuple[Entry, int]:
    if position + _ENTRY.size > len(directory):
        raise MalformedError("the zip directory is cut off")
    fields = _ENTRY.unpack_from(directory, position)
    magic, _, _, flags, method, _, _, crc32, packed, nbytes = fields[:10]
    name_length, extra_length, comment_length, disk, _, _, header = fields[10:]
    if magic != b"PK\x01\x02":
        raise MalformedError("the zip directory is broken", where=f"byte {position} of it")
    name_end = position + _ENTRY.size + name_length
    end = name_end + extra_length + comment_length
    if end > len(directory):
        raise MalformedError("the zip directory is cut off")
    name = _decoded(directory[name_end - name_length : name_end])
    _check_kind(name, flags, method)
    extra = directory[name_end : name_end + extra_length]
    nbytes, packed, header = _zip64(extra, (nbytes, packed, header), name)
    if disk not in (0, 0xFFFF) or packed != nbytes:
        raise MalformedError("a stored zip entry with two sizes", where=_show(name))
    return Entry(name, header, 0, nbytes, crc32), end


def _locate(file: io.FileIO, row: Entry, after: int) -> Entry:
    """The entry with the place of its data; the next header, or the directory, is at `after`."""
    raw_name = row.name.encode()
    data_at = row.header + _LOCAL.size + len(raw_name)
    if data_at > after:
        raise _overlap(row.name)
    local = read_at(file, row.header, data_at - row.header)
    fields = _LOCAL.unpack_from(local)
    magic, _, flags, method, _, _, crc32, packed, nbytes, name_length, extra_length = fields
    if magic != b"PK\x03\x04" or name_length != len(raw_name) or local[_LOCAL.size :] != raw_name:
        raise _disagree(row.name)
    _check_kind(row.name, flags, method)
    data_end = data_at + extra_length + row.nbytes
    if data_end > after:
        raise _overlap(row.name)
    if 0xFFFFFFFF in (nbytes, packed):
        extra = read_at(file, data_at, extra_length)
        nbytes, packed, _ = _zip64(extra, (nbytes, packed, 0), row.name)
    sizes = (crc32, packed, nbytes)
    described = bool(flags & _HAS_DESCRIPTOR)
    if sizes != (row.crc32, row.nbytes, row.nbytes) and not (described and sizes == (0, 0, 0)):
        raise _disagree(row.name)
    gap = after - data_end
    allowed = _descriptors(row) if described else (b"",)
    if gap > 24 or read_at(file, data_end, gap) not in allowed:
        raise MalformedError(
            "something that belongs to no entry stands within the zip archive",
            where=f"byte {data_end}, after {_show(row.name)}",
        )
    return Entry(row.name, row.header, data_at + extra_length, row.nbytes, row.crc32)


def _descriptors(row: Entry) -> tuple[bytes, ...]:
    """What may follow the data of an entry: checksum and sizes, 32 or 64 bits wide.

    torch leaves it out after an empty entry.
    """
    wide = struct.pack("<L2Q", row.crc32, row.nbytes, row.nbytes)
    forms = [wide, b"PK\x07\x08" + wide]
    if row.nbytes <= 0xFFFFFFFF:
        narrow = struct.pack("<3L", row.crc32, row.nbytes, row.nbytes)
        forms += [narrow, b"PK\x07\x08" + narrow]
    return (*forms, b"") if row.nbytes == 0 else tuple(forms)


def _zip64(extra: bytes, values: tuple[int, int, int], name: str) -> tuple[int, int, int]:
    """(size, packed size, header offset) with the 32-bit maxima replaced from the extra field."""
    if 0xFFFFFFFF not in values:
        return values
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        body = extra[position + 4 : position + 4 + length]
        if kind == 0x0001:
            wide = [int.from_bytes(body[i : i + 8], "little") for i in range(0, len(body) - 7, 8)]
            if len(wide) < sum(value == 0xFFFFFFFF for value in values):
                break
            size, packed, header = (wide.pop(0) if v == 0xFFFFFFFF else v for v in values)
            return size, packed, header
        position += 4 + length
    raise MalformedError("a zip entry lacks its zip64 sizes", where=_show(name))


def _check_kind(name: str, flags: int, method: int) -> None:
    if flags & _ENCRYPTED:
        raise UnsupportedError("an encrypted zip entry", where=_show(name))
    if method:
        raise UnsupportedError(
            "a compressed zip entry",
            where=_show(name),
            expected="stored entries, as torch.save writes them",
            hint="Load it with torch where you trust it, and save it again.",
        )


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a zip entry whose name is not UTF-8", found=repr(raw[:80])) from error


def _overlap(name: str) -> MalformedError:
    return MalformedError(
        "a zip entry reaches into what follows it", where=_show(name), hint="Fetch the file again."
    )


def _disagree(name: str) -> MalformedError:
    return MalformedError(
        "a zip entry's own header disagrees with the zip directory", where=_show(name)
    )


def _show(name: str) -> str:
    return f"zip entry {printable(name)!r}"
