"""Tensors of a checkpoint as torch tensors, each read, or looked at in the file, when asked for."""

from __future__ import annotations

import io
import mmap
import os
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import DiskError
from hornet_convert.text import printable


class CheckpointWeights(Mapping[str, torch.Tensor]):
    """A lazy mapping from name to tensor; valid as long as the checkpoint is open."""

    def __init__(self, checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
        self._checkpoint = checkpoint
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read one tensor, in its own dtype and shape, row-major."""
        tensor = self._tensors[name]
        return _seen_as(torch.from_numpy(self._checkpoint.read(tensor)), tensor)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class MappedWeights(CheckpointWeights):
    """A lazy mapping whose tensors are views of the file; valid also when the checkpoint is closed.

    A tensor that stands in the file densely, little-endian, aligned and in a storage of its own is
    a view of the file: no byte is read before it is used, nor kept beyond what the system caches.
    The mapping is private (copy-on-write): changing a tensor changes neither the file nor what
    other programs see of it. Any other tensor is read when it is asked for. As with every mapped
    file, it must not be overwritten or cut short in place while its tensors are in use; replacing
    it by another file or removing it does no harm.

    Raises DiskError if the file cannot be mapped.
    """

    def __init__(self, checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
        ours = io.FileIO(os.dup(checkpoint.file.fileno()))
        weakref.finalize(self, ours.close)
        super().__init__(replace(checkpoint, file=ours), tensors)
        # Tensors that share a storage are copied, so that changing one never changes another.
        self._users = Counter(tensor.storage.offset for tensor in self._tensors.values())
        try:
            self._file = mmap.mmap(ours.fileno(), checkpoint.size, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise DiskError(
                "the file cannot be mapped into memory",
                where=printable(str(checkpoint.path)),
                found=printable(str(error)),
                hint="Make sure nothing else writes to it, or copy it to a local disk.",
            ) from error

    def __getitem__(self, name: str) -> torch.Tensor:
        """One tensor, in its own dtype and shape, row-major."""
        tensor = self._tensors[name]
        if tensor.span is None or tensor.numel == 0 or self._users[tensor.storage.offset] > 1:
            return super().__getitem__(name)
        start, nbytes = tensor.span
        if start % tensor.dtype.itemsize:
            return super().__getitem__(name)
        data = torch.frombuffer(self._file, dtype=torch.uint8, count=nbytes, offset=start)
        return _seen_as(data, tensor)


def _seen_as(data: torch.Tensor, tensor: Tensor) -> torch.Tensor:
    """Bytes, dense and little-endian, as the tensor that they are."""
    dtype: torch.dtype = getattr(torch, tensor.dtype.torch)
    if tensor.numel == 0:  # numpy's strides of nothing are not torch's
        return torch.empty(tensor.shape, dtype=dtype, device="cpu")
    return data.view(dtype).reshape(tensor.shape)
