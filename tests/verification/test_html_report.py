"""The report for people: whole, self-contained, safe, true to the numbers, and it renders."""

import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import convert, verify
from hornet_convert.checks.checks import SENTENCES
from hornet_convert.cli import run
from hornet_convert.cli.pages import write_pages
from hornet_convert.conversion.request import Edits, Onnx, Request
from hornet_convert.errors import DiskError, SourceUnreachableError
from hornet_convert.html.charts import deviation_chart
from hornet_convert.html.page import index, page
from hornet_convert.report.claims import Claim
from hornet_convert.report.report import ALARM, Report
from hornet_convert.report.statistics import Statistics, outstanding
from hornet_convert.report.trace import Deviation, Trace
from hornet_convert.text import split_block
from tests.documents import only, parsed

ABOUT = {"Made": "2024-01-01 00:00 UTC"}
VOID = {"meta", "br", "img"}
EVIL = "<script>alert(1)</script>\x1b[31m&amp;\"'"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Parsed(HTMLParser):
    """Elements, attributes and text of a page; fails where elements are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str, css: str | None = None) -> int:
        """Elements of a kind, with a class if one is given."""
        return sum(
            name == tag and (css is None or css in values.get("class", "").split())
            for name, values in self.elements
        )

    def links(self) -> list[str]:
        """Where the page leads to."""
        return [values["href"] for tag, values in self.elements if tag == "a"]


@pytest.mark.parametrize("which", ["good", "bad"])
def test_a_page_is_whole_and_needs_nothing_else(request: pytest.FixtureRequest, which: str) -> None:
    """Well-formed, without scripts, without anything to load, and the same every time."""
    report = request.getfixturevalue(which)
    html = page(report, ABOUT)
    parsed = Parsed(html)
    assert {"script", "link", "img", "iframe"}.isdisjoint(tag for tag, _ in parsed.elements)
    for _, attributes in parsed.elements:
        assert {"src", "srcset", "onload", "onclick", "style"}.isdisjoint(attributes)
    assert not re.search(r"url\(|@import|https?://", html)
    assert '\n<meta charset="utf-8">' in html
    assert page(report, ABOUT) == html


def test_the_page_says_everything_that_the_report_does(good: Report) -> None:
    """Verdict, facts, every check with its sentence, every note, the deviations, the weights.

    A cell for every tensor of a block, and a row for every block and tensor in the tables.
    """
    parsed = Parsed(page(good, ABOUT))
    for check in good.checks:
        assert check.code in parsed.text
        assert SENTENCES[check.code] in parsed.text
        assert check.detail.removeprefix("not checked, ") in parsed.text
    facts = (good.sha256, good.fingerprint, good.path, "consistent", "2024-01-01 00:00 UTC")
    for fact in (*facts, *good.notes):
        assert fact
        assert fact in parsed.text
    assert good.trace is not None
    assert parsed.count("g", "mark") == len(good.trace.parts)
    assert "Nothing stands out" in parsed.text
    assert parsed.count("section", "alarm") == 0
    tensors = [row.name for block in good.statistics for row in block.tensors]
    assert parsed.count("rect", "cell") == sum(".blocks." in name for name in tensors)
    assert len(tensors) == 640
    rows = len(good.statistics) + len(tensors) + len(good.checks)
    assert parsed.count("tr") == rows + 3  # and the heads of the three tables


def test_where_the_time_went(good: Report, bad: Report) -> None:
    """Every part that there was, and its share; without the forward check it has none."""
    forward = {"importing torch", "the two computations"}
    others = {"starting (processor time)", "reading, digests, values", "statistics of the weights"}
    assert set(good.took) == forward | others | {"in all"}
    assert set(bad.took) == others | {"in all"}
    text = Parsed(page(good, ABOUT)).text
    assert all(part in text for part in good.took)
    assert f"{good.took['in all']:.2f} s, 100%" in text
    assert "Where the time went" not in Parsed(page(replace(good, took={}), ABOUT)).text


def test_what_is_wrong_comes_first_and_stands_out(bad: Report) -> None:
    """A section of failures, the part that differs first, and framed cells."""
    parsed = Parsed(page(bad, ABOUT))
    assert parsed.count("section", "alarm") == 1
    assert parsed.text.index("What is wrong") < parsed.text.index("What was compared")
    assert "stages.1.downsample first to differ" in parsed.text
    assert "In float32 its output is not a number." in parsed.text
    framed = [
        values["class"].split()[1]
        for tag, values in parsed.elements
        if tag == "rect" and "framed" in values.get("class", "")
    ]
    assert framed == ["less", "more", "dead", "not-finite"]
    for sentence in outstanding(bad.statistics):
        assert sentence in parsed.text


def test_danger_is_told_before_everything_else(good: Report) -> None:
    """In a box of its own with each name and the reason, and in the row of the index."""
    dangers = (("posix.system", "runs a command"), (EVIL, EVIL))
    report = replace(good, dangers=dangers)
    html = page(report, ABOUT)
    parsed = Parsed(html)
    assert parsed.count("section", "danger") == 1
    assert parsed.text.index(ALARM) < parsed.text.index("What was compared")
    assert "posix.system runs a command" in parsed.text
    for shown in (html, index([(report, "a.html", 1.0)], ABOUT)):
        assert ALARM in Parsed(shown).text
        assert "<script" not in shown
        assert "\x1b" not in shown
    many = replace(good, dangers=tuple((f"os.f{n}", "unknown") for n in range(100)))
    assert "and 60 more" in Parsed(page(many, ABOUT)).text


def test_marks_stand_where_their_numbers_say() -> None:
    """Ten times the deviation is one decade higher; zero, NaN and infinity stay on the chart."""
    values = [1e-15, 1e-14, 1e-13, 0.0, float("nan"), float("inf"), 1e9]
    parts = tuple(Deviation(f"stages.0.blocks.{n}", v, 1.0) for n, v in enumerate(values))
    chart = deviation_chart(Trace(parts, (32, 32), 0, 1, 1e-9))
    places = [mark["y"] for mark in chart["marks"]]
    assert places[0] - places[1] == pytest.approx(places[1] - places[2])
    assert places[3] == max(places) == chart["bottom"]
    assert places[4] == places[5] == places[6] == min(places) == chart["top"]
    assert [mark["bad"] for mark in chart["marks"]] == [False] * 4 + [True] * 3


def test_statistics_are_those_of_numpy(good: Report) -> None:
    """Mean, deviation, extremes and zeros of every tensor and every block."""

    def agrees(values: Statistics, array: np.ndarray) -> None:
        assert values.numel == array.size
        assert values.minimum == array.min()
        assert values.maximum == array.max()
        assert values.zeros == np.count_nonzero(array == 0)
        assert values.mean == pytest.approx(array.mean(), abs=1e-12)
        assert values.std == pytest.approx(array.std(), abs=1e-12)

    weights = {n: a.astype(np.float64) for n, a in small.arrays("w8-gf", "reference").items()}
    assert {block.block for block in good.statistics} == {split_block(n)[0] for n in weights}
    for block in good.statistics:
        members = [weights[row.name] for row in block.tensors]
        agrees(block.values, np.concatenate([array.ravel() for array in members]))
        for row, array in zip(block.tensors, members, strict=True):
            agrees(row.values, array)


def test_text_from_a_file_cannot_become_markup(tmp_path: Path) -> None:
    """Names, notes and paths are shown as they are, control characters escaped."""
    weights = small.tensors("w8") | {EVIL: torch.ones(2)}
    folder = tmp_path / "<b>"
    folder.mkdir()
    torch.save({"model": weights, EVIL: 3}, folder / "in.pth")
    report = verify(folder / "in.pth", forward=False, statistics=True)
    tried = {"name": EVIL, "reason": EVIL}
    source = {"name": EVIL, "url": EVIL, "not_used": [tried]}
    report = replace(
        report,
        claims=(Claim(report.sha256 or "", EVIL),),
        source=source,
        ema=EVIL,
        output=EVIL,
        conversion={EVIL: EVIL},
        error=DiskError(EVIL),
    )
    for html in (page(report, ABOUT), index([(report, "a.html", 1.0)], ABOUT)):
        parsed = Parsed(html)
        assert "<script" not in html
        assert "<b>/in" not in html
        assert "\x1b" not in html
        assert "<script>alert(1)</script>\\x1b[31m&amp;\"'" in parsed.text


def test_the_index_lists_every_model(good: Report, bad: Report) -> None:
    """With its verdict and a link to its page; what could not be reached is said to be that."""
    away = Report(asked="tiny", error=SourceUnreachableError("gone", where="example.org"))
    rows = [(good, "w8-gf.html", 1.0), (bad, "bad.html", 2.0), (away, "tiny.html", 3.0)]
    parsed = Parsed(index(rows, ABOUT))
    assert parsed.links() == ["w8-gf.html", "bad.html", "tiny.html"]
    assert "3 models: 1 consistent, 1 failed, 1 unreachable." in parsed.text
    assert "HorNet-T (tiny)" in parsed.text
    assert "example.org" in Parsed(page(away, ABOUT)).text


def test_a_page_each_in_a_folder(tmp_path: Path, good: Report) -> None:
    """In the zoo's order, named after the model asked for; no row takes the page of another."""
    reports = [
        Report(asked="small", error=SourceUnreachableError("no mirror")),
        replace(good, asked="tiny-gf", model="tiny-gf"),
        replace(good, asked="tiny", model="tiny-gf"),
    ]
    write_pages(reports, [1.0] * len(reports), tmp_path)
    links = Parsed((tmp_path / "index.html").read_text()).links()
    assert links == ["tiny.html", "tiny-gf.html", "small.html"]
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", *links}
    wrong = Parsed((tmp_path / "tiny.html").read_text()).text
    assert "HorNet-T (tiny)" in wrong
    assert "Model foundtiny-gf" in wrong


def test_a_conversion_has_statistics_when_asked(tmp_path: Path) -> None:
    """And none otherwise: they cost another pass over the weights."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    for asked in (False, True):
        report = convert(path, Request(tmp_path / "out", statistics=asked), forward=False)
        assert bool(report.statistics) == asked
        assert "statistics" not in report.to_json()
    assert Path(report.output or "").name in Parsed(page(report, ABOUT)).text


def test_what_was_made_is_said_in_words(tmp_path: Path) -> None:
    """Of an edited ONNX model: no brackets, no names of members."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8-gf64")
    edits = Edits(dtype="float16", resolution=96)
    report = convert(path, Request(tmp_path / "out", onnx=Onnx(), edits=edits))
    assert report.conversion
    assert report.conversion["drift"]
    shown = Parsed(page(report, ABOUT)).text
    made = shown[shown.index("Where it comes from") :]
    assert not re.search(r"[{}\[\]]|num_classes|ir_version", made, re.IGNORECASE)
    beside = report.conversion["weights"] or {}
    for text in ("64to96px, float16", f"{beside['file']} (SHA-256 {beside['sha256']})"):
        assert text in made
    whole = replace(report, conversion={"files": {"a.bin": "1f", "b.json": "2e"}})
    assert "a.bin (SHA-256 1f), b.json (SHA-256 2e)" in Parsed(page(whole, ABOUT)).text


@pytest.fixture
def command(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """`verify` or `convert` of a good file, up to the option --report."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    more = ["--out", str(tmp_path / "out")] if request.param == "convert" else []
    return [request.param, "--ckpt", str(path), "--no-forward", *more]


both = pytest.mark.parametrize("command", ["verify", "convert"], indirect=True)


@both
def test_on_the_command_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is written beside everything else, failed or not, and over an older page."""
    html = tmp_path / "new" / "report.html"
    assert run([*command, "--json", "--report", str(html)]) == 0
    assert only(capsys.readouterr().out)["status"] == "pass"
    assert "Weights by block" in html.read_text()
    assert run([*command, "--report", str(html), "--require", "authentic"]) == 1
    assert "What is wrong" in html.read_text()


@pytest.mark.parametrize(
    ("command", "place"),
    [
        *(
            ("verify", place)
            for place in ("own.html", "empty.html", "in.pth", "fifo", "own.html/x")
        ),
        ("convert", "in.pth"),
        ("convert", "own.html/x"),
    ],
    indirect=["command"],
)
def test_a_page_that_cannot_be_written_hides_nothing(
    command: list[str], place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no report of ours stays as it is; the verdict comes first, then the error, exit 5."""
    (tmp_path / "own.html").write_text("<!doctype html><title>my page</title>")
    (tmp_path / "empty.html").touch()
    os.mkfifo(tmp_path / "fifo")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for as_json in (False, True):
        arguments = [*command, "--no-forward", "--report", str(tmp_path / place)]
        assert run([*arguments, "--json"] if as_json else arguments) == 5
        shown = capsys.readouterr()
        told = str(parsed(shown.out)["error"]) if as_json else shown.err
        assert place.partition("/")[0] in told
        assert "--out" not in told
        outcome = only(shown.out)["status"].upper() if as_json else shown.out
        assert "PASS" in outcome
        if command[0] == "convert":
            (written,) = (tmp_path / "out").glob("*.safetensors")
            assert written.name in shown.out
    # A wrong file is never reported as a trouble with the disk alone.
    assert run([*arguments, "--require", "authentic"]) == 1
    assert "verdict   consistent" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in before}


def test_validate_shows_its_results_before_the_pages_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And writes its other files; what stands in the place of a page is left alone."""
    pages, mirror, document = tmp_path / "pages", tmp_path / "mirror", tmp_path / "v.json"
    for folder in (pages, mirror):
        folder.mkdir()
    (pages / "index.html").write_text("my own page")
    source = ["--mirror", str(mirror), "--source", "mirror", "--cache", str(tmp_path / "cache")]
    files = ["--report", str(pages), "--json", str(document)]
    assert run(["validate", "tiny", "--no-forward", *source, *files]) == 3
    shown = capsys.readouterr()
    assert "1 unreachable" in shown.out
    assert "is not a report" in shown.err
    assert only(document.read_text())["status"] == "error"
    assert (pages / "index.html").read_text() == "my own page"
