"""`compare`: what two checkpoints have in common, in any container, layout and element type.

Two HorNets are compared under their reference names, anything else under the names in the files.
Both files are hashed, tensor by tensor; only tensors whose bytes differ are read again, side by
side and piece by piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.comparison.difference import Comparer, Difference
from hornet_convert.comparison.outcome import Change, Comparison, Reshaped, Side
from hornet_convert.numbers.elements import pieces
from hornet_convert.verification.scan import Scan, scan
from hornet_convert.verification.subject import Progress, Subject, examine, reading


def compare(a: Path, b: Path, *, ema: bool = False, progress: Progress | None = None) -> Comparison:
    """Compare the weights in two files; with `ema`, the averaged weights of B.

    Raises
    ------
    HornetConvertError
        One of the files cannot be read as a checkpoint, or B has no averaged weights.
    """
    with open_checkpoint(a) as first, open_checkpoint(b) as second:
        one = _look_at(examine(first), progress)
        two = _look_at(examine(second, ema=ema), progress)
        common = [name for name in one.tensors if name in two.tensors]
        shaped = [n for n in common if one.tensors[n].shape == two.tensors[n].shape]
        differing = [name for name in shaped if one.content(name) != two.content(name)]
        return Comparison(
            one.side(),
            two.side(),
            len(shaped) - len(differing),
            tuple(name for name in one.tensors if name not in two.tensors),
            tuple(name for name in two.tensors if name not in one.tensors),
            tuple(
                Reshaped(name, one.tensors[name].shape, two.tensors[name].shape)
                for name in common
                if name not in shaped
            ),
            _changes(one, two, differing, progress),
        )


@dataclass(frozen=True)
class _Seen:
    """One file, its keys by the name to compare them under, and what a pass over it saw."""

    subject: Subject
    keys: Mapping[str, str]
    scan: Scan

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors by name."""
        return {name: self.subject.state.tensors[key] for name, key in self.keys.items()}

    def content(self, name: str) -> tuple[object, ...]:
        """What has to agree for a tensor to be the same."""
        tensor = self.tensors[name]
        return tensor.dtype, tensor.shape, self.scan.digests[self.keys[name]]

    def side(self) -> Side:
        """What to tell of the file."""
        checkpoint, identity = self.subject.checkpoint, self.subject.identity
        broken = {storage for storage, _ in self.scan.damaged}
        return Side(
            path=str(checkpoint.path),
            container=checkpoint.container,
            layout=identity.layout if identity.architecture is not None else None,
            model=identity.name,
            num_classes=identity.num_classes if identity.architecture is not None else None,
            tensors=len(self.tensors),
            sha256=self.scan.sha256,
            fingerprint=self.subject.fingerprint(self.scan) if identity.complete else None,
            damaged=tuple(n for n, tensor in self.tensors.items() if tensor.storage in broken),
        )


def _look_at(subject: Subject, progress: Progress | None) -> _Seen:
    checkpoint, tensors = subject.checkpoint, subject.state.tensors
    said = reading(progress, f"reading {checkpoint.path.name}")
    seen = scan(checkpoint, tensors, look_at_values=False, progress=said)
    return _Seen(subject, _named(subject), seen)


def _named(subject: Subject) -> dict[str, str]:
    """Keys in the file's order, by reference name where they have one that is not taken."""
    identity = subject.identity
    known: Mapping[str, str] = identity.names if identity.architecture is not None else {}
    named: dict[str, str] = {}
    for key in subject.state.tensors:
        name = known.get(key, key)
        if name in named:
            name = key
        while name in named:
            name += " (again)"
        named[name] = key
    return named


def _changes(
    one: _Seen, two: _Seen, differing: list[str], progress: Progress | None
) -> tuple[Change, ...]:
    """Read the tensors that differ, side by side."""
    contents = Counter(one.content(name) for name in one.tensors)
    places = {one.content(name): name for name in one.tensors}
    total = sum(one.tensors[name].nbytes for name in differing)
    done = 0
    changes = []
    for name in differing:
        content = two.content(name)
        changes.append(
            Change(
                name,
                one.tensors[name].dtype.torch,
                two.tensors[name].dtype.torch,
                _difference(one, two, name),
                # Where several tensors are alike, as biases of zeros are, it says nothing.
                places[content] if contents[content] == 1 else None,
            )
        )
        done += one.tensors[name].nbytes
        if progress is not None:
            progress("comparing", done, total)
    return tuple(changes)


def _difference(one: _Seen, two: _Seen, name: str) -> Difference:
    a, b = one.tensors[name], two.tensors[name]
    comparer = Comparer(a.dtype, b.dtype)
    checkpoints = one.subject.checkpoint, two.subject.checkpoint
    for x, y in zip(pieces(checkpoints[0], a), pieces(checkpoints[1], b), strict=True):
        comparer.update(x, y)
    return comparer.result()
