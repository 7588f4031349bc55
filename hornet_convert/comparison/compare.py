"""`compare`: what two checkpoints have in common, in any container, layout and element type.

Two HorNets are compared under their reference names, anything else under the names in the files.
Both files are hashed, tensor by tensor; only tensors whose bytes differ are read again, side by
side and piece by piece.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from hornet_convert.checkpoint.reader import Checkpoint, open_checkpoint
from hornet_convert.checkpoint.tensors import DType, Tensor
from hornet_convert.checks.findings import Findings
from hornet_convert.checks.model_file import ModelFile, examine
from hornet_convert.checks.scan import scan
from hornet_convert.comparison.difference import Comparer
from hornet_convert.comparison.outcome import Change, Comparison, Reshaped, Side
from hornet_convert.family.architecture import Shape
from hornet_convert.numbers.elements import pieces
from hornet_convert.report.progress import Progress, reading
from hornet_convert.text import in_order


def compare(a: Path, b: Path, *, ema: bool = False, progress: Progress | None = None) -> Comparison:
    """Compare the weights in two files; with `ema`, the averaged weights of B.

    Raises
    ------
    HornetConvertError
        One of the files cannot be read as a checkpoint, or B has no averaged weights.
    """
    with open_checkpoint(a) as first, open_checkpoint(b) as second:
        item = _look_at(examine(first), progress)
        two = _look_at(examine(second, ema=ema), progress)
        common = [name for name in item.tensors if name in two.tensors]
        shapes = {name: (item.tensors[name].shape, two.tensors[name].shape) for name in common}
        shaped = [name for name, (a_shape, b_shape) in shapes.items() if a_shape == b_shape]
        differing = [name for name in shaped if item.contents[name] != two.contents[name]]
        return Comparison(
            item.side,
            two.side,
            len(shaped) - len(differing),
            tuple(name for name in item.tensors if name not in two.tensors),
            tuple(name for name in two.tensors if name not in item.tensors),
            tuple(Reshaped(name, *shapes[name]) for name in common if name not in shaped),
            _changes(item, two, differing, progress),
        )


class _Seen(NamedTuple):
    """One open file: its tensors by the name to compare them under, and what a pass saw of it.

    `contents` is what has to agree for a tensor to be the same.
    """

    checkpoint: Checkpoint
    side: Side
    tensors: dict[str, Tensor]
    contents: dict[str, tuple[DType, Shape, str]]


def _look_at(file: ModelFile, progress: Progress | None) -> _Seen:
    checkpoint, identity, tensors = file.checkpoint, file.identity, file.state.tensors
    text = reading(progress, f"reading {checkpoint.path.name}")
    seen = scan(checkpoint, tensors, look_at_values=False, progress=text)
    known = identity.architecture is not None
    keys = _named(file)
    side = Side(
        path=str(checkpoint.path),
        container=checkpoint.container,
        layout=identity.layout if known else None,
        model=identity.name,
        num_classes=identity.num_classes if known else None,
        tensors=len(tensors),
        sha256=seen.sha256,
        fingerprint=Findings(file, seen).fingerprint,
        damaged=tuple(name for name, key in keys.items() if key in seen.damaged),
        dangers=file.dangers,
    )
    named = {name: tensors[keys[name]] for name in sorted(keys, key=in_order)}
    contents = {n: (t.dtype, t.shape, seen.digests[keys[n]]) for n, t in named.items()}
    return _Seen(checkpoint, side, named, contents)


def _named(file: ModelFile) -> dict[str, str]:
    """Keys in the file's order, by reference name where they have one that is not taken."""
    known = file.identity.names if file.identity.architecture is not None else {}
    named: dict[str, str] = {}
    for key in file.state.tensors:
        name = known.get(key, key)
        if name in named:
            name = key
        while name in named:
            name += " (again)"
        named[name] = key
    return named


def _changes(
    first: _Seen, two: _Seen, differing: list[str], progress: Progress | None
) -> tuple[Change, ...]:
    """Read the tensors that differ, side by side."""
    counts = Counter(first.contents.values())
    places = {content: name for name, content in first.contents.items()}
    total, done = sum(first.tensors[name].nbytes for name in differing), 0
    changes = []
    for name in differing:
        a, b, content = first.tensors[name], two.tensors[name], two.contents[name]
        comparer = Comparer(a.dtype, b.dtype)
        for x, y in zip(pieces(first.checkpoint, a), pieces(two.checkpoint, b), strict=True):
            comparer.update(x, y)
        # Where several tensors are alike, as biases of zeros are, it says nothing.
        same_as = places[content] if counts[content] == 1 else None
        changes.append(Change(name, a.dtype.torch, b.dtype.torch, comparer.result(), same_as))
        done += a.nbytes
        if progress is not None:
            progress("comparing", done, total)
    return tuple(changes)
