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
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, get_args

Layout = Literal["reference", "official", "openmmlab"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_BLOCK_PARTS = (
    # reference, official, openmmlab
    ("gamma1", "gamma1", "gamma1.weight"),
    ("gamma2", "gamma2", "gamma2.weight"),
    ("norm1.{p}", "norm1.{p}", "norm1.{p}"),
    ("norm2.{p}", "norm2.{p}", "norm2.{p}"),
    ("gnconv.proj_in.{p}", "gnconv.proj_in.{p}", "gnconv.proj_in.{p}"),
    ("gnconv.proj_out.{p}", "gnconv.proj_out.{p}", "gnconv.proj_out.{p}"),
    ("gnconv.pws.{k}.{p}", "gnconv.pws.{k}.{p}", "gnconv.projs.{k}.{p}"),
    ("gnconv.dwconv.{p}", "gnconv.dwconv.{p}", "gnconv.dwconv.{p}"),
    ("gnconv.dwconv.dw.weight", "gnconv.dwconv.dw.weight", "gnconv.dwconv.dw.weight"),
    ("gnconv.dwconv.complex_weight",) * 3,
    ("gnconv.dwconv.pre_norm.{p}", "gnconv.dwconv.pre_norm.{p}", "gnconv.dwconv.pre_norm.{p}"),
    ("gnconv.dwconv.post_norm.{p}", "gnconv.dwconv.post_norm.{p}", "gnconv.dwconv.post_norm.{p}"),
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
def _patterns(layout: Layout) -> tuple[re.Pattern[str], tuple[re.Pattern[str], ...]]:
    """One pattern that tells which rule a key of a layout follows, and the pattern of each rule."""
    column = LAYOUTS.index(layout)
    texts = [re.escape(rule[column]) for rule in RULES]
    for placeholder, values in _PLACEHOLDERS.items():
        group = f"(?P<{placeholder}>{values})"
        texts = [text.replace(re.escape(f"{{{placeholder}}}"), group) for text in texts]
    nameless = [re.sub(r"\?P<\w>", "?:", text) for text in texts]
    which = "|".join(f"(?P<r{number}>{text})" for number, text in enumerate(nameless))
    return re.compile(which), tuple(re.compile(text) for text in texts)


def translate(key: str, source: Layout, target: Layout) -> str | None:
    """The name in layout `target` of what is `key` in layout `source`; None if unknown."""
    which, patterns = _patterns(source)
    found = which.fullmatch(key)
    if found is None or found.lastgroup is None:
        return None
    rule = int(found.lastgroup.removeprefix("r"))
    indices = patterns[rule].fullmatch(key)
    return (
        None
        if indices is None
        else RULES[rule][LAYOUTS.index(target)].format(**indices.groupdict())
    )


@dataclass(frozen=True)
class Remapping:
    """Keys of a state dict and what they are called in another layout.

    `names` maps source key to target key; `unknown` are keys no rule knows; `collisions` are groups
    of source keys with one and the same target.
    """

    names: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    collisions: tuple[tuple[str, ...], ...] = ()


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
    counts = dict.fromkeys(LAYOUTS, 0)
    for key in keys:
        for layout in LAYOUTS:
            if translate(key, layout, layout) is not None:
                counts[layout] += 1
    best = max(LAYOUTS, key=lambda layout: counts[layout])
    return best if counts[best] else None
