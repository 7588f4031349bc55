"""What is in a checkpoint, HorNet or not: the report behind `inspect`. Pure; reads no tensor."""

from __future__ import annotations

import math
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
from hornet_convert.checks.identity import identify
from hornet_convert.errors import FileRefusedError
from hornet_convert.family import layouts
from hornet_convert.report.document import result

# A block of any network: names up to the first run of numbers, `layer1.0`, `encoder.layers.3`.
_NUMBERED = re.compile(r"[^.]+(?:\.[^.]+)*?(?:\.\d+)+(?=\.)")
# Tensors listed one by one: a small file can hold very many names of one tensor.
MAX_LISTED = 20_000
MAX_METADATA = 1_000  # texts of the metadata listed
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

    `wrapper` to `raw_wrapper` are those of `StateDict`, `layout` to `num_classes` those of
    `Identity`; `complete` if keys and shapes are exactly the model's. `problem` is why the file has
    no state dict that can be read; `blocks` then hold every tensor in it by its path. They list the
    first 20,000 tensors, `unlisted` counts the rest; `parameters` (elements), `nbytes` and `dtypes`
    (tensors by element type) are of all. `beside` has one printable line for each thing beside the
    weights; `names` are those the file asks to import, `dangerous` if a plain `pickle.load` would
    be; `metadata` holds the first 1,000 texts of a safetensors header, `unlisted_metadata` counts
    the rest.
    """

    path: str
    container: str
    size: int
    wrapper: tuple[str, ...]
    prefix: str
    is_ema: bool
    ema_wrapper: tuple[str, ...] | None
    raw_wrapper: tuple[str, ...] | None
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
    unlisted_metadata: int

    def as_json(self) -> dict[str, Any]:
        """The documented JSON object: what every result begins with, then the same."""
        return {**result(self.path), **asdict(self)}


def inspect_checkpoint(
    checkpoint: Checkpoint,
    *,
    key: str | None = None,
    ema: bool = False,
    prefix: str | None = None,
) -> Inspection:
    """Report on an open checkpoint; `key`, `ema` and `prefix` as for `select_state_dict`.

    Raises UsageError if there is nothing where they say. Whatever else is wrong with the
    weights is in the report's `problem`.
    """
    problem = None
    leaves: Iterable[tuple[str, Leaf]]
    try:
        found = select_state_dict(checkpoint.root, key=key, ema=ema, prefix=prefix)
        leaves = found.tensors.items()
    except FileRefusedError as error:
        problem, found = error.message, StateDict({})
        leaves = tensors_in(checkpoint.root)
    identity = identify(found.tensors)
    blocks = dict[str, list[TensorRow]]()
    dtypes = Counter[str]()
    parameters = nbytes = 0
    for number, (name, leaf) in enumerate(leaves):
        row = _row(name, leaf)
        parameters += _elements(row)
        nbytes += row.nbytes or 0
        dtypes[row.dtype] += 1
        if number < MAX_LISTED:
            blocks.setdefault(_block(name, identity.layout), []).append(row)
    reasons = dict(danger(checkpoint.globals_used))
    elsewhere = [f"the weights lie in {checkpoint.beside}"] if checkpoint.beside else []
    return Inspection(
        path=str(checkpoint.path),
        container=checkpoint.container,
        size=checkpoint.size,
        wrapper=found.wrapper,
        prefix=found.prefix,
        is_ema=found.is_ema,
        ema_wrapper=found.ema_wrapper,
        raw_wrapper=found.raw_wrapper,
        layout=identity.layout,
        model=identity.name,
        num_classes=identity.num_classes,
        complete=identity.sound,
        problem=problem,
        blocks=tuple(
            Block(name, tuple(rows), sum(map(_elements, rows)), sum(r.nbytes or 0 for r in rows))
            for name, rows in blocks.items()
        ),
        unlisted=max(dtypes.total() - MAX_LISTED, 0),
        parameters=parameters,
        nbytes=nbytes,
        dtypes=dict(dtypes),
        beside=(*found.dropped, *elsewhere),
        names=tuple(Name(n, use, reasons.get(n)) for n, use in checkpoint.globals_used.items()),
        dangerous=bool(reasons),
        metadata=dict(islice(checkpoint.metadata.items(), MAX_METADATA)),
        unlisted_metadata=max(len(checkpoint.metadata) - MAX_METADATA, 0),
    )


def _row(name: str, leaf: Leaf) -> TensorRow:
    if not isinstance(leaf, Tensor):
        return TensorRow(name, leaf.kind, None, None, False)
    return TensorRow(name, leaf.dtype.torch, leaf.shape, leaf.nbytes, leaf.span is not None)


def _elements(row: TensorRow) -> int:
    return 0 if row.shape is None else math.prod(row.shape)


def _block(name: str, layout: layouts.Layout | None) -> str:
    """The part of the network that a name belongs to, in the file's own spelling where foreign."""
    known = None if layout is None else layouts.translate(name, layout, "reference")
    if known is not None and (match := _HORNET.match(known)):
        return match[0]
    match = _NUMBERED.match(name[:1000])
    return match[0] if match else name.partition(".")[0]
