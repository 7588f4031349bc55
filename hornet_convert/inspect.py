"""What is in a checkpoint, HorNet or not: the report behind `inspect`. Pure; reads no tensor."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from hornet_convert.checkpoint.danger import danger
from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.state_dict import StateDict, select_state_dict
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.checkpoint.tree import Leaf, tensors_in
from hornet_convert.errors import FileRefusedError
from hornet_convert.family import layouts
from hornet_convert.verification.identity import identify

# A block of any network: names up to the first run of numbers, `layer1.0`, `encoder.layers.3`.
_NUMBERED = re.compile(r"[^.]+(?:\.[^.]+)*?(?:\.\d+)+(?=\.)")
# Tensors listed one by one: a small file can hold very many names of one tensor.
MAX_LISTED = 20_000
# Blocks of a HorNet in the reference layout.
_HORNET = re.compile(r"stages\.\d+\.(?:blocks\.\d+|downsample)|stem|head")


@dataclass(frozen=True)
class TensorRow:
    """One tensor: `dtype` as torch calls it, or what makes it unreadable; `nbytes` written out."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    nbytes: int | None
    contiguous: bool


@dataclass(frozen=True)
class Block:
    """The tensors of one part of the network, with their sums."""

    name: str
    tensors: tuple[TensorRow, ...]
    parameters: int
    nbytes: int


@dataclass(frozen=True)
class Name:
    """One name the file asks to import: what for, and why that is dangerous, None if it is not."""

    name: str
    use: str
    danger: str | None


@dataclass(frozen=True)
class Inspection:
    """What is in a file. Texts from the file are as they stand in it: escape before showing.

    Parameters
    ----------
    path, container, size
        The file, its form and its bytes.
    wrapper, prefix
        Keys that lead to the weights, and what was taken off each name.
    is_ema, ema_wrapper
        Whether these are averaged weights, and where such lie, None if nowhere.
    layout, model, num_classes
        Which HorNet it is; None as far as it is none. `complete` if keys and shapes are exactly
        the model's.
    problem
        Why the file has no state dict that can be read; `blocks` then hold every tensor in it by
        its path.
    blocks, unlisted
        The first 20,000 tensors by block, and how many more there are.
    parameters, nbytes, dtypes
        Of all tensors, listed or not: elements and bytes; tensors by element type.
    beside
        One printable line for each thing beside the weights.
    names, dangerous
        Names the file asks to import; whether a plain `pickle.load` of it would be dangerous.
    metadata
        Texts in a safetensors header.
    """

    path: str
    container: str
    size: int
    wrapper: tuple[str, ...]
    prefix: str
    is_ema: bool
    ema_wrapper: tuple[str, ...] | None
    layout: str | None
    model: str | None
    num_classes: int | None
    complete: bool
    problem: str | None
    blocks: tuple[Block, ...]
    unlisted: int
    parameters: int
    nbytes: int
    dtypes: dict[str, int]
    beside: tuple[str, ...]
    names: tuple[Name, ...]
    dangerous: bool
    metadata: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The same as plain dicts, lists and scalars."""
        return asdict(self)


def inspect_checkpoint(checkpoint: Checkpoint, ema: bool = False) -> Inspection:
    """Report on an open checkpoint; with `ema`, on its averaged weights.

    Raises UsageError if `ema` is asked for and there are none. Whatever else is wrong with the
    weights is in the report's `problem`.
    """
    reasons = dict(danger(checkpoint.globals_used))
    names = tuple(
        Name(name, use, reasons.get(name)) for name, use in checkpoint.globals_used.items()
    )
    problem = None
    try:
        found = select_state_dict(checkpoint.root, ema)
        leaves: Iterable[tuple[str, Leaf]] = found.tensors.items()
    except FileRefusedError as error:
        problem = error.message
        found = StateDict({}, (), "", False, None, ())
        leaves = tensors_in(checkpoint.root)
    identity = identify(found.tensors)
    leaves = iter(leaves)
    blocks = _blocks(islice(leaves, MAX_LISTED), identity.layout)
    parameters = sum(block.parameters for block in blocks)
    nbytes = sum(block.nbytes for block in blocks)
    dtypes = Counter(row.dtype for block in blocks for row in block.tensors)
    unlisted = 0
    for _, leaf in leaves:
        unlisted += 1
        if isinstance(leaf, Tensor):
            parameters += leaf.numel
            nbytes += leaf.nbytes
        dtypes[_dtype(leaf)] += 1
    return Inspection(
        path=str(checkpoint.path),
        container=checkpoint.container,
        size=checkpoint.size,
        wrapper=found.wrapper,
        prefix=found.prefix,
        is_ema=found.is_ema,
        ema_wrapper=found.ema_wrapper,
        layout=identity.layout,
        model=identity.name,
        num_classes=identity.num_classes,
        complete=identity.sound,
        problem=problem,
        blocks=blocks,
        unlisted=unlisted,
        parameters=parameters,
        nbytes=nbytes,
        dtypes=dict(dtypes),
        beside=found.dropped,
        names=names,
        dangerous=bool(reasons),
        metadata=dict(checkpoint.metadata),
    )


def _blocks(leaves: Iterable[tuple[str, Leaf]], layout: layouts.Layout | None) -> tuple[Block, ...]:
    rows: dict[str, list[TensorRow]] = {}
    parameters: dict[str, int] = {}
    for name, leaf in leaves:
        block = _block(name, layout)
        rows.setdefault(block, []).append(_row(name, leaf))
        numel = leaf.numel if isinstance(leaf, Tensor) else 0
        parameters[block] = parameters.get(block, 0) + numel
    return tuple(
        Block(block, tuple(group), parameters[block], sum(row.nbytes or 0 for row in group))
        for block, group in rows.items()
    )


def _row(name: str, leaf: Leaf) -> TensorRow:
    if not isinstance(leaf, Tensor):
        return TensorRow(name, _dtype(leaf), None, None, False)
    return TensorRow(name, _dtype(leaf), leaf.shape, leaf.nbytes, leaf.span is not None)


def _dtype(leaf: Leaf) -> str:
    return leaf.dtype.torch if isinstance(leaf, Tensor) else leaf.kind


def _block(name: str, layout: layouts.Layout | None) -> str:
    """The part of the network that a name belongs to, in the file's own spelling where foreign."""
    known = None if layout is None else layouts.translate(name, layout, "reference")
    if known is not None and (match := _HORNET.match(known)):
        return match[0]
    match = _NUMBERED.match(name[:1000])
    return match[0] if match else name.partition(".")[0]
