"""What trainers put before the names of weights, and what detectors put beside a backbone. Pure.

Wrappers of single modules (`torch.compile`, FSDP, activation checkpoints) leave their mark anywhere
in a name. A stack such as `module.model.` leads to the network within something larger; how much of
it is taken off is decided by which names are a HorNet's then: `backbone.` belongs to one layout.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hornet_convert.errors import UsageError
from hornet_convert.family import layouts
from hornet_convert.text import listed, printable

MODULE: Final = "module."
STACK: Final = ("module", "model", "net", "network", "backbone", "encoder")
WRAPPED: Final = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
BESIDE_BACKBONES: Final = frozenset(
    (
        *("neck", "rpn_head", "roi_head", "bbox_head", "mask_head", "mask_iou_head"),
        *("semantic_head", "panoptic_head", "decode_head", "auxiliary_head", "query_head"),
        "data_preprocessor",
    )
)
"""Parts of detectors and segmenters of OpenMMLab, at the level of their `backbone`."""

_SAMPLE: Final = 64  # names looked at to decide
_STACKED: Final = re.compile(rf"(?:(?:{'|'.join(STACK)})\.)*")
_WRAPPED: Final = re.compile("|".join(map(re.escape, WRAPPED)))


@dataclass(frozen=True)
class Naming:
    """How the names in a file become those of the network.

    `prefix` is taken off where it stands, after `wrapped`, the marks of wrappers, are taken out;
    names of the parts in `beside` are not the network's.
    """

    prefix: str = ""
    wrapped: tuple[str, ...] = ()
    beside: frozenset[str] = frozenset()
    only: bool = False

    @property
    def shown(self) -> str:
        """What stood before the names, as the file spells it where that is one spelling."""
        return "".join(self.wrapped) + self.prefix if len(self.wrapped) < 2 else self.prefix

    def of(self, name: str) -> str | None:
        """The network's name for one in the file; None if it is of something else."""
        plain = _WRAPPED.sub("", name)
        if self.only and not plain.startswith(self.prefix):
            return None
        rest = plain.removeprefix(self.prefix.removesuffix("backbone."))
        if rest.partition(".")[0] in self.beside:
            return None
        return plain.removeprefix(self.prefix)


def bare(name: str) -> str:
    """A name without anything that may stand before it, to compare names of different wrappers."""
    return _STACKED.sub("", _WRAPPED.sub("", name), count=1)


def naming_of(names: Sequence[str], prefix: str | None = None) -> Naming:
    """How these names are to be read; `prefix` is what the user says stands before the weights.

    Raises UsageError if it stands before none of them.
    """
    wrapped = tuple(dict.fromkeys(mark for name in names for mark in _WRAPPED.findall(name)))
    plain = [_WRAPPED.sub("", name) for name in names] if wrapped else names
    if prefix is not None:
        return Naming(_given(prefix, plain), wrapped, only=True)
    found = _prefix_of(plain)
    outer = found.removesuffix("backbone.")
    parts = {name.removeprefix(outer).partition(".")[0] for name in plain}
    beside = BESIDE_BACKBONES & parts if "backbone" in parts else frozenset[str]()
    return Naming(found, wrapped, beside)


def _prefix_of(names: Sequence[str]) -> str:
    """The part of the commonest stack that leaves most names of a HorNet; the shortest such."""
    stacks = Counter(_stack(name) for name in names)
    stacks.pop("", None)
    ((stack, carrying),) = stacks.most_common(1) or [("", 0)]
    if 2 * carrying < len(names) or not stack:
        return ""
    with_it = [name for name in names if name.startswith(stack)]
    sample = with_it[:: max(1, len(with_it) // _SAMPLE)]
    steps = ["", *_steps(stack)]
    known = {step: _known(name.removeprefix(step) for name in sample) for step in steps}
    best = max(steps, key=lambda step: (known[step], -len(step)))
    if known[best]:
        return best
    # No HorNet in any reading: `module.` is never part of a name that somebody gave.
    return max((step for step in steps if not step.replace(MODULE, "")), key=len)


def _stack(name: str) -> str:
    match = _STACKED.match(name)
    return match[0] if match else ""


def _steps(stack: str) -> list[str]:
    parts = stack.split(".")[:-1]
    return [".".join(parts[: n + 1]) + "." for n in range(len(parts))]


def _known(names: Iterable[str]) -> int:
    """How many of the names are a HorNet's, in the layout that has most of them."""
    return max(layouts.counts(names).values())


def _given(prefix: str, names: Sequence[str]) -> str:
    dotted = _WRAPPED.sub("", f"{prefix.removesuffix('.')}." if prefix else "")
    if any(name.startswith(dotted) for name in names):
        return dotted
    first = dict.fromkeys(printable(name.partition(".")[0], 60) for name in names)
    raise UsageError(
        f"no weights begin with {printable(dotted)!r}",
        expected="what stands before the names of the network, such as model.backbone",
        found=f"names that begin with {listed(list(first))}",
        hint="`hornet-convert inspect` shows the names in the file.",
    )
