"""Every field of a zip archive, changed by one: `changed()` has a file for each.

The fields stand where APPNOTE.TXT 6.3.10 has them: local header, central directory, the two end
records and the locator between them. Those of an entry are changed for the storage.
"""

from __future__ import annotations

import struct
from typing import Final

# Record -> (its signature, its fields and their widths in bytes).
_RECORDS: Final = {
    "local header": (
        b"PK\3\4",
        (
            "signature 4, version needed 2, flags 2, method 2, time 2, date 2, CRC-32 4,"
            " compressed size 4, size 4, length of the name 2, length of the extra field 2"
        ),
    ),
    "directory": (
        b"PK\1\2",
        (
            "signature 4, version made by 2, version needed 2, flags 2, method 2, time 2, date 2,"
            " CRC-32 4, compressed size 4, size 4, length of the name 2,"
            " length of the extra field 2, length of the comment 2, disk 2, internal attributes 2,"
            " external attributes 4, offset of the local header 4"
        ),
    ),
    "zip64 end record": (
        b"PK\6\6",
        (
            "signature 4, size of the record 8, version made by 2, version needed 2, disk 4,"
            " disk of the directory 4, entries on this disk 8, entries 8, size of the directory 8,"
            " offset of the directory 8"
        ),
    ),
    "zip64 locator": (
        b"PK\6\7",
        "signature 4, disk of the end record 4, offset of the end record 8, disks 4",
    ),
    "end record": (
        b"PK\5\6",
        (
            "signature 4, disk 2, disk of the directory 2, entries on this disk 2, entries 2,"
            " size of the directory 4, offset of the directory 4, length of the comment 2"
        ),
    ),
}
_END: Final = struct.Struct("<4s4H2LH")


def with_zip64(archive: bytes) -> bytes:
    """The archive with the records of zip64 before its end record, which refers to them."""
    end_at = len(archive) - _END.size
    *_, entries, length, start, _ = _END.unpack_from(archive, end_at)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, length, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end_at, 1)
    end = _END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return archive[:end_at] + end64 + locator + end


def changed(archive: bytes, name: bytes) -> dict[str, bytes]:
    """By record and field, the archive with that field one more, for the entry of that name."""
    files = {}
    for record, (signature, fields) in _RECORDS.items():
        whole = with_zip64(archive) if record.startswith("zip64") else archive
        at = whole.rfind(signature)
        if record in ("local header", "directory"):
            at = whole.rfind(signature, 0, _of_name(whole, record, name))
        for field in fields.split(","):
            what, _, width = field.strip().rpartition(" ")
            end = at + int(width)
            number = int.from_bytes(whole[at:end], "little") + 1
            files[f"{record}: {what}"] = (
                whole[:at]
                + (number % (1 << 8 * int(width))).to_bytes(int(width), "little")
                + whole[end:]
            )
            at = end
    return files


def _of_name(archive: bytes, record: str, name: bytes) -> int:
    """Where the name of an entry stands: first in its own header, then in the directory."""
    return archive.find(name) if record == "local header" else archive.rfind(name)
