"""The bytes of edited tensors, made when they are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.conversion.plan import Part
from hornet_convert.numbers.casting import Losses, cast, decode, encode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def produce(checkpoint: Checkpoint, part: Part, losses: Losses) -> NDArray[np.uint8]:
    """The dense little-endian bytes of one tensor of the result, read from the source anew."""
    if part.rows is not None:
        data = _selected(checkpoint, part, part.rows)
    else:
        data = checkpoint.read(part.source)
    if part.resized:
        values = decode(data.data, part.source.dtype).reshape(part.source.shape)
        resized = resize_filter(values, (part.shape[1], part.shape[2]))
        return encode(resized, part.dtype).reshape(-1).view("u1")
    return cast(data.data, part.source.dtype, part.dtype, losses) if part.recast else data


def _selected(checkpoint: Checkpoint, part: Part, rows: tuple[int, ...]) -> NDArray[np.uint8]:
    """Rows of the first axis, each read by itself: a large head is never held as a whole."""
    import numpy as np

    source = part.source
    step = source.strides[0]
    views = (
        replace(
            source,
            shape=source.shape[1:],
            strides=source.strides[1:],
            first=source.first + row * step,
        )
        for row in rows
    )
    return np.concatenate([checkpoint.read(view) for view in views])


def resize_filter(weight: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """A filter (C, h, w, 2) resized bilinearly, corners on corners, to (C, *size, 2).

    In float64, real and imaginary parts apart, as the authors' model does it in float32 when its
    map has another size. Products and sums are rounded one by one, so every machine gets the same.
    """
    import numpy as np

    resized = weight.astype(np.float64)
    for axis, new in ((1, size[0]), (2, size[1])):
        old = resized.shape[axis]
        position = np.arange(new) * ((old - 1) / max(new - 1, 1))
        below = np.minimum(position.astype(np.int64), old - 1)
        above = np.minimum(below + 1, old - 1)
        share = (position - below).reshape([-1 if a == axis else 1 for a in range(4)])
        resized = (
            np.take(resized, below, axis) * (1 - share) + np.take(resized, above, axis) * share
        )
    return resized
