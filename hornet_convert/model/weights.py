"""Tensors of an open checkpoint as torch tensors, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor


class CheckpointWeights(Mapping[str, torch.Tensor]):
    """A lazy mapping from name to tensor; valid as long as the checkpoint is open."""

    def __init__(self, checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
        self._checkpoint = checkpoint
        self._tensors = tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read one tensor, in its own dtype and shape."""
        tensor = self._tensors[name]
        data = torch.from_numpy(self._checkpoint.read(tensor))
        dtype: torch.dtype = getattr(torch, tensor.dtype.torch)
        return data.view(dtype).reshape(tensor.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
