"""Where things stand in the charts of the report; `templates/charts.html.j2` draws them. Pure.

Lengths are pixels of the drawing. What is text or colour is left to the template and the style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from hornet_convert.report.statistics import BlockStatistics, Statistics, TensorStatistics
from hornet_convert.report.trace import Trace
from hornet_convert.text import split_block

# Deviations: decades of the axis, and the room for the marks.
LOWEST, HIGHEST = -17, 1
LEFT, TOP, WIDTH, HEIGHT = 64, 26, 900, 230

# Heat map.
CELL_WIDTH, CELL_HEIGHT, NAMES, GAP = 27, 17, 226, 10
KINDS: Final = (  # in the order of the computation
    "norm1",
    "gnconv.proj_in",
    "gnconv.dwconv.weight",
    "gnconv.dwconv.bias",
    "gnconv.dwconv.pre_norm",
    "gnconv.dwconv.dw",
    "gnconv.dwconv.complex_weight",
    "gnconv.dwconv.post_norm",
    "gnconv.pws",
    "gnconv.proj_out",
    "gamma1",
    "norm2",
    "mlp.fc1",
    "mlp.fc2",
    "gamma2",
)
DECADE: Final = 1.0  # log10 of the ratio at which the colour is full

BAR: Final = 220  # width of a range bar


def deviation_chart(trace: Trace) -> dict[str, Any]:
    """The largest relative deviation of every part of the network, on a logarithmic axis."""
    step = (WIDTH - LEFT - 12) / max(len(trace.parts), 1)
    marks = [
        {
            "x": LEFT + 6 + (number + 0.5) * step,
            "y": _height(part.relative),
            "bad": not part.relative <= trace.tolerance,
            "label": part.module.rpartition(".")[2].replace("downsample", "↓"),
            "part": part,
        }
        for number, part in enumerate(trace.parts)
    ]
    stages, place = [], 0.0
    for name, group in groupby(trace.parts, lambda part: _stage(part.module)):
        width = len(list(group)) * step
        stages.append({"name": name, "x": LEFT + 6 + place, "width": width})
        place += width
    return {
        "left": LEFT,
        "right": WIDTH,
        "top": TOP,
        "bottom": TOP + HEIGHT,
        "tolerance": trace.tolerance,
        "allowed": _height(trace.tolerance),
        "ticks": [(n, _height(10.0**n)) for n in range(LOWEST + 1, HIGHEST + 1, 4)],
        "marks": marks,
        "stages": stages,
    }


def _height(value: float) -> float:
    """Vertical place of a deviation; what is below the axis or not finite stands at its ends."""
    if value <= 0:
        power: float = LOWEST
    else:
        power = math.log10(value) if math.isfinite(value) else HIGHEST
    share = (min(max(power, LOWEST), HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
    return TOP + HEIGHT * (1 - share)


def _stage(module: str) -> str:
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "stages" else names[0]


def heat_map(blocks: Sequence[BlockStatistics]) -> dict[str, Any]:
    """How large each tensor is for its kind: a row per kind, a column per block."""
    shown = [block for block in blocks if ".blocks." in block.block]
    kinds = {split_block(row.name)[1] for block in shown for row in block.tensors}
    rows = {kind: 38 + n * CELL_HEIGHT for n, kind in enumerate(sorted(kinds, key=_kind_order))}
    columns, stages, cells = [], [], []
    x = NAMES
    for stage, group in groupby(shown, lambda block: _stage(block.block)):
        begun = x
        for block in group:
            columns.append((block.block.rpartition(".")[2], x + CELL_WIDTH / 2))
            cells += [
                {"x": x + 1, "y": rows[split_block(row.name)[1]] + 1, "row": row, **_shade(row)}
                for row in block.tensors
            ]
            x += CELL_WIDTH
        stages.append((stage, (begun + x) / 2))
        x += GAP
    return {
        "left": NAMES,
        "right": x,
        "bottom": 38 + len(rows) * CELL_HEIGHT,
        "cell": (CELL_WIDTH - 2, CELL_HEIGHT - 2),
        "kinds": rows,
        "columns": columns,
        "stages": stages,
        "cells": cells,
    }


def _kind_order(kind: str) -> tuple[int, str, bool]:
    known = [n for n, start in enumerate(KINDS) if kind.startswith(start)]
    stem, _, leaf = kind.rpartition(".")
    return (known[0] if known else len(KINDS), stem, leaf == "bias")


def _shade(row: TensorStatistics) -> dict[str, Any]:
    """How a cell is coloured: clear where usual, the more the larger or smaller it is."""
    if row.standing in ("dead", "not finite"):
        return {"colour": row.standing, "opacity": 1}
    power = math.log10(row.ratio) / DECADE if row.ratio else 0.0
    return {"colour": "more" if power > 0 else "less", "opacity": min(abs(power), 1)}


def range_bar(values: Statistics, limit: float) -> dict[str, Any] | None:
    """From the smallest to the largest value, and one deviation about the mean; 0 in the middle.

    `limit` is the value at the right end. None where there is nothing to draw.
    """
    if not math.isfinite(values.mean) or limit <= 0:
        return None

    def at(value: float) -> float:
        # The root brings out what is small beside an outlier.
        return BAR / 2 * (1 + math.copysign(math.sqrt(min(abs(value) / limit, 1)), value))

    low, high = at(values.minimum), at(values.maximum)
    left, right = at(values.mean - values.std), at(values.mean + values.std)
    return {
        "width": BAR,
        "mean": at(values.mean),
        "whole": (low, max(high - low, 1)),
        "usual": (left, max(right - left, 1)),
    }
