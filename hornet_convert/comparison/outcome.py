"""The outcome of comparing two checkpoints: rows, blocks, and what it all looks like. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from hornet_convert.checkpoint.tensors import DTYPES
from hornet_convert.checks.identity import CLASSIFIER
from hornet_convert.comparison.difference import Difference
from hornet_convert.errors import EXIT_CHECK_FAILED, EXIT_OK
from hornet_convert.family.architecture import Shape
from hornet_convert.report.document import finite, result
from hornet_convert.report.report import Dangers, dangers_to_json
from hornet_convert.text import by_block, listed, split_block

Look = Literal[
    "equal", "type", "precision", "last digits", "scale", "few", "ema", "moved", "other", "mixed"
]

EMA_SHARE: Final = 0.95  # of the changed elements
EMA_TENSORS: Final = 0.5  # of the tensors that both have
NAMED: Final = 24  # tensors named one by one in a sentence


@dataclass(frozen=True)
class Side:
    """One of the two files; `fingerprint` is None unless it holds a complete HorNet.

    `damaged` are names of tensors whose bytes do not match the container's CRC, `dangers` names
    that a plain `pickle.load` of it should not meet, each with the reason.
    """

    path: str
    container: str
    layout: str | None
    model: str | None
    num_classes: int | None
    tensors: int
    sha256: str
    fingerprint: str | None
    damaged: tuple[str, ...]
    dangers: Dangers


@dataclass(frozen=True)
class Reshaped:
    """A tensor whose shape is another one."""

    name: str
    a: Shape
    b: Shape


@dataclass(frozen=True)
class Change:
    """A tensor of the same shape and other values or element type.

    `same_as` is the one other tensor of A that has exactly B's values, None if there is none.
    """

    name: str
    dtype_a: str
    dtype_b: str
    difference: Difference
    same_as: str | None = None

    @property
    def look(self) -> Look:
        """What the change looks like."""
        return "moved" if self.same_as is not None else self.difference.kind


@dataclass(frozen=True)
class BlockChange:
    """The changed tensors of one part of the network: how many, and the largest differences."""

    block: str
    changed: tuple[str, ...]
    largest_absolute: float
    largest_relative: float
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Comparison:
    """The outcome: how many tensors are the same bit for bit, and all that are not.

    `missing` are names that only A has, `added` those that only B has.
    """

    a: Side
    b: Side
    same: int
    missing: tuple[str, ...]
    added: tuple[str, ...]
    reshaped: tuple[Reshaped, ...]
    changed: tuple[Change, ...]

    def __bool__(self) -> bool:
        """Whether both are whole and hold the same tensors, bit for bit."""
        damaged = self.a.damaged or self.b.damaged
        return not (damaged or self.missing or self.added or self.reshaped or self.changed)

    @property
    def unrelated(self) -> bool:
        """Whether they are different models: no list of tensors tells more."""
        if self.a.model and self.b.model:
            return self.a.model != self.b.model
        return not (self or self.same or self.changed or self.reshaped)

    @property
    def look(self) -> Look:
        """What the changed values look like, taken together."""
        return look(self.changed, self.same + len(self.changed))

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        damage = [
            f"{letter} is damaged, bytes do not match their CRC: {by_block(side.damaged)}"
            for letter, side in (("A", self.a), ("B", self.b))
            if side.damaged
        ]
        parts = [
            *damage,
            *(
                f"{len(names)} {what}: {by_block(names)}"
                for names, what in (
                    (self.missing, "only in A"),
                    (self.added, "only in B"),
                    ([tensor.name for tensor in self.reshaped], "of another shape"),
                )
                if names
            ),
        ]
        if self.unrelated:
            names = [side.model or "not a HorNet" for side in (self.a, self.b)]
            which = f": A is {names[0]}, B is {names[1]}" if names[0] != names[1] else ""
            parts = [*damage, f"Different models{which}"]
        elif self.changed:
            parts.append(_in_words(self.look, self.changed))
        first = self.same == 1
        common = f"{self.same} {'tensor is' if first else 'tensors are'} the same bit for bit"
        if not parts:
            return f"The same weights: all {common}."
        return ". ".join([*parts, common if self.same else "No tensor is the same"]) + "."

    @property
    def blocks(self) -> tuple[BlockChange, ...]:
        """The changed tensors by block."""
        groups: dict[str, list[Change]] = {}
        for change in self.changed:
            groups.setdefault(split_block(change.name)[0], []).append(change)
        return tuple(
            BlockChange(
                block,
                tuple(split_block(change.name)[1] for change in changes),
                max(change.difference.largest_absolute for change in changes),
                max(change.difference.largest_relative for change in changes),
                tuple(dict.fromkeys(change.look for change in changes)),
            )
            for block, changes in groups.items()
        )

    def as_json(self) -> dict[str, Any]:
        """The documented JSON object; numbers that are infinite or undefined are null."""
        code = EXIT_OK if self else EXIT_CHECK_FAILED
        document = {
            **result(f"{self.a.path} {self.b.path}", exit_code=code),
            "equal": bool(self),
            "looks_like": self.look,
            "sentence": self.sentence,
            **asdict(self),
            "blocks": [asdict(block) for block in self.blocks],
        }
        for name, side in (("a", self.a), ("b", self.b)):
            more = {"dangerous": bool(side.dangers), "dangers": dangers_to_json(side.dangers)}
            document[name] |= more
        for row, change in zip(document["changed"], self.changed, strict=True):
            row["looks_like"] = change.look
        return dict(finite(document))


def look(changes: Sequence[Change], common: int) -> Look:
    """What changes look like together, in a model with `common` tensors of unchanged shape."""
    kinds = {change.look for change in changes}
    if not kinds:
        return "equal"
    if len(kinds) == 1 or kinds == {"precision", "type"}:
        roundings = {c.difference.rounding for c in changes if c.difference.rounding}
        return "mixed" if len(roundings) > 1 else next(iter(kinds - {"type"}), "type")
    small: set[Look] = {"ema", "last digits"}
    elements = sum(change.difference.numel for change in changes)
    close = sum(change.difference.numel for change in changes if change.look in small)
    if close >= EMA_SHARE * elements and len(changes) >= EMA_TENSORS * common:
        return "ema"
    return "other" if "other" in kinds and kinds <= {"other", "ema", "few"} else "mixed"


def _in_words(seen: Look, changes: Sequence[Change]) -> str:
    """What changes look like together, in a sentence without its full stop."""
    count = "1 tensor has" if len(changes) == 1 else f"{len(changes)} tensors have"
    where = _where([change.name for change in changes])
    differences = [change.difference for change in changes]
    if seen == "type":
        types = sorted({f"{change.dtype_a} in A, {change.dtype_b} in B" for change in changes})
        return f"{count} the same values in another type ({'; '.join(types)})"
    if seen == "precision":
        side, code = next(d.rounding for d in differences if d.rounding)
        whole, rounded = ("A", "B") if side == "b" else ("B", "A")
        return f"A change of precision: {rounded} is {whole} rounded to {DTYPES[code].torch}"
    if seen == "last digits":
        return f"{count} other last digits: the same numbers, computed or rounded otherwise"
    if seen == "scale":
        factors = [difference.factor for difference in differences]
        text = f"a factor of its own, {min(factors):.6g} to {max(factors):.6g}"
        if max(factors) - min(factors) <= 1e-5 * max(map(abs, factors)):
            text = f"{factors[0]:.6g}"
        return f"A change of scale: {where} of B is that of A times {text}"
    if seen == "few":
        elements = sum(difference.different for difference in differences)
        numbers = "1 number differs" if elements == 1 else f"{elements} numbers differ"
        return f"{numbers}, in {where}: an edit, or damaged bytes"
    if seen == "ema":
        text = f"median {statistics.median(d.distance for d in differences):.2%}"
        if known := [d.correlation for d in differences if not math.isnan(d.correlation)]:
            text += f", correlation {statistics.median(known):.4f}"
        return (
            f"{count} a small and smooth change ({text}): "
            "an averaged (EMA) twin, or another moment of the same training"
        )
    if seen == "moved":
        pairs = [f"{change.name} of B is {change.same_as} of A" for change in changes]
        return f"Tensors under other names: {listed(pairs)}"
    if seen == "mixed":
        counts = Counter(change.look for change in changes).most_common()
        text = ", ".join(f"{number} {_WORDS[kind]}" for kind, number in counts)
        return f"Changes of several kinds ({text}): {where}"
    if {change.name for change in changes} <= set(CLASSIFIER):
        return "Another classifier (head.fc)"
    return f"Other weights in {len(changes)} tensors: {where}"


def _where(names: Sequence[str]) -> str:
    """Names by block while they are few, then blocks."""
    if len(names) <= NAMED:
        return by_block(names)
    return listed(list(dict.fromkeys(split_block(name)[0] or name for name in names)), most=6)


_WORDS: Final[dict[Look, str]] = {
    "type": "of another type",
    "precision": "rounded",
    "last digits": "in the last digits",
    "scale": "scaled",
    "few": "in few numbers",
    "ema": "changed a little",
    "moved": "moved",
    "other": "other weights",
}
