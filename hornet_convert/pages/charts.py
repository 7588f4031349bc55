"""The charts of the report as inline SVG: deviation by part, and weights by block. Pure strings.

Every mark carries its numbers as a title, which browsers show when it is pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Final

from hornet_convert.numbers.standing import BlockStatistics, Statistics, TensorStatistics
from hornet_convert.verification.naming import split_block
from hornet_convert.verification.trace import Part, Trace

GOOD, BAD, GREY, INK = "#1a7f37", "#cf222e", "#d0d7de", "#57606a"

# Deviation chart: decades of the axis, pixels.
LOWEST, HIGHEST = -17, 1
LEFT, TOP, WIDTH, HEIGHT, BOTTOM = 64, 26, 900, 230, 62

# Heat map, pixels.
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


def deviation_chart(trace: Trace) -> str:
    """The largest deviation of every part of the network, relative, on a logarithmic axis."""
    step = (WIDTH - LEFT - 12) / max(len(trace.parts), 1)
    allowed = _y(trace.tolerance)
    body = [
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{_y(10.0**power):.1f}" y2="{_y(10.0**power):.1f}" '
        f'stroke="{GREY}"/><text x="{LEFT - 8}" y="{_y(10.0**power) + 4:.1f}" '
        f'text-anchor="end">{_power(power)}</text>'
        for power in range(LOWEST + 1, HIGHEST + 1, 4)
    ]
    body += _bands(trace.parts, step)
    body.append(
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{allowed:.1f}" y2="{allowed:.1f}" stroke="{BAD}" '
        'stroke-dasharray="6 4"/>'
    )
    for number, part in enumerate(trace.parts):
        x = LEFT + 6 + (number + 0.5) * step
        y, bad = _y(part.relative), not part.relative <= trace.tolerance
        colour = BAD if bad else GOOD
        title = (
            f"{part.module}: largest deviation {part.absolute:.3e}, largest value "
            f"{part.largest:.3e}, relative {part.relative:.1e}"
        )
        body.append(
            f'<g class="mark"><title>{escape(title)}</title>'
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(0):.1f}" y2="{y:.1f}" stroke="{colour}" '
            f'stroke-width="2"/><circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/></g>'
        )
    body.append(
        f'<text class="halo" x="{WIDTH - 4}" y="{allowed - 7:.1f}" text-anchor="end" '
        f'fill="{BAD}">allowed: {trace.tolerance:.0e}</text>'
    )
    height = TOP + HEIGHT + BOTTOM
    label = "Largest relative deviation of every part of the network, logarithmic"
    return _svg(WIDTH + 8, height, label, body)


def _y(value: float) -> float:
    """Vertical place of a deviation; what is below the axis or not finite stands at its ends."""
    if math.isnan(value):
        value = math.inf
    power = math.log10(value) if 0 < value < math.inf else (LOWEST if value <= 0 else HIGHEST)
    share = (min(max(power, LOWEST), HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
    return TOP + HEIGHT * (1 - share)


def _power(power: int) -> str:
    return f'10<tspan dy="-5" font-size="9">{power}</tspan>' if power else "1"


def _bands(parts: Sequence[Part], step: float) -> list[str]:
    """Shades and names of the stages below the axis, and block numbers."""
    shades, drawn = [], []
    place = 0
    for shade, (stage, group) in enumerate(groupby(parts, lambda part: _stage(part.module))):
        members = list(group)
        x, width = LEFT + 6 + place * step, len(members) * step
        fill = "#f6f8fa" if shade % 2 else "#eaeef2"
        bottom = TOP + HEIGHT
        shades.append(
            f'<rect x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT + 40}" '
            f'fill="{fill}" fill-opacity="0.7"/>'
        )
        drawn.append(
            f'<text x="{x + width / 2:.1f}" y="{bottom + 34}" text-anchor="middle" '
            f'font-weight="600">{"" if stage == "stem" else stage}</text>'
        )
        for offset, part in enumerate(members):
            drawn.append(
                f'<text x="{x + (offset + 0.5) * step:.1f}" y="{bottom + 15}" '
                f'text-anchor="middle" font-size="10">{_short(part.module)}</text>'
            )
        place += len(members)
    return shades + drawn


def _stage(module: str) -> str:
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "stages" else names[0]


def _short(module: str) -> str:
    last = module.rpartition(".")[2]
    return {"downsample": "↓"}.get(last, last)


def heat_map(blocks: Sequence[BlockStatistics]) -> str:
    """How large each tensor is for its kind: a row per kind, a column per block."""
    shown = [block for block in blocks if ".blocks." in block.block]
    kinds = list(dict.fromkeys(split_block(row.name)[1] for b in shown for row in b.tensors))
    kinds.sort(key=_kind_order)
    body = [
        f'<text x="{NAMES - 8}" y="{_row(row) + 12}" text-anchor="end">{escape(kind)}</text>'
        for row, kind in enumerate(kinds)
    ]
    x = float(NAMES)
    for stage, group in groupby(shown, lambda block: _stage(block.block)):
        members = list(group)
        width = len(members) * CELL_WIDTH
        body.append(
            f'<text x="{x + width / 2:.1f}" y="14" text-anchor="middle" '
            f'font-weight="600">{stage}</text>'
        )
        for block in members:
            number = block.block.rpartition(".")[2]
            body.append(
                f'<text x="{x + CELL_WIDTH / 2:.1f}" y="30" text-anchor="middle" '
                f'font-size="10">{number}</text>'
            )
            body += [_cell(x, _row(kinds.index(split_block(t.name)[1])), t) for t in block.tensors]
            x += CELL_WIDTH
        x += GAP
    body += _legend(_row(len(kinds)) + 12)
    label = "Root mean square of every tensor relative to what is usual for its kind"
    return _svg(int(x), _row(len(kinds)) + 44, label, body)


def _kind_order(kind: str) -> tuple[int, str, bool]:
    known = [n for n, start in enumerate(KINDS) if kind.startswith(start)]
    stem, _, leaf = kind.rpartition(".")
    return (known[0] if known else len(KINDS), stem, leaf == "bias")


def _row(number: int) -> int:
    return 38 + number * CELL_HEIGHT


def _cell(x: float, y: int, row: TensorStatistics) -> str:
    title = f"{row.name}: {_numbers(row.values)}"
    if row.ratio is not None:
        title += f", {row.ratio:.3g} times the usual"
    frame = ' stroke="#000" stroke-width="2"' if row.standing != "usual" else ""
    return (
        f'<rect class="cell {row.standing.replace(" ", "-")}" x="{x + 1:.1f}" y="{y + 1}" '
        f'width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" rx="2" fill="{_colour(row)}"{frame}>'
        f"<title>{escape(title)}</title></rect>"
    )


def _numbers(values: Statistics) -> str:
    return (
        f"mean {values.mean:.3g}, deviation {values.std:.3g}, {values.minimum:.3g} to "
        f"{values.maximum:.3g}, {values.zeros / max(values.numel, 1):.1%} zeros"
    )


def _colour(row: TensorStatistics) -> str:
    """Grey where usual, towards red where larger, towards blue where smaller; black where dead."""
    if row.standing == "not finite":
        return "#bf0fbf"
    if row.standing == "dead":
        return "#000000"
    if not row.ratio:
        return "#e6e9ec"
    share = max(-1.0, min(1.0, math.log10(row.ratio) / DECADE))
    end = (207, 34, 46) if share > 0 else (9, 105, 218)
    mixed = [round(228 + (to - 228) * abs(share)) for to in end]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _legend(y: int) -> list[str]:
    ratios = [10 ** (n / 5) for n in range(-5, 6)]
    scale = [
        f'<rect x="{NAMES + 60 + n * 18}" y="{y}" width="18" height="12" '
        f'fill="{_colour(TensorStatistics("", _NOTHING, 1, ratio))}"/>'
        for n, ratio in enumerate(ratios)
    ]
    end = NAMES + 60 + len(ratios) * 18
    return [
        f'<text x="{NAMES + 52}" y="{y + 11}" text-anchor="end">10 × less</text>',
        *scale,
        f'<text x="{end + 8}" y="{y + 11}">10 × more</text>',
        f'<rect x="{end + 90}" y="{y}" width="18" height="12" fill="#000"/>',
        f'<text x="{end + 114}" y="{y + 11}">all zero</text>',
        f'<rect x="{end + 172}" y="{y}" width="18" height="12" fill="#bf0fbf"/>',
        f'<text x="{end + 196}" y="{y + 11}">NaN or infinite</text>',
    ]


_NOTHING = Statistics(1, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)


def range_bar(values: Statistics, limit: float, width: int = 220) -> str:
    """From the smallest to the largest value, mean and one deviation about it; 0 in the middle."""
    if not math.isfinite(values.mean) or limit <= 0:
        return ""
    half = width / 2

    def at(value: float) -> float:
        # The root brings out what is small beside an outlier.
        return half + half * math.copysign(math.sqrt(min(abs(value) / limit, 1)), value)

    low, high = at(values.minimum), at(values.maximum)
    inner = at(values.mean - values.std), at(values.mean + values.std)
    spread = max(inner[1] - inner[0], 1)
    body = [
        f'<line x1="{half}" x2="{half}" y1="0" y2="14" stroke="{GREY}"/>',
        f'<rect x="{low:.1f}" y="6" width="{max(high - low, 1):.1f}" height="2" fill="{INK}"/>',
        f'<rect x="{inner[0]:.1f}" y="2" width="{spread:.1f}" height="10" rx="2" fill="#8cbcf0"/>',
        f'<rect x="{at(values.mean) - 1:.1f}" y="1" width="2" height="12" fill="#0550ae"/>',
    ]
    return _svg(width, 14, _numbers(values), body)


def _svg(width: int, height: int, label: str, body: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-size="12" fill="{INK}">{"".join(body)}</svg>'
    )
