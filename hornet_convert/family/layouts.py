"""The key layouts a HorNet state dict is published in, and the translation between them.

One row per kind of tensor, one column per layout, whole names with all their indices. Both
directions of every pair are read off the same row. {i} is the stage, {s} a stage that starts with a
downsampling (not the first, whose place the stem takes), {j} the block, {k} the order of a gnConv
projection, {p} `weight` or `bias`.

Sources: the authors' repository (official), mmpretrain's HorNet (openmmlab), and timm's naming of
ConvNeXt, the nearest relative (reference).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

Layout = Literal["reference", "official", "openmmlab"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_BLOCK_PARTS = (
    # reference, official, openmmlab
    ("gamma1", "gamma1", "gamma1.weight"),
    ("gamma2", "gamma2", "gamma2.weight"),
    *(
        (name, name, name)
        for name in (
            "norm1.{p}",
            "norm2.{p}",
            "gnconv.proj_in.{p}",
            "gnconv.proj_out.{p}",
            "gnconv.dwconv.{p}",
            "gnconv.dwconv.dw.weight",
            "gnconv.dwconv.complex_weight",
            "gnconv.dwconv.pre_norm.{p}",
            "gnconv.dwconv.post_norm.{p}",
        )
    ),
    ("gnconv.pws.{k}.{p}", "gnconv.pws.{k}.{p}", "gnconv.projs.{k}.{p}"),
    ("mlp.fc1.{p}", "pwconv1.{p}", "pwconv1.{p}"),
    ("mlp.fc2.{p}", "pwconv2.{p}", "pwconv2.{p}"),
)

RULES: tuple[tuple[str, str, str], ...] = (
    ("stem.0.{p}", "downsample_layers.0.0.{p}", "backbone.downsample_layers.0.0.{p}"),
    ("stem.1.{p}", "downsample_layers.0.1.{p}", "backbone.downsample_layers.0.1.{p}"),
    (
        "stages.{s}.downsample.0.{p}",
        "downsample_layers.{s}.0.{p}",
        "backbone.downsample_layers.{s}.0.{p}",
    ),
    (
        "stages.{s}.downsample.1.{p}",
        "downsample_layers.{s}.1.{p}",
        "backbone.downsample_layers.{s}.1.{p}",
    ),
    *(
        (
            f"stages.{{i}}.blocks.{{j}}.{ref}",
            f"stages.{{i}}.{{j}}.{off}",
            f"backbone.stages.{{i}}.{{j}}.{omm}",
        )
        for ref, off, omm in _BLOCK_PARTS
    ),
    ("head.norm.{p}", "norm.{p}", "backbone.norm3.{p}"),
    ("head.fc.{p}", "head.{p}", "head.fc.{p}"),
)

_PLACEHOLDERS = {
    "i": "0|[1-9][0-9]{0,3}",
    "s": "[1-9][0-9]{0,3}",
    "j": "0|[1-9][0-9]{0,3}",
    "k": "0|[1-9][0-9]{0,3}",
    "p": "weight|bias",
}


@cache
def _pattern(layout: Layout) -> re.Pattern[str]:
    """Matches a key of a layout: group `r<n>` by rule n, and its indices by `i<n>`, `j<n>`, …."""
    rules = []
    for number, rule in enumerate(RULES):
        text = re.escape(rule[LAYOUTS.index(layout)])
        for letter, values in _PLACEHOLDERS.items():
            text = text.replace(re.escape(f"{{{letter}}}"), f"(?P<{letter}{number}>{values})")
        rules.append(f"(?P<r{number}>{text})")
    return re.compile("|".join(rules))


def translate(key: str, source: Layout, target: Layout) -> str | None:
    """The name in layout `target` of what is `key` in layout `source`; None if unknown."""
    match = _pattern(source).fullmatch(key)
    if match is None or match.lastgroup is None:
        return None
    number, groups = match.lastgroup[1:], match.re.groupindex
    indices = {n: match[n + number] for n in _PLACEHOLDERS if n + number in groups}
    return RULES[int(number)][LAYOUTS.index(target)].format(**indices)


@dataclass(frozen=True)
class Remapping:
    """Target key by source key; keys no rule knows; groups of keys with one and the same target."""

    names: dict[str, str]
    unknown: tuple[str, ...]
    collisions: tuple[tuple[str, ...], ...]


def remap(keys: Iterable[str], source: Layout, target: Layout) -> Remapping:
    """Translate all keys; whatever cannot be translated one to one is listed, never dropped."""
    names: dict[str, str] = {}
    unknown: list[str] = []
    claims: dict[str, list[str]] = {}
    for key in keys:
        name = translate(key, source, target)
        if name is None:
            unknown.append(key)
        else:
            names[key] = name
            claims.setdefault(name, []).append(key)
    doubled = tuple(tuple(group) for group in claims.values() if len(group) > 1)
    return Remapping(names, tuple(unknown), doubled)


def detect(keys: Iterable[str]) -> Layout | None:
    """The layout most of the keys belong to; None if no key belongs to any.

    A tie goes to the layout listed first: names of different layouts do not overlap except for
    `head.fc`, which alone does not make a model.
    """
    found = counts(keys)
    best = max(LAYOUTS, key=lambda layout: found[layout])
    return best if found[best] else None


def counts(keys: Iterable[str]) -> dict[Layout, int]:
    """How many of the keys belong to each layout."""
    found = dict.fromkeys(LAYOUTS, 0)
    for key in keys:
        for layout in LAYOUTS:
            found[layout] += _pattern(layout).fullmatch(key) is not None
    return found
