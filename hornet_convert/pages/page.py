"""A report for people as one HTML page: no scripts, nothing loaded from elsewhere. Pure strings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from hornet_convert.errors import printable
from hornet_convert.family import zoo
from hornet_convert.numbers.standing import BlockStatistics, Statistics, outstanding
from hornet_convert.pages.charts import deviation_chart, heat_map, range_bar
from hornet_convert.pages.style import STYLE
from hornet_convert.verification.report import CHECKS, Check, Report, outcome
from hornet_convert.verification.trace import Trace
from hornet_convert.verification.verdict import MEANINGS

DOCTYPE = "<!doctype html>"
GENERATOR = '<meta name="generator" content="hornet-convert">'  # by which a page is known as ours


def page(report: Report, about: Mapping[str, str]) -> str:
    """The whole page on one checkpoint.

    `about` are further facts for the last section: when it was made, and by which versions.
    """
    sections = [
        _head(report),
        _failures(report),
        _section("What was compared", _compared(report)),
        _section("Checks", _checks(report)) if report.checks else "",
        _section("The same image through two programs", _deviations(report.trace))
        if report.trace is not None
        else "",
        _section("Weights by block", _weights(report.statistics)) if report.statistics else "",
        _section("Where it comes from", _provenance(report, about)),
    ]
    return _document(f"{_model(report)}: {_word(report)}", "".join(sections))


def index(reports: Sequence[tuple[Report, str]], about: Mapping[str, str]) -> str:
    """The page that lists several reports, each with the name of its own page."""
    rows = []
    for report, link in reports:
        trace = report.trace
        largest = max((part.relative for part in trace.parts), default=None) if trace else None
        chips = "".join(
            f'<span class="dot {_class(check.status)}" title="{_text(check.code)}: '
            f'{_text(check.status)}"></span>'
            for check in report.checks
        )
        rows.append(
            [
                f'<a href="{escape(link)}">{_text(_model(report))}</a>',
                f'<span class="badge {_class(_word(report))}">{_text(_word(report))}</span>',
                chips,
                "" if largest is None else f"{largest:.1e}",
                _text((report.source or {}).get("name", "")),
                "" if report.seconds is None else f"{report.seconds:.1f}",
            ]
        )
    titles = ("model", "verdict", "checks", "largest deviation", "source", "seconds")
    words = [_word(report) for report, _ in reports]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    body = (
        "<header><h1>HorNet checkpoints</h1>"
        f"<p>{len(reports)} models: {_text(counts)}.</p></header>"
        + _section("Models", _table(titles, rows, numbers={3, 5}))
        + _section("What the verdicts mean", _meanings())
        + _section("How this was made", _facts(list(about.items())))
    )
    return _document("HorNet checkpoints", body)


def _document(title: str, body: str) -> str:
    return (
        f'{DOCTYPE}\n<html lang="en"><head><meta charset="utf-8">{GENERATOR}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body><main>{body}</main>"
        "</body></html>\n"
    )


def _head(report: Report) -> str:
    word = _word(report)
    meaning = MEANINGS[report.verdict.word] if report.verdict is not None else ""
    path = f"<p class='path'>{_text(report.path)}</p>" if report.path else ""
    return (
        f'<header><span class="badge {_class(word)}">{_text(word)}</span>'
        f"<h1>{_text(_model(report))}</h1>{path}<p class='lead'>{_text(meaning)}</p></header>"
    )


def _failures(report: Report) -> str:
    said = [
        f"<b>{_text(c.code)}</b>: {_text(c.detail)}" for c in report.checks if c.status == "fail"
    ]
    if report.error is not None:
        said.append(f"<b>error</b>: {_text(str(report.error))}")
    items = "".join(f"<li>{line}</li>" for line in said)
    return (
        f'<section class="alarm"><h2>What is wrong</h2><ul>{items}</ul></section>' if said else ""
    )


def _compared(report: Report) -> str:
    verdict, trace = report.verdict, report.trace
    decided = verdict.reference if verdict is not None else None
    facts = [
        ("Key layout", report.layout),
        ("Container", report.container),
        ("Classes", None if report.num_classes is None else str(report.num_classes)),
        ("SHA-256 of the file", report.sha256),
        ("Fingerprint of the weights", report.fingerprint),
        (
            "Reference",
            f"{decided.origin}: {decided.kind} {decided.digits}"
            if decided is not None
            else "none: nothing apart from the file says what it should be",
        ),
        (
            "Images of the forward check",
            f"{trace.batch} of {trace.image_size[0]}×{trace.image_size[1]}, seed {trace.seed}"
            if trace is not None
            else None,
        ),
    ]
    return _facts([(name, value) for name, value in facts if value])


def _checks(report: Report) -> str:
    rows = [
        [
            f'<span class="chip {_class(check.status)}">{check.status}</span>',
            f"<b>{_text(check.code)}</b><br><span class='quiet'>{CHECKS[check.code]}</span>",
            _text(_detail(check)),
        ]
        for check in report.checks
    ]
    return f'<div class="checks">{_table(("", "check", "found"), rows)}</div>'


def _detail(check: Check) -> str:
    return check.detail.removeprefix("not checked, ")


def _deviations(trace: Trace) -> str:
    said = (
        "<p>The source's weights under their own names, and the converted ones in the reference "
        "model, are computed in float64 by two programs that share no code. The chart shows how "
        "far their outputs are apart after every part of the network, relative to the largest "
        "value there. Rounding alone leaves about 10<sup>-15</sup>.</p>"
    )
    if trace.float32 is not None and not math.isfinite(trace.float32):
        said += "<p>In float32 its output is not a number.</p>"
    elif trace.float32 is not None:
        said += (
            "<p>In float32, as the model is mostly used, its output is within "
            f"{trace.float32:.1e} of that in float64.</p>"
        )
    table = ""
    first = trace.first_diverging
    if first is not None:
        rows = [
            [
                _text(part.module)
                + (" <b>first to differ</b>" if part is trace.parts[first] else ""),
                f"{part.largest:.3e}",
                f"{part.absolute:.3e}",
                f"{part.relative:.1e}",
            ]
            for part in trace.around
        ]
        titles = ("part", "largest value", "largest deviation", "relative")
        table = _table(titles, rows, numbers={1, 2, 3})
    return f"{said}<figure>{deviation_chart(trace)}</figure>{table}"


def _weights(blocks: Sequence[BlockStatistics]) -> str:
    found = outstanding(blocks)
    if found:
        items = "".join(f"<li>{_text(line)}</li>" for line in found[:40])
        more = f"<li>and {len(found) - 40} more</li>" if len(found) > 40 else ""
        standing = f'<p><b class="bad">What stands out:</b></p><ul>{items}{more}</ul>'
    else:
        standing = "<p>Nothing stands out: no tensor is zero, wild or far from its kind.</p>"
    finite = [abs(v) for b in blocks for v in (b.values.minimum, b.values.maximum)]
    limit = max((value for value in finite if math.isfinite(value)), default=0.0)
    titles = ("block", "numbers", "mean", "deviation", "smallest", "largest", "zeros", "range")
    rows = [
        [_text(block.block), *_cells(block.values), range_bar(block.values, limit)]
        for block in blocks
    ]
    each = [[_text(row.name), *_cells(row.values)] for b in blocks for row in b.tensors]
    numbers = {1, 2, 3, 4, 5, 6}
    return (
        "<p>Each cell is one tensor: its size (root mean square, times the root of its inputs) "
        "against what is usual for its kind in its stage. A dead or wild "
        "layer is a black or a glaring cell in a frame.</p>"
        f"{standing}<figure>{heat_map(blocks)}</figure>{_table(titles, rows, numbers)}"
        "<details><summary>Every tensor</summary>"
        f"{_table(('tensor', *titles[1:-1]), each, numbers)}</details>"
    )


def _cells(values: Statistics) -> list[str]:
    zeros = values.zeros / max(values.numel, 1)
    strange = f" <b class='bad'>{values.not_finite:,} not finite</b>" if values.not_finite else ""
    return [
        f"{values.numel:,}{strange}",
        f"{values.mean:.2e}",
        f"{values.std:.2e}",
        f"{values.minimum:.2e}",
        f"{values.maximum:.2e}",
        f"{zeros:.2%}" if values.zeros else "0",
    ]


def _provenance(report: Report, about: Mapping[str, str]) -> str:
    source = report.source or {}
    facts = [("Source", source.get("name")), ("URL", source.get("url"))]
    facts += [
        (f"Not from {tried.get('name')}", tried.get("reason"))
        for tried in source.get("not_used", [])
    ]
    facts += [("Averaged weights (EMA)", report.ema), ("Written", report.output)]
    facts += [("SHA-256 of the result", report.output_sha256)]
    facts += [(name.capitalize(), value) for name, value in (report.conversion or {}).items()]
    shown = [(name, str(value)) for name, value in facts if value]
    notes = "".join(f"<li>{_text(note)}</li>" for note in report.notes)
    listed = f"<ul>{notes}</ul>" if notes else ""
    return _facts([*shown, *about.items()]) + listed


def _meanings() -> str:
    return _facts([(word, meaning) for word, meaning in MEANINGS.items()])


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts)
    return f"<dl>{rows}</dl>"


def _table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[int] | None = None
) -> str:
    numeric = numbers or set()
    classes = [' class="number"' if n in numeric else "" for n in range(len(titles))]
    head = "".join(f"<th{c}>{t}</th>" for t, c in zip(titles, classes, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{c}>{v}</td>" for v, c in zip(row, classes, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        "</div>"
    )


def _model(report: Report) -> str:
    row = zoo.BY_NAME.get(report.model or "")
    return f"{row.label} ({row.name})" if row else (report.model or "Not identified")


def _word(report: Report) -> str:
    return report.verdict.word if report.verdict is not None else outcome(report)


def _class(word: str) -> str:
    return word.replace(" ", "-")


def _text(value: object) -> str:
    return escape(printable(str(value), 4000))
