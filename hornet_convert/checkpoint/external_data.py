"""The safetensors file beside an ONNX model that holds its weights: opened with all caution.

A model names it, and may come from anywhere: it is a plain name in the model's folder, of a regular
file with that one name, or it is refused. Source: onnx, docs/ExternalData.md and its checker.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Final

from hornet_convert.checkpoint.container_safetensors import read_safetensors
from hornet_convert.checkpoint.inert import Dict
from hornet_convert.checkpoint.sniff import sniff
from hornet_convert.checkpoint.tensors import DType, Tensor
from hornet_convert.errors import DiskError, HornetConvertError, MalformedError
from hornet_convert.files.reading import NotRegularError, open_regular
from hornet_convert.text import printable

HINT: Final = "Get the model and its weights again, into one folder."

Table = dict[tuple[int, int], set[DType]]
"""Where tensors lie, as (offset, bytes), and of which element types."""


def open_weights(location: str, folder: Path) -> tuple[io.FileIO, int, Table]:
    """The safetensors file called `location` in `folder`, open; its size, and its tensors.

    Raises MalformedError if it is elsewhere, a link, not there or no safetensors file.
    """
    shown = printable(location, 400)
    if location != Path(location).name or location.startswith(".") or "\\" in location:
        raise MalformedError(
            "external data outside of the model's folder",
            expected="the name of a file beside the model",
            found=repr(shown),
            hint=HINT,
        )
    path = folder / location
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1):
            raise MalformedError(
                "external data behind a link, which may lead anywhere",
                where=shown,
                expected="a file of its own (readers of ONNX refuse symbolic and hard links)",
                hint="Copy the weights into the model's folder.",
            )
        file = open_regular(path)
    except NotRegularError as error:
        raise MalformedError(f"external data in {error.kind}", where=shown, hint=HINT) from error
    except PermissionError as error:
        raise DiskError(
            "the weights of the model cannot be read", where=shown, found=error.strerror
        ) from error
    except (OSError, ValueError) as error:  # such as no file, or a name that none can have
        raise MalformedError(
            "the file with the weights of the model is not there",
            expected=f"{shown}, in the same folder",
            hint=HINT,
        ) from error
    try:
        opened = os.fstat(file.fileno())
        if not os.path.samestat(status, opened):
            raise MalformedError("external data that was replaced meanwhile", where=shown)
        if sniff(file, opened.st_size) != "safetensors":
            raise MalformedError(
                "external data in a file that is not a safetensors file", where=shown
            )
        root, _, _ = read_safetensors(file, opened.st_size)
    except HornetConvertError as error:
        file.close()
        error.place(shown)
        raise
    except BaseException:
        file.close()
        raise
    table: Table = {}
    for value in root.flat[1::2] if isinstance(root, Dict) else ():
        if isinstance(value, Tensor):
            table.setdefault((value.storage.offset, value.nbytes), set()).add(value.dtype)
    return file, opened.st_size, table
