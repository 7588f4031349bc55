"""Reports on checkpoints as HTML pages: of one, of several, an index of pages. Pure strings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from hornet_convert.checks.checks import SENTENCES
from hornet_convert.family import zoo
from hornet_convert.html.charts import deviation_chart, heat_map, range_bar
from hornet_convert.html.environment import TEMPLATES, render, word_for
from hornet_convert.report.report import Report
from hornet_convert.report.statistics import outstanding
from hornet_convert.report.verdict import MEANINGS
from hornet_convert.text import listed

Facts = Sequence[tuple[str, object]]

# What a page calls the members of a conversion; the notes tell of the drift, in a sentence.
_MADE: Final = {
    "format": "Format",
    "layout": "Key layout of the result",
    "model": "Model of the result",
    "num_classes": "Classes of the result",
    "fingerprint": "Fingerprint of the result",
    "edits": "Edits, as in its name",
    "starts_fresh": "Starts fresh where it is loaded",
    "weights": "Weights beside it",
    "outputs": "Outputs of the graph",
    "opset": "ONNX opset",
    "ir_version": "ONNX IR version",
    "files": "Files",
    "pushed": "Pushed to",
}


def page(report: Report, about: Mapping[str, str]) -> str:
    """The whole page on one checkpoint; `about` says when it was made, and by what."""
    return render("page.html.j2", about, view=_view(report))


def several(reports: Sequence[Report], about: Mapping[str, str]) -> str:
    """One page on several checkpoints: a table of them, then each."""
    views = [_view(report) for report in reports]
    rows = [(report, f"#checkpoint-{n}", None) for n, report in enumerate(reports, 1)]
    return render("several.html.j2", about, views=views, rows=rows)


def index(rows: Sequence[tuple[Report, str, float]], about: Mapping[str, str]) -> str:
    """The page that lists several reports, each with the name of its own page and its seconds."""
    return render("index.html.j2", about, rows=rows)


def _view(report: Report) -> dict[str, Any]:
    """What the template shows of one report."""
    return {
        "report": report,
        "compared": _compared(report),
        "provenance": _provenance(report),
        "took": _took(report),
        "deviations": None if report.trace is None else deviation_chart(report.trace),
        "outstanding": outstanding(report.statistics),
        "heat": heat_map(report.statistics),
        "blocks": [(block.block, block.values) for block in report.statistics],
        "tensors": [(row.name, row.values) for b in report.statistics for row in b.tensors],
        "limit": _limit(report),
    }


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
    tried, made = source.get("not_used", []), report.conversion or {}
    return [
        ("Source", source.get("name")),
        ("URL", source.get("url")),
        *((f"Not from {item.get('name')}", item.get("reason")) for item in tried),
        ("Averaged weights (EMA)", report.ema),
        ("Written", report.output),
        ("SHA-256 of the result", report.output_sha256),
        *((name, _in_words(made.get(member))) for member, name in _MADE.items()),
    ]


def _in_words(value: Any) -> object:
    """Names in one sentence; of a file its name and SHA-256, of several each."""
    if isinstance(value, Mapping):
        pairs = [value.values()] if "sha256" in value else value.items()
        value = [f"{name} (SHA-256 {digest})" for name, digest in pairs]
    return listed(value) if isinstance(value, list | tuple) else value


def _took(report: Report) -> Facts:
    """Seconds of each part, and its share of all."""
    whole = report.took.get("in all") or 1.0
    return [(part, f"{s:.2f} s, {s / whole:.0%}") for part, s in report.took.items()]


def _limit(report: Report) -> float:
    """The largest absolute value of all blocks, which is the end of every range bar."""
    ends = (abs(v) for b in report.statistics for v in (b.values.minimum, b.values.maximum))
    return max((end for end in ends if math.isfinite(end)), default=0.0)


def _title(report: Report) -> str:
    row = zoo.BY_NAME.get(report.name or "")
    if row:
        return f"{row.label} ({row.name})"
    return report.name or PurePath(report.path or "Not identified").name


def _word(report: Report) -> str:
    if report.verdict is None and report.error is not None:
        return word_for(report.error)
    return report.outcome if report.verdict is None else report.verdict.word


def _counts(words: Sequence[str]) -> str:
    """How many of each; of the outcomes of checks the worst first."""
    spelled = {"fail": "failed", "pass": "passed", "not checked": "not checked"}
    order = [*(word for word in spelled if word in words), *dict.fromkeys(words)]
    return ", ".join(
        f"{words.count(word)} {spelled.get(word, word)}" for word in dict.fromkeys(order)
    )


TEMPLATES.globals |= {
    "counts": _counts,
    "range_bar": range_bar,
    "sentences": SENTENCES,
    "title": _title,
    "verdicts": MEANINGS,
    "word": _word,
}
TEMPLATES.filters["word_of"] = _word
