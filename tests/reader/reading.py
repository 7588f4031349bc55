"""All tensors of a checkpoint, by this package."""

from __future__ import annotations

from pathlib import Path

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict

Described = tuple[str, tuple[int, ...], bytes]


def read(path: Path) -> dict[str, bytes]:
    """The bytes of every tensor."""
    return {name: raw for name, (_, _, raw) in read_described(path).items()}


def read_described(path: Path) -> dict[str, Described]:
    """Torch's name of the element type, shape and bytes of every tensor."""
    with open_checkpoint(path) as checkpoint:
        return {
            name: (tensor.dtype.torch, tensor.shape, checkpoint.read(tensor).tobytes())
            for name, tensor in select_state_dict(checkpoint.root).tensors.items()
        }
