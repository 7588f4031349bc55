"""The directory of a zip archive, read by zipfile and held to the form that torch writes.

The entries follow each other from byte 0 without gap or overlap, then the directory, then its end
records, then nothing; each entry is stored, and its own header says what the directory says.
zipfile checks none of that. Source: APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hornet_convert.checkpoint.refusals import cut_off, not_of_torch
from hornet_convert.errors import MalformedError, UnsupportedError
from hornet_convert.files.reading import read_at
from hornet_convert.text import printable

MAX_ENTRIES: Final = 200_000
MAX_DIRECTORY: Final = 32 << 20  # bytes

_END: Final = struct.Struct("<4s4H2LH")
_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL, _LENGTHS = 46, 28  # bytes of a row but for its texts, the place of their lengths
_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_DESCRIBED, _UTF8 = 0x0008, 0x0800
_OVERLAP: Final = "a zip entry reaches into what follows it"
_FOLDER: Final = 0x10  # the attribute of MS-DOS, which torch's reader looks at


@dataclass(frozen=True)
class Entry:
    """One stored file of the archive: `offset` and `nbytes` of its data in the whole file."""

    name: str
    offset: int
    nbytes: int
    crc32: int


def read_directory(
    file: io.FileIO, size: int, look: Callable[[list[str]], None]
) -> dict[str, Entry]:
    """Every entry of the archive by name; `look` sees the names before all else and may refuse.

    Raises MalformedError where the archive contradicts itself, UnsupportedError for compression and
    encryption, which torch does not write.
    """
    start, count, length = _find_directory(file, size)
    try:
        rows = zipfile.ZipFile(file, metadata_encoding="utf-8").infolist() if count else []
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error) as error:
        raise MalformedError("the zip directory is broken", found=printable(str(error))) from error
    if len(rows) != count:
        what = "the zip directory does not hold as many entries as it claims"
        raise MalformedError(what, expected=str(count), found=str(len(rows)))
    _check_lengths(read_at(file, start, length), count)
    look([row.filename for row in rows])
    _check_names(rows)
    for row in rows:
        _check_row(row)
    rows_in_file = sorted(rows, key=lambda row: row.header_offset)
    edges = [*(row.header_offset for row in rows_in_file), start]
    if edges[0]:
        raise not_of_torch(
            "there is data before the zip archive",
            expected="its first entry at byte 0",
            found=f"byte {edges[0]}",
        )
    entries = {
        row.orig_filename: _located(file, row, after)
        for row, (_, after) in zip(rows_in_file, pairwise(edges), strict=True)
    }
    return {row.orig_filename: entries[row.orig_filename] for row in rows}


def _find_directory(file: io.FileIO, size: int) -> tuple[int, int, int]:
    """(offset, entries, bytes) of the directory, which zipfile would also look for elsewhere."""
    tail_size = min(size, _END.size + _LOCATOR.size + _END64.size)
    tail = read_at(file, size - tail_size, tail_size)
    end = size - _END.size
    if end < 0 or tail[-_END.size :][:4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        raise _no_end_record(file, size)
    short = values = _END.unpack(tail[-_END.size :])[1:-1]
    locator = tail[-_END.size - _LOCATOR.size : -_END.size]
    if locator.startswith(b"PK\6\7"):
        _, disk, end64, disks = _LOCATOR.unpack(locator)
        record = tail[: -_END.size - _LOCATOR.size]
        if len(record) < _END64.size or (disk, end64) != (0, size - tail_size) or disks > 1:
            raise MalformedError("the zip64 end record does not stand before its locator")
        magic, length, *_ = _END64.unpack(record)
        values = _END64.unpack(record)[4:]
        if magic != b"PK\6\6" or length != _END64.size - 12:
            raise MalformedError("the zip64 end record is broken")
        full = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
        if any(a not in (b, most) for a, b, most in zip(short, values, full, strict=True)):
            raise MalformedError("the two end records of the zip archive disagree")
        end = end64
    disk, first_disk, here, count, length, start = values
    if disk or first_disk or here != count:
        raise UnsupportedError("a zip archive in several parts")
    if start + length != end:
        raise MalformedError(
            "the zip directory does not end where its end record starts",
            expected=f"byte {end}",
            found=f"byte {start + length}",
            hint="The file is cut, or something was put before or after it: fetch it again.",
        )
    if count > MAX_ENTRIES or length > MAX_DIRECTORY:
        raise MalformedError("the zip directory is too large", found=f"{count} entries")
    return start, count, length


def _no_end_record(file: io.FileIO, size: int) -> MalformedError:
    """Why there is none: cut off, or followed by a comment or other bytes."""
    tail_at = max(size - (1 << 16) - _END.size, 0)
    found = read_at(file, tail_at, size - tail_at).rfind(b"PK\5\6")
    if found < 0 or size - tail_at - found < _END.size:
        return cut_off("the zip archive has no end record", size + _END.size, size)
    return not_of_torch(
        "there is data after the zip archive",
        expected="its end record as the last bytes, without a comment",
        found=f"{size - tail_at - found - _END.size} more bytes",
    )


def _check_names(rows: list[zipfile.ZipInfo]) -> None:
    """Names that every reader takes as they are, and each once, in whatever case."""
    seen: set[str] = set()
    for row in rows:
        name = row.orig_filename
        folded = name.casefold()  # torch's zip reader finds `DATA.PKL` under `data.pkl`
        if folded in seen:
            what = "the zip archive has two entries of one name, or that differ in case only"
            raise not_of_torch(what, found=_show(row))
        seen.add(folded)
        # torch's zip reader ends a name at NUL, and reads nothing of what it takes for a folder.
        folder = name.endswith("/") or row.external_attr & _FOLDER
        if folder or not name.isprintable() or "\\" in name or name.startswith("/"):
            what = "a zip entry that is not a plain file, or whose name is not plain"
            raise not_of_torch(what, where=_show(row))


def _check_lengths(directory: bytes, count: int) -> None:
    """Every row ends within the directory, where zipfile cuts what reaches beyond."""
    at = 0
    for _ in range(count):
        if at + _CENTRAL > len(directory):
            break
        at += _CENTRAL + sum(struct.unpack_from("<3H", directory, at + _LENGTHS))
    if at != len(directory):
        what = "the lengths in the zip directory do not add up"
        raise MalformedError(what, expected=f"{len(directory)} bytes", found=f"{at} bytes")


def _check_row(row: zipfile.ZipInfo) -> None:
    if row.flag_bits & _ENCRYPTED:
        raise UnsupportedError("an encrypted zip entry", where=_show(row))
    if row.compress_type:
        raise UnsupportedError(
            "a compressed zip entry",
            where=_show(row),
            expected="stored entries, as torch.save writes them",
            hint="Load it with torch where you trust it, and save it again.",
        )
    if row.flag_bits & ~(_DESCRIBED | _UTF8) or row.volume or row.comment:
        raise not_of_torch("a zip entry with unknown flags or a comment", where=_show(row))
    if row.compress_size != row.file_size:
        raise MalformedError("a stored zip entry with two sizes", where=_show(row))


def _located(file: io.FileIO, row: zipfile.ZipInfo, after: int) -> Entry:
    """The entry with the place of its data; the next header, or the directory, is at `after`."""
    name, nbytes = row.orig_filename.encode(), row.file_size
    data_at = row.header_offset + _LOCAL.size + len(name)
    if data_at > after:
        raise MalformedError(_OVERLAP, where=_show(row))
    local = read_at(file, row.header_offset, data_at - row.header_offset)
    magic, _, flags, method, _, _, *sizes, name_size, extra_size = _LOCAL.unpack_from(local)
    data_at += extra_size
    if data_at + nbytes > after:
        raise MalformedError(_OVERLAP, where=_show(row))
    extra = read_at(file, data_at - extra_size, extra_size)
    if sizes[1:] == [0xFFFFFFFF, 0xFFFFFFFF] and _holds_sizes(extra, nbytes):
        sizes[1:] = nbytes, nbytes
    described = bool(flags & _DESCRIBED)
    if (
        (magic, flags, method) != (b"PK\3\4", row.flag_bits, 0)
        or (name_size, local[_LOCAL.size :]) != (len(name), name)
        or (sizes != [row.CRC, nbytes, nbytes] and not (described and sizes == [0, 0, 0]))
    ):
        what = "a zip entry's own header disagrees with the zip directory"
        raise not_of_torch(what, where=_show(row))
    gap = after - data_at - nbytes
    if gap > 24 or read_at(file, after - gap, gap) not in _trailers(row, described):
        what = "something that belongs to no entry stands within the zip archive"
        raise not_of_torch(what, where=f"byte {after - gap}, after {_show(row)}")
    return Entry(row.orig_filename, data_at, nbytes, row.CRC)


def _holds_sizes(extra: bytes, nbytes: int) -> bool:
    """Whether there is a zip64 field of both sizes, and perhaps an offset and a disk after them."""
    sizes = struct.pack("<2Q", nbytes, nbytes)
    return any(struct.pack("<2H", 1, length) + sizes in extra for length in (16, 24, 28))


def _trailers(row: zipfile.ZipInfo, described: bool) -> list[bytes]:
    """What may follow the data of an entry: if described, checksum and sizes, 32 or 64 bits wide.

    torch leaves it out after an empty entry.
    """
    if not described:
        return [b""]
    forms = [struct.pack("<L2Q", row.CRC, row.file_size, row.file_size)]
    if row.file_size <= 0xFFFFFFFF:
        forms.append(struct.pack("<3L", row.CRC, row.file_size, row.file_size))
    forms += [b"PK\7\x08" + form for form in forms]
    return forms if row.file_size else [*forms, b""]


def _show(row: zipfile.ZipInfo) -> str:
    return f"zip entry {printable(row.orig_filename)!r}"
