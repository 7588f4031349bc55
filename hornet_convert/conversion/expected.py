"""What must stand in a result, restated from what was asked for: a second opinion on the plan.

Nothing here is used to make a result. Names come from the lists of what each layout's own code
expects (`family/keys.py`), not from the table that translates; an edit is stated the other way
round: which elements of the source must stand in this tensor?
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.checkpoint.inert import Dict
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME, DTYPES, DType, Tensor
from hornet_convert.checkpoint.wrappers import EMA_PREFIX, EMA_WRAPPERS, WRAPPERS
from hornet_convert.checks.model_file import ModelFile
from hornet_convert.conversion.request import Edits, Request, Target
from hornet_convert.family import labels
from hornet_convert.family.keys import expected_keys
from hornet_convert.text import printable

Floats = NDArray[np.float64]

_FILTER: Final = re.compile(r"stages\.([23])\.blocks\.\d+\.gnconv\.dwconv\.complex_weight")
_CLASSIFIER: Final = ("head.fc.weight", "head.fc.bias")

# What the code of each layout expects around the state dict in a `.pth`: the key that leads to it,
# and all keys at the top.
WRAPPED: Final[dict[Target, tuple[str | None, set[str]]]] = {
    "reference": (None, set()),
    "official": ("model", {"model"}),
    "openmmlab": ("state_dict", {"state_dict", "meta"}),
    "backbone": (None, set()),
}
# Where the numbers of a type would go on if infinity were one more of them.
_BEYOND: Final = {"F32": 2.0**128, "F16": 2.0**16, "BF16": 2.0**128}


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
    rows: tuple[int, ...] | None
    resized: bool

    @property
    def copied(self) -> bool:
        """Whether its bytes must be the source's."""
        return self.rows is None and not self.resized and self.dtype == self.source.dtype


def expected_result(file: ModelFile, target: Target, edits: Edits) -> dict[str, Expected]:
    """Every tensor that the result of a conversion must hold, by its key in the result.

    Raises KeyError if the source lacks one.
    """
    layout, architecture = file.identity.layout, file.identity.architecture
    if layout is None or architecture is None:
        raise ValueError("the source is not identified")
    found = file.state.tensors
    keys = {name: k for k, name in expected_keys(layout, architecture, True).items() if k in found}
    classifier = edits.head != "none" and "head.fc.weight" in keys
    wanted = expected_keys(target, architecture, classifier)
    return {
        key: _expected(name, keys[name], found[keys[name]], edits) for key, name in wanted.items()
    }


def _expected(name: str, key: str, source: Tensor, edits: Edits) -> Expected:
    shape, dtype, rows = source.shape, source.dtype, None
    of_filter = _FILTER.fullmatch(name)
    if name in _CLASSIFIER and edits.head not in ("keep", shape[0]):
        rows = labels.in1k_rows(shape[0]) or ()
        shape = (len(rows), *shape[1:])
    if of_filter and edits.resolution is not None:
        side = edits.resolution // (16 if of_filter[1] == "2" else 32)
        shape = (shape[0], side, side // 2 + 1, 2)
    resized = rows is None and shape != source.shape
    if edits.dtype is not None:
        dtype = DTYPES["F32"] if of_filter else BY_TORCH_NAME[edits.dtype]
    elif resized and dtype.itemsize < 4:
        dtype = DTYPES["F32"]
    return Expected(name, key, source, dtype, shape, rows, resized)


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


def is_resized(source: Floats, result: Floats) -> bool:
    """Whether a filter (C, h, w, 2) is another one resized bilinearly, corners on corners.

    As products with the hat functions of both axes, in float64; float32 is what may be lost.
    """
    rows = _hats(source.shape[1], result.shape[1])
    columns = _hats(source.shape[2], result.shape[2])
    wanted = np.einsum("ih,chwp,jw->cijp", rows, source, columns, optimize=True)
    return bool((np.abs(result - wanted) <= 2.0**-22 * np.abs(source).max(initial=0.0)).all())


def _hats(old: int, new: int) -> Floats:
    """The share that each of `old` samples has in each of `new` ones (new, old)."""
    positions = np.linspace(0.0, old - 1.0, new)
    return np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(old)[None, :]))


def wrongly_chosen(file: ModelFile, request: Request) -> str | None:
    """Whether other weights of the file were taken than those that were asked for, in a sentence.

    Goes down from the top of the file again, along the keys that the choice names.
    """
    state, root = file.state, file.checkpoint.root
    inside = root
    for step in state.wrapper:
        inside = inside.get(step) if isinstance(inside, Dict) else None
    # Averages may stand among the other weights.
    inline = request.ema and state.ema_wrapper == (*state.wrapper, f"{EMA_PREFIX}*")
    prefix, spelled = (EMA_PREFIX, _mangled) if inline else (state.prefix, str)
    there = {
        spelled(key.removeprefix(prefix)): value
        for key, value in (inside.items() if isinstance(inside, Dict) else ())
        if isinstance(key, str) and (key.startswith(prefix) or not inline)
    }
    for name, tensor in state.tensors.items():
        if there.get(spelled(name)) is not tensor:
            return f"the tensor taken for {printable(name)} is not the one of that name in the file"
    if request.key is not None:
        same = ".".join(state.wrapper) == request.key
        return None if same else f"--key {printable(request.key)} was asked for: {state.wrapper}"
    averaged = inline or any(step in EMA_WRAPPERS for step in state.wrapper)
    if request.ema and not averaged and state.raw_wrapper is None:
        return "averaged weights were asked for, and plain ones taken"
    plain = [key for key in WRAPPERS if isinstance(root, Dict) and _has_tensors(root.get(key))]
    if averaged and not request.ema and plain and not any(key in plain for key in state.wrapper):
        return f"averaged weights were taken, and plain ones lie under {', '.join(plain)}"
    return None


def _mangled(name: str) -> str:
    """As mmcv spells it, whether there was a `module.` before it or not."""
    return name.replace(".", "_").removeprefix("module_")


def _has_tensors(value: object) -> bool:
    return isinstance(value, Dict) and any(isinstance(part, Tensor) for _, part in value.items())
