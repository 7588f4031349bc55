"""Seeds of the three containers, and changes to what each of them is made of."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import random
import struct
import zipfile
from typing import Any

from fuzz import fragments
from fuzz.mutate import in_bytes, in_pickle, opcodes
from tests.reader.assemble import MAGIC, Entry, Zip, legacy_file, zip_entries

LEGACY = (b"N",)  # what a legacy file adds to a persistent id
_DATA = {key: struct.pack("<12f", *range(n, n + 12)) for n, key in enumerate(fragments.KEYS)}
_NAMES = (
    *("archive/data.pkl", "archive/byteorder", "archive/version", "archive/.data/version"),
    *("archive/data/0", "archive/data/1", "archive/data/2", "archive/DATA.PKL", "data.pkl"),
    *("archive/.data/serialization_id", "archive/.format_version", "archive/.storage_alignment"),
    *("other/data.pkl", "archive/data/0/", "archive//data/0", "archive/constants.pkl", "archive/x"),
    *("archive/code/a.py", "archive/data/\0", "archive/data/0\0", "Archive/version", "archive/"),
)
_SHORT = (
    b"little",
    b"big",
    b"BIG",
    b"",
    b"little\n",
    b"1",
    b"3\n",
    b"2",
    b"10",
    b"11",
    b"0",
    b" 3",
)
_DTYPES = (
    *("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32"),
    *("U16", "U8", "BOOL", "C64", "C128", "F4", "F6_E2M3", "F8_E8M0", "F8_E4M3FNUZ", "f32", ""),
)


def assembled(r: random.Random) -> tuple[str, bytes]:
    """A new checkpoint and its container, put together by hand."""
    container = r.choice(("zip", "legacy", "safetensors"))
    if container == "zip":
        entries = zip_entries(b"N", _DATA, r.choice(("little",) * 5 + ("big",)))
        entries[0].data = fragments.body(r)
        return container, Zip(entries).build()
    if container == "legacy":
        data = {key: (12, raw) for key, raw in _DATA.items()}
        whole = legacy_file(b"OBJECT", data)
        return container, whole.replace(b"\x80\x02OBJECT.", fragments.body(r, LEGACY))
    names = r.sample(("a", "b", "c.weight", "\xe9", "\u20ac"), r.randrange(1, 4))
    header, end = {}, 0
    for name in names:
        dtype, size = r.choice((("F32", 4), ("I64", 8), ("BF16", 2), ("U8", 1), ("F8_E5M2", 1)))
        shape = [r.randrange(4) for _ in range(r.randrange(3))]
        start, count = end, 1
        for axis in shape:
            count *= axis
        end += count * size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return container, struct.pack("<Q", len(text)) + text + bytes(range(256))[:end]


def changed(data: bytes, r: random.Random) -> bytes:
    """A checkpoint with something in it changed."""
    if r.random() < 0.2:
        return in_bytes(data, r)
    if data.startswith(b"PK"):
        return _in_zip(data, r)
    return _in_safetensors(data, r) if data[8:9] == b"{" else _in_legacy(data, r)


def _in_zip(data: bytes, r: random.Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            rows = [(row, archive.read(row)) for row in archive.infolist()]
    except Exception:
        return in_bytes(data, r)
    entries = [Entry(row.orig_filename, content) for row, content in rows]
    whole = Zip(entries)
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        if not entries:
            break
        entry = r.choice(entries)
        what = r.random()
        if what < 0.6:
            pickled = [found for found in entries if found.name.endswith("data.pkl")] or [entry]
            pickled[0].data = in_pickle(pickled[0].data, r, ())
        elif what < 0.7:
            entry.data = r.choice(_SHORT) if len(entry.data) < 9 else in_bytes(entry.data, r)
        elif what < 0.85:
            _in_entry(entry, entries, r)
        else:
            entries[:] = r.choice(
                (
                    r.sample(entries, len(entries)),
                    entries[:-1],
                    [*entries, dataclasses.replace(entry, name=r.choice(_NAMES))],
                    [Entry(r.choice(_NAMES), r.choice(_SHORT)), *entries],
                    [*entries, Entry(r.choice(_NAMES), r.choice(_SHORT))],
                )
            )
    if r.random() < 0.1:
        change: dict[str, Any] = {
            r.choice(("before", "after", "comment", "gap")): r.choice(
                (b"\0", b"PK\5\6", bytes(22))
            ),
            "count": r.choice((None, 0, 1, len(entries) + 1)),
            "directory_shift": r.choice((0, 0, 1, -1)),
        }
        whole = dataclasses.replace(whole, **dict(r.sample(sorted(change.items()), 1)))
    try:
        built = whole.build()
    except (struct.error, UnicodeEncodeError):
        return in_bytes(data, r)
    return _with_zip64_end(built, r) if r.random() < 0.05 else built


def _in_entry(entry: Entry, entries: list[Entry], r: random.Random) -> None:
    """Change a field, in the directory, in the entry's own header or in both."""
    size = len(entry.data)
    sizes = r.choice((0, size - 1, size + 1, 0xFFFFFFFF)) % (1 << 32)
    sizes_64 = struct.pack("<2H2Q", 1, 16, size, size)
    extra = r.choice(
        (b"FB\4\0ZZZZ", sizes_64, b"\1\0\x08\0" + bytes(8), b"up\5\0\1abcd", b"\0" * 4)
    )
    described = struct.pack("<3L", 0, size, size)
    field, value = r.choice(
        (
            ("name", r.choice((*_NAMES, entry.name.upper(), entry.name + "\0", "x/" + entry.name))),
            ("local_name", r.choice(_NAMES)),
            ("method", r.choice((8, 12, 93))),
            ("flags", 1 << r.randrange(16)),
            *(("crc", 0), ("local_crc", 0), ("size", sizes), ("local_size", sizes)),
            ("before", r.choice((b"\0", b"PK\3\4", bytes(30)))),
            ("header", r.choice((0, 1, 1 << 31))),
            ("attributes", r.choice((0x10, 0x20, 1 << 31, 0o40755 << 16))),
            *(("comment", b"x"), ("extra", extra), ("local_extra", extra)),
            ("descriptor", r.choice((b"PK\7\x08" + described, described, bytes(24)))),
            ("data", r.choice(entries).data),
        )
    )
    setattr(entry, field, value)


def _with_zip64_end(built: bytes, r: random.Random) -> bytes:
    """The zip64 end records put in, which say the same as the short one, or nearly."""
    end = list(struct.unpack("<4s4H2LH", built[-22:]))
    at = len(built) - 22
    values = [value + (r.random() < 0.05) for value in (0, 0, *end[3:7])]
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", r.choice((44, 44, 44, 45)), 45, 45, *values)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, r.choice((at, at, at, 0)), 1)
    if r.random() < 0.5:
        end[3:7] = 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    return built[:-22] + record + locator + struct.pack("<4s4H2LH", *end)


def _in_legacy(data: bytes, r: random.Random) -> bytes:
    """One of the five pickles changed, or what follows them."""
    pickles, at = [], 0
    for _ in range(5):
        pickles.append(b"".join(opcodes(data[at:])))
        at += len(pickles[-1])
    rest = data[at:]
    match r.randrange(10):
        case 0:
            values: tuple[Any, ...] = (
                MAGIC,
                MAGIC + 1,
                1001,
                1000,
                {},
                {"little_endian": False},
                ["0", "1"],
                ["1"],
            )
            pickles[r.randrange(5)] = pickle.dumps(r.choice(values), r.randrange(6))
        case 1:
            keys = list(r.choice((["1", "0"], ["0"], ["0", "0"], [0, 1], ["0", "1", "2"], "01")))
            pickles[4] = pickle.dumps(keys, r.randrange(6))
        case 2:
            rest = in_bytes(rest, r)
        case 3:
            rest = r.choice((rest[:-1], rest + b"\0", rest[8:], struct.pack("<q", -1) + rest[8:]))
        case 4:
            which = r.randrange(5)
            pickles[which] = in_pickle(pickles[which], r, LEGACY)
        case _:
            pickles[3] = in_pickle(pickles[3], r, LEGACY)
    return b"".join(pickles) + rest


def _in_safetensors(data: bytes, r: random.Random) -> bytes:
    """The header changed as JSON, as text or in its length, or the data."""
    length = int.from_bytes(data[:8], "little")
    text, rest = data[8 : 8 + length], data[8 + length :]
    try:
        header = json.loads(text)
        row = header[r.choice(sorted(header))]
        kind = r.randrange(8)
        if kind < 4:
            _in_header(header, row, r)
            text = json.dumps(header, ensure_ascii=r.random() < 0.5).encode()
        elif kind < 6:
            text = _in_json(text, r)
        elif kind == 6:
            rest = r.choice((rest + b"\0", rest[:-1], in_bytes(rest, r)))
        else:
            text = in_bytes(text, r)
    except Exception:
        return in_bytes(data, r)
    length = len(text) + r.choice((0,) * 20 + (1, -1, 8))
    return struct.pack("<Q", max(length, 0)) + text + rest


def _in_header(header: dict[str, Any], row: dict[str, Any], r: random.Random) -> None:
    number = r.choice((0, 1, 2, 4, -1, 1 << 31, 1 << 63, 1 << 64, 1.0, True, None, "1", [1]))
    match r.randrange(9):
        case 0:
            row["dtype"] = r.choice(_DTYPES)
        case 1:
            row["shape"][r.randrange(len(row["shape"]))] = number
        case 2:
            row["shape"].insert(r.randrange(3), number)
        case 3:
            row["data_offsets"][r.randrange(2)] = number
        case 4:
            row["shape"] = [1] * r.choice((8, 63, 64, 65)) + row["shape"]
        case 5:
            row[r.choice(("extra", "shape", "data_offsets"))] = r.choice(([], {}, "x", number))
        case 6:
            header["__metadata__"] = r.choice(({"format": "pt"}, {}, None, {"a": number}, [], "x"))
        case 7:
            name = r.choice(sorted(header))
            header[r.choice(("a", "w", "", "\0", "__metadata__", "\ud800"))] = header.pop(name)
        case 8:
            header[r.choice(("e", "f"))] = dict(row)


def _in_json(text: bytes, r: random.Random) -> bytes:
    """The header in another form of JSON, good or bad."""
    spaces = r.choice((b" ", b"\n", b"\t", b"\0", b"  ", b"\x0c", b"\xef\xbb\xbf", b"\xc2\xa0"))
    twice = text[1:-1] + b"," + text[1:]
    places = [i for i, byte in enumerate(text) if byte in b"{}[],:"]
    at = r.choice(places) + r.randrange(2)
    old = r.choice((b"0", b"1", b"4", b'"F32"', b'"shape"', b"]", b'"a"', b"}"))
    new = r.choice((b"-0", b"0.0", b"1e0", b"01", b"+1", b"NaN", b'"\\u0061"', b",]", b'"\\ud800"'))
    forms = (
        *(spaces + text, text + spaces, text[:at] + spaces + text[at:], b"{" + twice),
        text.replace(old, new, 1),
        text.replace(b'"dtype"', b'"dty\\u0070e"', 1),
        text.replace(b"{", b'{"__metadata__":{"a":"b","a":"c"},', 1),
        text + b" " * (-len(text) % 8),
    )
    return r.choice(forms)
