"""What is no checkpoint is named for what it is, without hanging and without opening devices."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import socket
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import (
    DiskError,
    FileRefusedError,
    HornetConvertError,
    NotACheckpointError,
    UnsupportedError,
    UsageError,
)


def refusal(path: Path | str) -> HornetConvertError:
    """The error that opening a path ends in."""
    with pytest.raises(HornetConvertError) as error:
        open_checkpoint(path)
    return error.value


def old_tar(magic: bytes) -> bytes:
    """A tar archive as torch before 0.1.11 wrote, with or without the magic of POSIX."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    data = bytearray(buffer.getvalue())
    if not magic:
        data[257:265] = b"\0" * 8
        total = sum(data[:148]) + 8 * 32 + sum(data[156:512])
        data[148:156] = f"{total:06o}\0 ".encode()
    return bytes(data)


def tar_within_a_pickle(signed: bool, wide: bool) -> bytes:
    """Torch's magic number and then a tar header, its checksum signed or not, octal or base 256."""
    data = bytearray(old_tar(b""))
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"\x80\x02"
    data[: len(magic)] = magic
    covered = bytes(data[:148] + b" " * 8 + data[156:512])
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in covered)
    field = b"\x80" + total.to_bytes(7, "big") if wide else f"{total:06o}\0 ".encode()
    data[148:156] = field
    return bytes(data)


def numpy_file() -> bytes:
    """An array as numpy.save writes it."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


PAGE = b"<!DOCTYPE html>\n<html><head><title>\n Sign in \x1b[31m to Wi-Fi</title></head></html>"
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb"
    b"8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "HTML": (PAGE, r"HTML page"),
    "HTML after spaces and a mark": (b"\xef\xbb\xbf \n<html><body>404</body></html>", "HTML page"),
    "HTML without a title": (b"<html><body>Not found</body></html>", "HTML page"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "JSON": (b'{"error": "rate limited"}', "JSON"),
    "JSON list": (b"[1, 2]", "JSON"),
    "Git LFS": (POINTER, "Git LFS pointer"),
    "gzip": (gzip.compress(b"x" * 100), "gzip"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "HDF5"),
    "GGUF": (b"GGUF\x03\0\0\0" + b"\0" * 100, "GGUF"),
    "numpy": (numpy_file(), "numpy"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "PNG"),
    "tar": (old_tar(b"ustar"), "tar archive"),
    "tar without magic": (old_tar(b""), "tar archive"),
    "4 bytes": (b"\x01\x02\x03\x04", "not a checkpoint of any known kind"),
    "text": (b"Moved permanently.\n", "not a checkpoint of any known kind"),
    "zeros": (b"\0" * 1000, "not a checkpoint of any known kind"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_named(name: str, path: Path) -> None:
    """Each kind of file that turns up instead of a checkpoint, with what to do next."""
    data, words = FOREIGN[name]
    path.write_bytes(data)
    error = refusal(path)
    assert isinstance(error, FileRefusedError)
    assert 4 == error.exit_code
    assert words in error.message
    assert error.hint
    assert str(path) in error.message


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_a_tar_archive_that_begins_as_a_pickle(signed: bool, wide: bool, path: Path) -> None:
    """Torch would take it for a tar archive, whatever its first bytes and its checksum's form."""
    path.write_bytes(tar_within_a_pickle(signed, wide))
    with tarfile.open(path, "r:") as archive:
        assert 3 == len(archive.getnames())
    assert isinstance(refusal(path), UnsupportedError)
    assert "tar archive" in refusal(path).message


def test_the_title_of_a_page_is_quoted_without_its_escapes(path: Path) -> None:
    """The title tells a captive portal from a dead link; control characters stay out of it."""
    path.write_bytes(PAGE)
    message = refusal(path).message
    assert "Sign in" in message
    assert "to Wi-Fi" in message
    assert "\x1b" not in message


@pytest.mark.parametrize("after", [b"", b"\0" * 100], ids=["", "more"])
def test_a_zip_behind_something_else(after: bytes, path: Path) -> None:
    """A program with a zip archive behind it is not a checkpoint with something before it."""
    torch.save({"w": torch.ones(2)}, path)
    path.write_bytes(b"#!/bin/sh\nexit\n" + path.read_bytes() + after)
    assert "before the zip archive" in refusal(path).message


def test_what_is_no_file(tmp_path: Path) -> None:
    """A directory, a named pipe, a socket, a device: refused at once, without waiting."""
    pipe, plug = tmp_path / "pipe", tmp_path / "socket"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(plug))
        for path, words in (
            (tmp_path, "a directory"),
            (pipe, "a named pipe"),
            (plug, "a socket"),
            (Path("/dev/null"), "a device"),
            (Path("/dev/tty"), "a device"),
        ):
            error = refusal(path)
            assert isinstance(error, NotACheckpointError)
            assert words in error.message
    (tmp_path / "link").symlink_to(pipe)
    assert "a named pipe" in refusal(tmp_path / "link").message


def test_what_is_not_there(tmp_path: Path) -> None:
    """A missing file is a mistake in the request, and so is a path that cannot be one."""
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "missing", tmp_path / "file" / "x", "a\0b", tmp_path / ("x" * 20)):
        error = refusal(path)
        assert isinstance(error, UsageError)
        assert 2 == error.exit_code


def test_what_may_not_be_read(tmp_path: Path) -> None:
    """A loop of links, or a file without permission, is a matter of the disk."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    error = refusal(loop)
    assert isinstance(error, DiskError)
    assert 5 == error.exit_code
    if os.geteuid() != 0:  # root may read everything
        path = tmp_path / "secret.pth"
        path.write_bytes(b"x")
        path.chmod(0)
        assert isinstance(refusal(path), DiskError)


def test_a_file_cut_while_it_is_open(path: Path) -> None:
    """What cannot be read any more is an error, not zeros."""
    torch.save({"w": torch.ones(100_000)}, path)
    with open_checkpoint(path) as checkpoint:
        os.truncate(path, 1000)
        tensor = select_state_dict(checkpoint.root).tensors["w"]
        with pytest.raises(DiskError, match="shorter") as error:
            checkpoint.read(tensor)
    assert str(path) == error.value.where


def test_files_are_closed_on_refusal(path: Path) -> None:
    """A refused file is not left open (an unclosed file would be a warning, and so an error)."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "y")
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    for _ in range(20):
        assert isinstance(refusal(path), FileRefusedError)
    after = len(list(Path("/proc/self/fd").iterdir())) if before else 0
    assert after <= before
