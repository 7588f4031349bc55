"""Open a checkpoint of any container as a table of tensors, and read tensors from it one by one."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hornet_convert.checkpoint import shards
from hornet_convert.checkpoint.folder import file_of
from hornet_convert.checkpoint.sniff import Container, sniff
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checkpoint.tree import walk
from hornet_convert.errors import (
    DiskError,
    HornetConvertError,
    MalformedError,
    NotACheckpointError,
    UnsupportedError,
    UsageError,
)
from hornet_convert.files.reading import NotRegularError, open_regular, read_into
from hornet_convert.text import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hornet_convert.checkpoint.inert import Contents


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An open checkpoint. A context manager; `close` closes the file.

    `size` is that of the file in bytes, `file` raw and unbuffered: the one that was checked; of an
    ONNX model whose weights lie beside it, the file with the weights. `root`
    is an inert tree (see `inert.py`) whose leaves may be `Tensor`. `globals_used` has every name
    the file asks to import, as `module.name`, and the most it does with it: "named", "built" or
    "called". `metadata` are texts in a safetensors header; `parts` is how many files an index put
    together.
    """

    path: Path
    container: Container
    size: int
    file: io.FileIO
    root: object
    globals_used: dict[str, str]
    metadata: dict[str, str]
    parts: int = 1

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def beside(self) -> str | None:
        """Name of the file beside an ONNX model that has its weights; None if they are inside."""
        inside = self.container != "onnx" or self.file.name == str(self.path)
        return None if inside else printable(Path(str(self.file.name)).name)

    def close(self) -> None:
        """Close the file; tensors can no longer be read."""
        self.file.close()

    def read(self, tensor: Tensor) -> NDArray[np.uint8]:
        """The bytes of a tensor: one-dimensional, dense, row-major, little-endian.

        Raises DiskError if they cannot be read.
        """
        import numpy as np

        if tensor.nbytes == 0:
            return np.empty(0, np.uint8)
        if tensor.span is None:
            return _gather(self.file, tensor)
        offset, nbytes = tensor.span
        data = np.empty(nbytes, np.uint8)
        read_into(self.file, offset, data.data)
        return data


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint and read its table of tensors; nothing in it runs, no tensor is read.

    Of a folder with one model it is the table of its weights. Raises UsageError if there is no such
    file, DiskError if it cannot be read, and for everything that is no well-formed checkpoint one
    of the FileRefusedErrors.
    """
    path = file_of(Path(path))
    shown = printable(str(path))
    file, parts = _opened(path, shown)
    try:
        size = os.fstat(file.fileno()).st_size
        container = sniff(file, size)
        if container == "onnx":
            from hornet_convert.checkpoint.container_onnx import read_onnx

            file, size, contents = read_onnx(file, size, path.parent)
        else:
            contents = _read(container, file, size)
        _bound(contents[0], size)
    except HornetConvertError as error:
        file.close()
        error.place(shown)
        raise
    except BaseException:
        file.close()
        raise
    return Checkpoint(path, container, size, file, *contents, parts)


def _opened(path: Path, shown: str) -> tuple[io.FileIO, int]:
    try:
        if path.name.endswith(shards.SUFFIX):
            return shards.joined(path)
        return open_regular(path), 1
    except NotRegularError as error:
        if (path / ".metadata").is_file():
            raise UnsupportedError(
                "a folder of torch.distributed.checkpoint, not a file",
                where=shown,
                hint="Where you trust it, write it as one file with `python -m "
                "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pth`.",
            ) from error
        raise NotACheckpointError(
            f"{error.kind}, not a file", where=shown, hint="Give the path of a checkpoint file."
        ) from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError("there is no such file", where=shown, hint="Check the path.") from error
    except OSError as error:
        raise DiskError("the file cannot be opened", where=shown, found=error.strerror) from error


def _bound(root: object, size: int) -> None:
    """Refuse tensors that would be much larger written out than their file is.

    Views can repeat elements without end, and one tensor can have any number of names.
    """
    most = 4 * size + (1 << 20)
    nbytes = sum(node.nbytes for _, node in walk(root, set()) if isinstance(node, Tensor))
    if nbytes > most:
        raise MalformedError(
            "the tensors repeat their elements too often",
            expected=f"at most {most} bytes written out, of a file of {size} bytes",
            found=f"{nbytes} bytes",
        )


def _read(container: Container, file: io.FileIO, size: int) -> Contents:
    # Imported here: opening one container does not load the readers of the others.
    if container == "zip":
        from hornet_convert.checkpoint.container_zip import read_zip as read
    elif container == "legacy":
        from hornet_convert.checkpoint.container_legacy import read_legacy as read
    else:
        from hornet_convert.checkpoint.container_safetensors import read_safetensors as read
    return read(file, size)


def _gather(file: io.FileIO, tensor: Tensor) -> NDArray[np.uint8]:
    """A tensor that does not stand in the file as it is: strided, expanded or big-endian."""
    import numpy as np

    size = tensor.dtype.itemsize
    reach = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    raw = np.empty(reach * size, np.uint8)
    read_into(file, tensor.storage.offset + tensor.first * size, raw.data)
    # The stride of an axis of length 1 reaches nothing and may be any number.
    axes = zip(tensor.shape, tensor.strides, strict=True)
    strides = [stride * size if n > 1 else 0 for n, stride in axes]
    view = np.lib.stride_tricks.as_strided(raw.view(f"V{size}"), tensor.shape, strides)
    dense = np.ascontiguousarray(view).reshape(-1).view(np.uint8)
    if tensor.storage.big_endian:
        dense = dense.reshape(-1, tensor.dtype.swapped)[:, ::-1].reshape(-1)
    return np.ascontiguousarray(dense)
