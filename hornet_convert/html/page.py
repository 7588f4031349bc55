"""A report for people as one HTML page: no scripts, nothing loaded from elsewhere. Pure strings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from hornet_convert.checks.checks import SENTENCES
from hornet_convert.family import zoo
from hornet_convert.html.charts import deviation_chart, heat_map, range_bar
from hornet_convert.report.report import Report
from hornet_convert.report.statistics import outstanding
from hornet_convert.report.verdict import MEANINGS
from hornet_convert.text import printable

# By which a page is known as ours.
GENERATOR: Final = '<meta name="generator" content="hornet-convert">'

Facts = Sequence[tuple[str, object]]


def page(report: Report, about: Mapping[str, str]) -> str:
    """The whole page on one checkpoint.

    `about` are further facts for the last section: when it was made, and by which versions.
    """
    return _TEMPLATES.get_template("page.html.j2").render(
        report=report,
        sentences=SENTENCES,
        compared=_compared(report),
        provenance=[*_provenance(report), *about.items()],
        deviations=None if report.trace is None else deviation_chart(report.trace),
        outstanding=outstanding(report.statistics),
        heat=heat_map(report.statistics),
        blocks=[(block.block, block.values) for block in report.statistics],
        tensors=[(row.name, row.values) for block in report.statistics for row in block.tensors],
        limit=_limit(report),
    )


def index(rows: Sequence[tuple[Report, str, float]], about: Mapping[str, str]) -> str:
    """The page that lists several reports, each with the name of its own page and its seconds."""
    words = [_word(report) for report, *_ in rows]
    return _TEMPLATES.get_template("index.html.j2").render(
        rows=rows,
        counts=[f"{words.count(word)} {word}" for word in dict.fromkeys(words)],
        about=about,
    )


def _compared(report: Report) -> Facts:
    """What was looked at, and what it was compared with."""
    trace = report.trace
    claim = None if report.verdict is None else report.verdict.claim
    return [
        ("Model found", report.model if report.model != report.name else None),
        ("Key layout", report.layout),
        ("Container", report.container),
        ("Classes", report.num_classes),
        ("SHA-256 of the file", report.sha256),
        ("Fingerprint of the weights", report.fingerprint),
        (
            "Reference",
            "none: nothing apart from the file says what it should be"
            if claim is None
            else f"{claim.origin}: {claim.kind} {claim.digest}",
        ),
        (
            "Images of the forward check",
            trace and f"{trace.batch} of {'×'.join(map(str, trace.image_size))}, seed {trace.seed}",
        ),
    ]


def _provenance(report: Report) -> Facts:
    """Where the file came from, and what was made of it."""
    source = report.source or {}
    tried = source.get("not_used", [])
    return [
        ("Source", source.get("name")),
        ("URL", source.get("url")),
        *((f"Not from {item.get('name')}", item.get("reason")) for item in tried),
        ("Averaged weights (EMA)", report.ema),
        ("Written", report.output),
        ("SHA-256 of the result", report.output_sha256),
        *((name.capitalize(), value) for name, value in (report.conversion or {}).items()),
    ]


def _limit(report: Report) -> float:
    """The largest absolute value of all blocks, which is the end of every range bar."""
    ends = (abs(v) for b in report.statistics for v in (b.values.minimum, b.values.maximum))
    return max((end for end in ends if math.isfinite(end)), default=0.0)


def _title(report: Report) -> str:
    row = zoo.BY_NAME.get(report.name or "")
    return f"{row.label} ({row.name})" if row else (report.name or "Not identified")


def _word(report: Report) -> str:
    return report.outcome if report.verdict is None else report.verdict.word


def _shown(value: Any) -> Any:
    """What a template shows, before it is escaped: text from files is made printable."""
    return value if hasattr(value, "__html__") else printable(str(value), 4000)


_TEMPLATES: Final = Environment(
    loader=PackageLoader("hornet_convert.html"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals |= {
    "generator": GENERATOR,
    "isfinite": math.isfinite,
    "meanings": MEANINGS,
    "title": _title,
    "word": _word,
    "range_bar": range_bar,
}
