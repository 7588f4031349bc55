"""Weights in several safetensors files, listed by `….safetensors.index.json`: read as one file.

Source: huggingface_hub, `save_torch_state_dict`. The index has `weight_map`, the file that each
tensor lies in. The files are put together in a temporary file without a name, so that whatever
looks at a checkpoint looks at one file.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hornet_convert.checkpoint.container_safetensors import read_safetensors
from hornet_convert.checkpoint.inert import Dict
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import HornetConvertError, MalformedError
from hornet_convert.files.errors import disk_errors
from hornet_convert.files.reading import open_regular, read_at
from hornet_convert.files.records import parse, read_text
from hornet_convert.files.writing import write_all
from hornet_convert.text import listed, printable

SUFFIX: Final = ".safetensors.index.json"
MAX_INDEX: Final = 16 << 20  # bytes
_PIECE: Final = 1 << 20
_HINT: Final = "Get the index and all of its files again, into one folder."


@dataclass(frozen=True)
class _Index:
    weight_map: dict[str, str]


def files_of(path: Path) -> dict[str, list[str]]:
    """The names of an index's files, which lie beside it, and of the tensors in each.

    Raises OSError if the index cannot be read, MalformedError if it is none or names files in other
    folders.
    """
    shown = printable(str(path), 1000)
    text = read_text(path, MAX_INDEX)
    if text is None:
        raise FileNotFoundError(path)
    index = parse(text, _Index, "the index", shown, _HINT).weight_map
    names: dict[str, list[str]] = {}
    for name, file in index.items():
        if file != Path(file).name or file.startswith("."):
            raise MalformedError(
                "the index names a file outside of its folder",
                where=shown,
                found=printable(file),
                hint=_HINT,
            )
        names.setdefault(file, []).append(name)
    return names


def joined(path: Path) -> tuple[io.FileIO, int]:
    """One safetensors file of all that an index lists, open and without a name; of how many files.

    Raises OSError if a file is not there or cannot be read, one of the FileRefusedErrors for a file
    that is not well-formed or holds other tensors than the index says, DiskError if there is no
    room for the temporary file.
    """
    names = files_of(path)
    with disk_errors(Path(tempfile.gettempdir()), "putting the files together", "TMPDIR"):
        whole = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    try:
        _fill(whole, {path.parent / file: inside for file, inside in names.items()})
    except BaseException:
        whole.close()
        raise
    return whole, len(names)


def _fill(whole: io.FileIO, names: dict[Path, list[str]]) -> None:
    """Write the header, then the tensors of each file in turn."""
    tables = {file: _table(file, inside) for file, inside in names.items()}
    header: dict[str, object] = {}
    end = 0
    for table in tables.values():
        for name, tensor in table.items():
            offsets = [end, end + tensor.nbytes]
            row = {"dtype": tensor.dtype.code, "shape": tensor.shape, "data_offsets": offsets}
            header[name] = row
            end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    with disk_errors(Path(tempfile.gettempdir()), "putting the files together", "TMPDIR"):
        write_all(whole.fileno(), memoryview(len(text).to_bytes(8, "little") + text), 0)
        for file, table in tables.items():
            with open_regular(file) as shard:
                for tensor in table.values():
                    offset = tensor.storage.offset
                    for done in range(0, tensor.nbytes, _PIECE):
                        piece = read_at(shard, offset + done, min(_PIECE, tensor.nbytes - done))
                        write_all(whole.fileno(), memoryview(piece), start + done)
                    start += tensor.nbytes


def _table(path: Path, names: list[str]) -> dict[str, Tensor]:
    """The tensors of one of the files, which are those that the index says."""
    shown = printable(str(path), 1000)
    with open_regular(path) as file:
        try:
            root, _, _ = read_safetensors(file, os.fstat(file.fileno()).st_size)
        except HornetConvertError as error:
            error.where = shown if error.where is None else f"{shown}, {error.where}"
            raise
    found = dict(root.items()) if isinstance(root, Dict) else {}
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    differ = sorted(set(names) ^ set(map(str, found)))
    if differ or len(tensors) != len(found):
        raise MalformedError(
            "the file does not hold the tensors that the index lists",
            where=shown,
            found=f"a difference in {listed([printable(name) for name in differ])}",
            hint=_HINT,
        )
    return tensors
