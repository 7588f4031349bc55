"""What must stand in a result, restated from what was asked for: a second opinion on the plan.

Nothing here is used to make a result. Names come from the lists of what each layout's own code
expects (`family/keys.py`), not from the table that translates; an edit is stated the other way
round: which elements of the source must stand in this tensor?
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.tensors import DType, Tensor
from hornet_convert.conversion.request import Edits, Target
from hornet_convert.family import labels
from hornet_convert.family.keys import expected_keys

Floats = NDArray[np.float64]

_FILTER: Final = re.compile(r"stages\.([23])\.blocks\.\d+\.gnconv\.dwconv\.complex_weight")
_CLASSIFIER: Final = ("head.fc.weight", "head.fc.bias")
_FINAL_NORM: Final = frozenset({"head.norm.weight", "head.norm.bias"})
_STAGE_NORM: Final = re.compile(r"(?:backbone\.)?norm[0123]\.(?:weight|bias)")
_A_FILTER: Final = "stages.2.blocks.0.gnconv.dwconv.complex_weight"
_LAYOUTS: Final[tuple[Target, ...]] = ("official", "openmmlab", "reference")

# Every element type that weights may have, by the name that torch gives it.
TYPES: Final = {
    "float64": DType("F64", "float64", 8, "float"),
    "float32": DType("F32", "float32", 4, "float"),
    "float16": DType("F16", "float16", 2, "float"),
    "bfloat16": DType("BF16", "bfloat16", 2, "float"),
    "float8_e4m3fn": DType("F8_E4M3", "float8_e4m3fn", 1, "float"),
    "float8_e5m2": DType("F8_E5M2", "float8_e5m2", 1, "float"),
}
# Where the numbers of a type would go on if infinity were one more of them.
_BEYOND: Final = {"F32": 2.0**128, "F16": 2.0**16, "BF16": 2.0**128}
_SIZES: Final = {64: "tiny", 96: "small", 128: "base", 192: "large"}


@dataclass(frozen=True)
class Expected:
    """One tensor of a result.

    `name` is its reference name, `source` the tensor of the source under `key`. `rows` are those of
    the source's first axis that must stand here, None for all; `resized` is whether it is a filter
    of another size than the source's.
    """

    name: str
    key: str
    source: Tensor
    dtype: DType
    shape: tuple[int, ...]
    rows: tuple[int, ...] | None = None
    resized: bool = False

    @property
    def copied(self) -> bool:
        """Whether its bytes must be the source's."""
        return self.rows is None and not self.resized and self.dtype == self.source.dtype


@dataclass(frozen=True)
class Contents:
    """A HorNet: its tensors by key, in the order of the computation, and what it is called.

    `resolution` is the side in pixels of the images that its filters are for, None without filters.
    """

    layout: Target
    tensors: dict[str, Expected]

    @cached_property
    def by_name(self) -> dict[str, Expected]:
        """The tensors by reference name."""
        return {row.name: row for row in self.tensors.values()}

    @property
    def resolution(self) -> int | None:
        """Side in pixels of the images that the filters are for."""
        row = self.by_name.get(_A_FILTER)
        return None if row is None else 16 * row.shape[1]

    @property
    def model(self) -> str:
        """Short name of the model."""
        return model_name(self.by_name["stem.0.weight"].shape[0], self.resolution)

    @property
    def num_classes(self) -> int | None:
        """Rows of the classifier, None without one."""
        row = self.by_name.get("head.fc.weight")
        return None if row is None else row.shape[0]

    @property
    def rounded(self) -> str | None:
        """The element type that numbers were rounded to; None if every number is kept."""
        for row in self.tensors.values():
            if row.dtype != row.source.dtype and row.dtype.itemsize <= row.source.dtype.itemsize:
                return row.dtype.torch
        return None

    @property
    def rows(self) -> tuple[int, ...] | None:
        """The rows taken of the source's classifier; None for all."""
        row = self.by_name.get("head.fc.weight")
        return None if row is None else row.rows

    @property
    def resized(self) -> bool:
        """Whether filters have another size than in the source."""
        return any(row.resized for row in self.tensors.values())

    @property
    def copied(self) -> bool:
        """Whether every tensor is the source's."""
        return all(row.copied for row in self.tensors.values())


def model_name(width: int, resolution: int | None) -> str:
    """What a HorNet of a width is called, with filters for a resolution or without any."""
    name = _SIZES.get(width, f"w{width}")
    if resolution is not None:
        name += "-gf" if resolution == 224 else f"-gf{resolution}"
    return name


def source_contents(tensors: Mapping[str, Tensor]) -> Contents:
    """The HorNet in a source. Raises KeyError if its keys are those of no layout."""
    filters = any(key.endswith(".complex_weight") for key in tensors)
    for layout in _LAYOUTS:
        names = expected_keys(layout, filters, classifier=True)
        if all(key in names or _STAGE_NORM.fullmatch(key) for key in tensors):
            rows = {
                key: Expected(names[key], key, tensor, _type(tensor), tensor.shape)
                for key, tensor in tensors.items()
                if key in names  # the norms of a detector are in no classification checkpoint
            }
            return Contents(layout, rows)
    raise KeyError("keys of no layout")


def expected_result(source: Contents, target: Target, edits: Edits) -> Contents:
    """What a result must hold. Raises KeyError if the source lacks a tensor."""
    there = source.by_name
    classifier = edits.head != "none" and _CLASSIFIER[0] in there
    wanted = expected_keys(target, _A_FILTER in there, classifier)
    if target == "openmmlab" and _FINAL_NORM.isdisjoint(there):
        wanted = {key: name for key, name in wanted.items() if name not in _FINAL_NORM}
    return Contents(target, {key: _edited(there[name], edits) for key, name in wanted.items()})


def _type(tensor: Tensor) -> DType:
    return TYPES[tensor.dtype.torch]


def _edited(row: Expected, edits: Edits) -> Expected:
    shape, dtype, rows = row.shape, row.dtype, None
    of_filter = _FILTER.fullmatch(row.name)
    if row.name in _CLASSIFIER and edits.head not in ("keep", shape[0]):
        rows = in1k_rows()
        shape = (len(rows), *shape[1:])
    if of_filter and edits.resolution is not None:
        side = edits.resolution // (16 if of_filter[1] == "2" else 32)
        shape = (shape[0], side, side // 2 + 1, 2)
    resized = rows is None and shape != row.shape
    if edits.dtype is not None:
        dtype = TYPES["float32" if of_filter else edits.dtype]
    elif resized and dtype.itemsize < 4:
        dtype = TYPES["float32"]
    return Expected(row.name, row.key, row.source, dtype, shape, rows, resized)


def in1k_rows() -> tuple[int, ...]:
    """The row of the 21k head for each class of ImageNet-1k: that of the same synset."""
    many = {each.synset: row for row, each in enumerate(labels.classes(10459) or ())}
    return tuple(many[each.synset] for each in labels.classes(1000) or ())


@np.errstate(invalid="ignore")  # what is not a number stays so
def is_rounded(source: NDArray[np.uint8], result: NDArray[np.uint8], was: DType, to: DType) -> bool:
    """Whether numbers of one type are those of another rounded to nearest, ties to even.

    Told without rounding: each lies between the middles to both neighbours among the numbers of the
    result's type, or on one of them if its own last bit is even. Both are dense bytes.
    """
    exact, given = numbers_in(source, was), numbers_in(result, to)
    nan = np.isnan(exact)
    if (nan != np.isnan(given)).any() or (np.signbit(exact) != np.signbit(given))[~nan].any():
        return False
    bits = result.view(f"<u{to.itemsize}") & ((1 << (8 * to.itemsize - 1)) - 1)
    beyond = _BEYOND[to.code]
    wanted, magnitude = np.minimum(np.abs(exact), beyond), np.minimum(np.abs(given), beyond)
    above = (magnitude + np.fmin(_of_bits(bits + 1, to), beyond)) / 2
    below = (magnitude + _of_bits(np.maximum(bits, 1) - 1, to)) / 2
    tie = ((wanted == above) | (wanted == below)) & (bits % 2 == 1)
    return not ((wanted > above) | (wanted < below) | tie).any()


def numbers_in(raw: NDArray[np.uint8], dtype: DType) -> Floats:
    """Dense little-endian floating-point numbers in float64; a bfloat16 is half a float32."""
    if dtype.code == "BF16":
        padded = np.zeros((raw.size // 2, 4), np.uint8)
        padded[:, 2:] = raw.reshape(-1, 2)
        return padded.reshape(-1).view("<f4").astype(np.float64)
    return raw.view(f"<f{dtype.itemsize}").astype(np.float64)


def _of_bits(bits: NDArray[Any], dtype: DType) -> Floats:
    return numbers_in(bits.astype(f"<u{dtype.itemsize}").view(np.uint8), dtype)


def is_resized(source: Floats, result: Floats, dtype: DType) -> bool:
    """Whether a filter (C, h, w, 2) is another one resized bilinearly, corners on corners.

    As products with the hat functions of both axes, in float64. What may be lost is half a unit in
    the last place of the result's type, and what float64 itself loses.
    """
    rows = _hats(source.shape[1], result.shape[1])
    columns = _hats(source.shape[2], result.shape[2])
    wanted = np.einsum("ih,chwp,jw->cijp", rows, source, columns, optimize=True)
    last_place = np.spacing(np.abs(result).astype(f"<f{dtype.itemsize}")).astype(np.float64)
    lost = 0.5 * last_place + 2.0**-44 * np.abs(source).max(initial=0.0)
    return bool((np.abs(result - wanted) <= lost).all())


def _hats(old: int, new: int) -> Floats:
    """The share that each of `old` samples has in each of `new` ones (new, old)."""
    positions = np.linspace(0.0, old - 1.0, new)
    return np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(old)[None, :]))
