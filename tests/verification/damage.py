"""What a wrong converter, or a hand in the file, does to weights: every case of a fixed list.

Weights are arrays by reference name. A part is what the forward check compares: stem, downsampling,
block, final norm, classifier.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from hornet_convert.family.architecture import DEPTHS

Array = npt.NDArray[np.float32]
Weights = Mapping[str, Array]

_PART: Final = re.compile(r"^(?:stem|stages\.\d+\.(?:downsample|blocks\.\d+)|head\.norm|head\.fc)")


@dataclass(frozen=True)
class Damage:
    """One case: what it is, and the tensors that are other ones afterwards, by reference name."""

    what: str
    changed: Weights = field(compare=False)

    def done_to(self, weights: Weights) -> dict[str, Array]:
        """All weights, damaged."""
        return dict(weights) | dict(self.changed)


def part_of(name: str) -> str:
    """The part of the network that a tensor belongs to."""
    return str(_PART.findall(name)[0])


def parts(weights: Weights) -> dict[str, list[str]]:
    """Names of the tensors by part, in the order of the computation."""
    grouped: dict[str, list[str]] = {}
    for name in weights:
        grouped.setdefault(part_of(name), []).append(name)
    return grouped


def swaps_within_blocks(weights: Weights) -> Iterator[Damage]:
    """Every pair of tensors of one shape within a part."""
    for names in parts(weights).values():
        for item, two in combinations(names, 2):
            yield from _swap(weights, item, two)


def swaps_across_blocks(weights: Weights) -> Iterator[Damage]:
    """Every pair of tensors of one shape in neighbouring parts."""
    for first, second in pairwise(parts(weights).values()):
        for item in first:
            for two in second:
                yield from _swap(weights, item, two)


def _swap(weights: Weights, item: str, two: str) -> Iterator[Damage]:
    if weights[item].shape == weights[two].shape:
        changed = {item: weights[two], two: weights[item]}
        yield Damage(f"{item} and {two} swapped", changed)


def each(
    what: str, change: Callable[[Array], Array | None]
) -> Callable[[Weights], Iterator[Damage]]:
    """The same change to one tensor after the other; None where it does not apply."""

    def damages(weights: Weights) -> Iterator[Damage]:
        for name, array in weights.items():
            changed = change(array)
            if changed is not None and changed.tobytes() != array.tobytes():
                yield Damage(f"{name} {what}", {name: changed.astype(np.float32)})

    return damages


def one_element(weights: Weights) -> Iterator[Damage]:
    """One element of every tensor, chosen by its name, changed by one per cent."""
    for name, array in weights.items():
        changed = array.copy()
        index = zlib.crc32(name.encode()) % array.size
        changed.flat[index] *= np.float32(1.01)
        yield Damage(f"{name}[{index}] changed by 1 %", {name: changed})


def transposed(array: Array) -> Array | None:
    """A square matrix, or the square kernels of a convolution, with its axes swapped."""
    matrix = array.reshape(array.shape[:2]) if array.shape[2:] == (1, 1) else array
    if matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]:
        return np.ascontiguousarray(matrix.T).reshape(array.shape)
    if array.ndim == 4 and array.shape[2] == array.shape[3] > 1:
        return np.ascontiguousarray(array.transpose(0, 1, 3, 2))
    return None


PAIRS: Final = {
    "norm1": "norm2",
    "gamma1": "gamma2",
    "gnconv.dwconv.pre_norm": "gnconv.dwconv.post_norm",
}


def norms_and_scales(weights: Weights) -> Iterator[Damage]:
    """Whole norms, and the layer scales, taken for each other in every block."""
    for part, names in parts(weights).items():
        for item, two in PAIRS.items():
            swapped = {n: n.replace(item, two) for n in names if n.startswith(f"{part}.{item}")}
            swapped |= {other: name for name, other in swapped.items()}
            if swapped:
                changed = {name: weights[other] for name, other in swapped.items()}
                yield Damage(f"{item} and {two} of {part} swapped", changed)


def resized_filters(weights: Weights) -> Iterator[Damage]:
    """A filter resized to the spectrum of a smaller and a larger image, and back."""
    for name, array in weights.items():
        if name.endswith("complex_weight"):
            height, width = array.shape[1:3]
            for size in ((max(height // 2, 2), max(width // 2, 2)), (height + 3, width + 2)):
                there = _resize(_resize(array, 1, size[0]), 2, size[1])
                back = _resize(_resize(there, 1, height), 2, width)
                if back.tobytes() != array.tobytes():
                    yield Damage(f"{name} resized to {size} and back", {name: back})


def _resize(array: Array, axis: int, size: int) -> Array:
    """Bilinear along one axis, corners aligned."""
    old = array.shape[axis]
    at = np.linspace(0, old - 1, size)
    resized = np.apply_along_axis(lambda line: np.interp(at, range(old), line), axis, array)
    return resized.astype(np.float32)


def shifted_stages(weights: Weights) -> Iterator[Damage]:
    """Every stage's blocks moved on by one, the last becoming the first, and back by one."""
    for stage, depth in enumerate(DEPTHS):
        for step in (1, -1):
            changed = {}
            for block in range(depth):
                prefix = f"stages.{stage}.blocks.{block}."
                other = f"stages.{stage}.blocks.{(block + step) % depth}."
                for name in weights:
                    if name.startswith(prefix):
                        changed[name] = weights[other + name.removeprefix(prefix)]
            yield Damage(f"blocks of stage {stage} shifted by {step}", changed)


def _float16(array: Array) -> Array:
    return array.astype(np.float16).astype(np.float32)


def kinds(other: Weights) -> dict[str, Callable[[Weights], Iterable[Damage]]]:
    """The list; `other` are weights of another model of the same shapes."""
    return {
        "swapped within a block": swaps_within_blocks,
        "swapped across neighbouring blocks": swaps_across_blocks,
        "zeroed": each("zeroed", np.zeros_like),
        "negated": each("negated", np.negative),
        "scaled": each("scaled by 1.01", lambda array: array * np.float32(1.01)),
        "one element": one_element,
        "transposed": each("transposed", transposed),
        "rolled": each("rolled by one", lambda array: np.roll(array, 1, axis=0)),
        "norms and layer scales": norms_and_scales,
        "filters resized and back": resized_filters,
        "stages shifted": shifted_stages,
        "float16 round trip": lambda weights: [
            Damage("a float16 round trip", {name: _float16(a) for name, a in weights.items()})
        ],
        "float16 round trip of a tensor": each("through float16", _float16),
        "stale": lambda weights: [
            Damage(f"{name} left from another model", {name: other[name]}) for name in weights
        ],
    }
