"""Tensors of a checkpoint as views of its file, mapped into memory: nothing is read until used."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Mapping

import torch

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.errors import DiskError, printable


class MappedWeights(Mapping[str, torch.Tensor]):
    """A read-only, lazy mapping from name to tensor, valid also when the checkpoint is closed.

    A tensor that stands in the file densely, little-endian, aligned and in a storage of its own is
    a view of the file: no byte is read before it is used, nor kept beyond what the system caches.
    The mapping is private (copy-on-write): changing a tensor changes neither the file nor what
    other programs see of it. Any other tensor is copied when it is asked for. As with every mapped
    file, it must not be overwritten or cut short in place while its tensors are in use; replacing
    it by another file or removing it does no harm.

    Raises DiskError if the file cannot be mapped.
    """

    def __init__(self, checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)
        # Tensors that share a storage are copied, so that changing one never changes another.
        self._users = Counter(tensor.storage.offset for tensor in self._tensors.values())
        try:
            self._file = mmap.mmap(
                checkpoint.file.fileno(), checkpoint.size, access=mmap.ACCESS_COPY
            )
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
        dtype: torch.dtype = getattr(torch, tensor.dtype.torch)
        if tensor.numel == 0:
            return torch.empty(tensor.shape, dtype=dtype, device="cpu")
        if tensor.span is None:
            return self._gathered(tensor, dtype)
        start, nbytes = tensor.span
        data = self._bytes(start, nbytes)
        if start % tensor.dtype.itemsize or self._users[tensor.storage.offset] > 1:
            data = data.clone()
        return data.view(dtype).reshape(tensor.shape)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def _bytes(self, start: int, count: int) -> torch.Tensor:
        return torch.frombuffer(self._file, dtype=torch.uint8, count=count, offset=start)

    def _gathered(self, tensor: Tensor, dtype: torch.dtype) -> torch.Tensor:
        """A copy of a tensor that is strided, expanded or big-endian."""
        size = tensor.dtype.itemsize
        reach = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
        start = tensor.storage.offset + tensor.first * size
        elements = self._bytes(start, reach * size).view(reach, size)
        if tensor.storage.big_endian:
            part = size // 2 if tensor.dtype.kind == "complex" else size
            elements = elements.view(reach, -1, part).flip(2).view(reach, size)
        # The stride of an axis of length 1 reaches nothing and may be any number.
        axes = zip(tensor.shape, tensor.strides, strict=True)
        strides = [stride * size if n > 1 else 0 for n, stride in axes]
        strided = elements.as_strided((*tensor.shape, size), (*strides, 1))
        dense = strided.clone(memory_format=torch.contiguous_format)
        return dense.flatten().view(dtype).reshape(tensor.shape)
