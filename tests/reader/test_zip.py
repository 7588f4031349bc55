"""The zip container: what torch writes is read, and every contradiction refused."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
import torch

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.errors import (
    FileRefusedError,
    MalformedError,
    NotACheckpointError,
    UnsupportedError,
)
from tests.reader.assemble import Entry, Zip, items, storage, tensor, text, zip_entries
from tests.reader.reading import read

VALUES = struct.pack("<6f", *range(6))
BODY = items((text("w"), tensor(storage("0", 6), (2, 3), (3, 1))))


def entries() -> list[Entry]:
    """The entries of a sound checkpoint: data.pkl, byteorder, data/0, version."""
    return zip_entries(BODY, {"0": VALUES})


def changed(index: int = 2, **fields: object) -> list[Entry]:
    """The entries, with fields of one of them overridden, which is the storage's by default."""
    found = entries()
    for name, value in fields.items():
        setattr(found[index], name, value)
    return found


def more(name: str, data: bytes) -> Zip:
    """A sound checkpoint and one entry more."""
    return Zip([*entries(), Entry(name, data)])


def described(form: str, magic: bytes) -> list[Entry]:
    """The entries, all with data descriptors as torch writes them, in one of their forms."""
    found = entries()
    for entry in found:
        crc, size = zlib.crc32(entry.data), len(entry.data)
        entry.flags = 8
        entry.local_crc = entry.local_size = 0
        entry.descriptor = magic + struct.pack(form, crc, size, size)
    return found


SOUND: dict[str, Zip] = {
    "plain": Zip(entries()),
    "without byteorder, as before 2.1": Zip([entries()[0], *entries()[2:]]),
    "padded as torch does": Zip(changed(local_extra=b"FB\x06\x00ZZZZZZ")),
    "extra fields of other tools": Zip(changed(extra=b"UT\x05\x00\x01abcd", local_extra=b"UT\0\0")),
    "other files within the folder": Zip([*entries(), Entry("archive/extra/x.txt", b"hello")]),
    "data descriptors": Zip(described("<3L", b"PK\x07\x08")),
    "data descriptors without magic": Zip(described("<3L", b"")),
    "wide data descriptors": Zip(described("<L2Q", b"PK\x07\x08")),
    "zip64 sizes": Zip(
        changed(
            size=0xFFFFFFFF,
            header=None,
            extra=struct.pack("<2H2Q", 1, 16, 24, 24),
            local_extra=struct.pack("<2H2Q", 1, 16, 24, 24),
        )
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_variants_are_read(name: str, path: Path) -> None:
    """Every form that torch or a re-zipping tool writes, stored, gives the tensors."""
    path.write_bytes(SOUND[name].build())
    with open_checkpoint(path) as checkpoint:
        assert "zip" == checkpoint.container
    assert {"w": VALUES} == read(path)
    loaded = torch.load(path, weights_only=True)["w"]
    assert VALUES == loaded.numpy().tobytes()


BROKEN: dict[str, tuple[Zip, str]] = {
    "doubled entry": (more("archive/data/0", VALUES), "two entries"),
    "doubled pickle": (Zip([*entries(), entries()[0]]), "two entries"),
    "doubled pickle in another case": (
        Zip([Entry("archive/DATA.PKL", b"\x80\x02N."), *entries()]),
        "differ in case",
    ),
    "doubled storage in another case": (more("archive/Data/0", VALUES), "differ in case"),
    "doubled entry of no meaning": (
        Zip([*entries(), Entry("archive/extra/\u00e4", b""), Entry("archive/extra/\u00c4", b"")]),
        "differ in case",
    ),
    "two roots": (more("other/data/0", VALUES), "outside its folder"),
    "two pickles": (more("other/data.pkl", b"N."), "outside its folder"),
    "loose entry": (more("loose", b"x"), "outside its folder"),
    "encrypted": (Zip(changed(flags=1)), "encrypted"),
    "strongly encrypted": (Zip(changed(flags=0x41)), "encrypted"),
    "compressed": (Zip(changed(method=8)), "compressed"),
    "size beyond the file": (Zip(changed(size=1 << 30)), "reaches into what follows"),
    "size over the next entry": (Zip(changed(size=40)), "reaches into what follows"),
    "size too small": (Zip(changed(size=20)), "belongs to no entry"),
    "junk before": (Zip(entries(), before=b"#!/bin/sh\n"), "before the zip archive"),
    "junk before, looking like zip": (
        Zip(entries(), before=b"PK\3\4" + b"\0" * 60),
        "before the zip archive",
    ),
    "junk after": (Zip(entries(), after=b"junk"), "after the zip archive"),
    "comment": (Zip(entries(), comment=b"chosen to fit a hash"), "after the zip archive"),
    "junk between entries": (Zip(changed(before=b"junk")), "belongs to no entry"),
    "junk before the directory": (Zip(entries(), gap=b"junk"), "belongs to no entry"),
    "directory elsewhere": (Zip(entries(), directory_shift=-3), "does not end where"),
    "too many entries claimed": (Zip(entries(), count=9), "as many"),
    "too few entries claimed": (Zip(entries(), count=3), "as many"),
    "another name in the entry's header": (Zip(changed(local_name="archive/data/1")), "disagrees"),
    "another checksum in the entry's header": (Zip(changed(local_crc=1)), "disagrees"),
    "another size in the entry's header": (Zip(changed(local_size=20)), "disagrees"),
    "header of another entry": (Zip(changed(header=0)), "reaches into what follows"),
    "header beyond the file": (Zip(changed(header=1 << 30)), ""),
    "zip64 sizes missing": (Zip(changed(size=0xFFFFFFFF)), "reaches into what follows"),
    "zip64 field cut": (
        Zip(changed(size=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 24))),
        "Corrupt zip64",
    ),
    "wrong descriptor": (
        Zip(changed(flags=8, local_crc=0, local_size=0, descriptor=b"\0" * 16)),
        "belongs to no entry",
    ),
    "no pickle": (Zip(entries()[1:]), "no data.pkl"),
    "no storage": (Zip([entries()[0], entries()[3]]), "storage is missing"),
    "storage too short": (Zip(changed(data=VALUES[:20])), "does not have the size"),
    "storage too long": (Zip(changed(data=VALUES * 2)), "does not have the size"),
    "byte order unknown": (Zip(changed(1, data=b"middle")), "byte order"),
    "alignment unknown": (more("archive/.storage_alignment", b"little"), "invalid alignment"),
    "byte order huge": (Zip(changed(1, data=b"l" * 100)), "too large"),
    "version unknown": (Zip(changed(3, data=b"11\n")), "version"),
    "version in its other place": (more("archive/.data/version", b"11\n"), "version"),
    "version no number": (Zip(changed(3, data=b"x")), "version"),
    "something after the pickle": (
        Zip(changed(0, data=entries()[0].data + b"N.")),
        "after the pickle",
    ),
    "damaged pickle": (Zip(changed(0, crc=5)), "checksum"),
    "TorchScript": (more("archive/constants.pkl", b"N."), "TorchScript"),
    "TorchScript code": (more("archive/code/x.py", b""), "TorchScript"),
    "no version": (Zip(entries()[:3]), "version"),
    "a folder's own entry": (Zip([Entry("archive/", b""), *entries()]), "not a plain file"),
    "a storage marked as a folder": (Zip(changed(attributes=0x10)), "not a plain file"),
    "a pickle marked as a folder": (Zip(changed(0, attributes=0x10)), "not a plain file"),
    "a name with NUL": (more("archive/data/0\0x", VALUES), "not plain"),
    "a name with a backslash": (more("archive\\data\\1", b""), "not plain"),
    "a name from the root": (more("/archive/data/1", b""), "not plain"),
    "an entry with a comment": (Zip(changed(comment=b"x")), "unknown flags or a comment"),
    "a patch": (Zip(changed(flags=0x20)), "unknown flags or a comment"),
    "byte order empty": (Zip(changed(1, data=b"")), "byte order"),
    "storage a little too long": (Zip(changed(data=VALUES + b"x")), "does not have the size"),
    "another program's zip": (Zip([Entry("word/document.xml", b"<x/>")]), "not one that torch"),
    "numpy's zip": (Zip([Entry("weight.npy", b"x")]), "not one that torch"),
    "no entries": (Zip([]), "not one that torch"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_contradictions_are_refused(name: str, path: Path) -> None:
    """Every way in which the archive disagrees with itself or with torch's form."""
    archive, words = BROKEN[name]
    path.write_bytes(archive.build())
    with pytest.raises(FileRefusedError) as error:
        read(path)
    assert words in error.value.message
    assert str(path) in (error.value.where or "")


@pytest.mark.parametrize(
    "name",
    [
        "Data.pkl",
        "BYTEORDER",
        "Version",
        ".DATA/version",
        ".data/Version",
        ".data/SERIALIZATION_ID",
        ".Format_Version",
        ".STORAGE_alignment",
        "Constants.pkl",
        "CODE/x.py",
        "DATA/1",
    ],
)
def test_names_of_torch_in_another_case(name: str, path: Path) -> None:
    """Torch would find such an entry by its proper name, also where no other has that name."""
    lone = [entry for entry in entries() if entry.name.lower() != f"archive/{name}".lower()]
    path.write_bytes(Zip([*lone, Entry(f"archive/{name}", b"big")]).build())
    with pytest.raises(MalformedError, match="in another case"):
        read(path)


def test_torch_looks_names_up_in_any_case(path: Path) -> None:
    """Why it is refused: the byte order that torch takes from such an entry is another."""
    lone = [entry for entry in entries() if entry.name != "archive/byteorder"]
    path.write_bytes(Zip([*lone, Entry("archive/BYTEORDER", b"big")]).build())
    swapped = struct.unpack(">6f", VALUES)
    assert list(swapped) == torch.load(path, weights_only=True)["w"].flatten().tolist()


def test_half_a_file_and_less_is_cut_off(path: Path) -> None:
    """Every proper beginning of a checkpoint is refused."""
    whole = SOUND["data descriptors"].build()
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FileRefusedError):
            read(path)


def test_compressed_and_torchscript_files_of_the_real_libraries(path: Path) -> None:
    """What zipfile and torch.jit write is refused for what it is, with advice."""
    torch.save({"w": torch.ones(500)}, path)
    with zipfile.ZipFile(path) as archive:
        contents = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(UnsupportedError, match="compressed") as error:
        read(path)
    assert error.value.hint
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    assert {"w": torch.ones(500).numpy().tobytes()} == read(path)


def test_a_storage_beyond_4_gib(path: Path) -> None:
    """The wide sizes and offsets of zip64, on a sparse file that takes no room."""
    nbytes = (1 << 32) + 8
    big = items(
        (text("w"), tensor(storage("0", nbytes // 4), (2,), (1,), first=nbytes // 4 - 2)),
        (text("v"), tensor(storage("1", 6), (6,), (1,))),
    )
    with path.open("wb") as file:
        rows = []

        def put(name: str, size: int, data: bytes, crc: int) -> None:
            header, raw = file.tell(), name.encode()
            extra = struct.pack("<2H2Q", 1, 16, size, size)
            file.write(struct.pack("<4s5H", b"PK\3\4", 45, 0, 0, 0, 0))
            file.write(struct.pack("<3L2H", crc, 0xFFFFFFFF, 0xFFFFFFFF, len(raw), len(extra)))
            file.write(raw + extra)
            file.seek(size - len(data), io.SEEK_CUR)
            file.write(data)
            extra = struct.pack("<2H3Q", 1, 24, size, size, header)
            row = struct.pack("<4s6H", b"PK\1\2", 45, 45, 0, 0, 0, 0)
            row += struct.pack("<3L", crc, 0xFFFFFFFF, 0xFFFFFFFF)
            row += struct.pack("<5H2L", len(raw), len(extra), 0, 0, 0, 0, 0xFFFFFFFF)
            rows.append(row + raw + extra)

        pickled = zip_entries(big, {})[0].data
        put("archive/data.pkl", len(pickled), pickled, zlib.crc32(pickled))
        put("archive/data/0", nbytes, b"\0\0\x80?\0\0\0@", 0)
        put("archive/data/1", 24, VALUES, zlib.crc32(VALUES))
        put("archive/version", 2, b"3\n", zlib.crc32(b"3\n"))
        start, directory = file.tell(), b"".join(rows)
        count = len(rows)
        file.write(directory)
        end = file.tell()
        file.write(
            struct.pack(
                "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start
            )
        )
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        file.write(
            struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), 0xFFFFFFFF, 0)
        )
    assert {"w": b"\0\0\x80?\0\0\0@", "v": VALUES} == read(path)


def test_another_programs_archive_is_no_checkpoint(path: Path) -> None:
    """A zip that torch did not write is told apart from a damaged checkpoint."""
    path.write_bytes(Zip([Entry("word/document.xml", b"<x/>")]).build())
    with pytest.raises(NotACheckpointError, match=r"word/document\.xml"):
        read(path)


@pytest.mark.parametrize("size", [4, 16, 21])
def test_an_archive_that_ends_within_its_end_record(size: int, tmp_path: Path) -> None:
    """An empty archive cut off: refused, however little of it is there."""
    path = tmp_path / "x.pth"
    path.write_bytes((b"PK\5\6" + bytes(18))[:size])
    with pytest.raises(MalformedError, match="no end record"):
        open_checkpoint(path)


def test_a_row_that_reaches_beyond_its_directory(path: Path) -> None:
    """The last row claims more than there is, which Python's zipfile cuts and torch refuses."""
    data = bytearray(Zip(entries()).build())
    data[data.rindex(b"PK\1\2") + 30] = 0x98  # bytes of its extra field
    path.write_bytes(data)
    with pytest.raises(MalformedError, match="do not add up"):
        read(path)
