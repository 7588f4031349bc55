"""The report for people: whole, self-contained, safe, true to the numbers, and it renders."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fixtures import small
from hornet_convert.cli import run
from hornet_convert.cli.pages import write_page, write_pages
from hornet_convert.conversion.convert import Request, convert
from hornet_convert.errors import DiskError, SourceUnreachableError
from hornet_convert.numbers.standing import BlockStatistics, outstanding
from hornet_convert.pages.charts import BAD, GOOD, deviation_chart
from hornet_convert.pages.page import index, page
from hornet_convert.verification.naming import split_block
from hornet_convert.verification.report import CHECKS, Report, failed, passed
from hornet_convert.verification.trace import Part, Probe, Trace
from hornet_convert.verification.verdict import Reference
from hornet_convert.verification.verify import verify

ABOUT = {"Made": "2024-01-01 00:00 UTC"}
VOID = {"meta", "br"}
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
        assert [] == self._open

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


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report on a right file, with everything in it."""
    path = small.write(tmp_path_factory.mktemp("good") / "in.pth", "openmmlab-legacy", "w8-gf")
    report = verify(path, probe=Probe(64), statistics=True)
    assert report, report.checks
    return report


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report on a file with a dead, a wild and a broken layer, and a diverging trace."""
    weights = small.tensors("w8-gf", "reference")
    weights["stages.2.blocks.7.mlp.fc1.weight"] *= 30
    weights["stages.2.blocks.12.gnconv.proj_out.weight"] *= 0
    weights["stages.1.blocks.1.norm2.weight"] *= 0.05
    weights["stages.3.blocks.1.gamma2"][3] = torch.nan
    path = tmp_path_factory.mktemp("bad") / "bad.pth"
    torch.save(weights, path)
    report = verify(path, forward=False, statistics=True)
    modules = ["stem", "stages.0.blocks.0", "stages.1.downsample", "stages.1.blocks.0", "head.fc"]
    parts = tuple(
        Part(module, relative * 4, 4.0, relative)
        for module, relative in zip(modules, (0.0, 1e-15, 1e-4, 2.0, float("inf")), strict=True)
    )
    check = failed("forward", "first to differ: stages.1.downsample")
    traced = replace(check, trace=Trace(parts, (64, 64), 0, 1, 1e-9))
    return replace(
        report, checks=tuple(traced if c.code == "forward" else c for c in report.checks)
    )


@pytest.mark.parametrize("which", ["good", "bad"])
def test_a_page_is_whole_and_needs_nothing_else(request: pytest.FixtureRequest, which: str) -> None:
    """Well-formed, without scripts, and without anything to load."""
    html = page(request.getfixturevalue(which), ABOUT)
    parsed = Parsed(html)
    assert 0 == parsed.count("script") + parsed.count("link") + parsed.count("img")
    for _, attributes in parsed.elements:
        assert {"src", "srcset", "onload", "onclick", "style"}.isdisjoint(attributes)
    assert not re.search(r"url\(|@import|https?://", html)
    assert ["utf-8"] == [a["charset"] for tag, a in parsed.elements if "charset" in a]


def test_the_page_says_everything_that_the_report_does(good: Report) -> None:
    """Verdict, facts, every check with its sentence, every note, the deviations, the weights."""
    html = page(good, ABOUT)
    parsed = Parsed(html)
    for check in good.checks:
        assert check.code in parsed.text
        assert CHECKS[check.code] in parsed.text
        assert check.detail.removeprefix("not checked, ") in parsed.text
    for said in (good.sha256, good.fingerprint, good.path, "consistent", "2024-01-01 00:00 UTC"):
        assert said
        assert said in parsed.text
    for note in good.notes:
        assert note in parsed.text
    assert good.trace is not None
    assert len(good.trace.parts) == parsed.count("g", "mark")
    assert "Nothing stands out" in parsed.text
    assert 0 == parsed.count("section", "alarm")


def test_a_cell_for_every_tensor_of_a_block(good: Report) -> None:
    """And a row for every block and tensor in the tables."""
    parsed = Parsed(page(good, ABOUT))
    in_blocks = [row for b in good.statistics if ".blocks." in b.block for row in b.tensors]
    assert len(in_blocks) == parsed.count("rect", "cell")
    assert 640 == sum(len(block.tensors) for block in good.statistics)
    assert ["stem", "stages.0.blocks.0"] == [block.block for block in good.statistics[:2]]
    assert parsed.count("tr") >= len(good.statistics) + 640


def test_what_is_wrong_comes_first_and_stands_out(bad: Report) -> None:
    """A section of failures, the part that differs first, and framed cells."""
    parsed = Parsed(page(bad, ABOUT))
    assert 1 == parsed.count("section", "alarm")
    assert parsed.text.index("What is wrong") < parsed.text.index("What was compared")
    assert "stages.1.downsample first to differ" in parsed.text
    counts = {css: parsed.count("rect", css) for css in ("dead", "large", "small", "not-finite")}
    assert {"dead": 1, "large": 1, "small": 1, "not-finite": 1} == counts
    assert [
        "stages.1.blocks.1.norm2.weight is",
        "stages.2.blocks.7.mlp.fc1.weight is",
        "stages.2.blocks.12.gnconv.proj_out.weight is zero everywhere",
        "stages.3.blocks.1.gamma2 holds NaN or infinity 1 times",
    ] == [
        line if "zero" in line or "NaN" in line else line[: line.index(" is") + 3]
        for line in outstanding(bad.statistics)
    ]


def test_marks_stand_where_their_numbers_say() -> None:
    """Ten times the deviation is one decade higher; zero, NaN and infinity stay on the chart."""
    values = [1e-15, 1e-14, 1e-13, 0.0, float("nan"), float("inf"), 1e9]
    parts = tuple(Part(f"stages.0.blocks.{n}", v, 1.0, v) for n, v in enumerate(values))
    svg = deviation_chart(Trace(parts, (32, 32), 0, 1, 1e-9))
    places = [float(y) for y in re.findall(r'cy="([\d.]+)"', svg)]
    assert places[0] - places[1] == pytest.approx(places[1] - places[2], abs=0.11)
    assert places[3] == max(places)
    assert places[4] == places[5] == places[6] == min(places)
    assert [4, 3] == [svg.count(f'r="4.5" fill="{c}"') for c in (GOOD, BAD)]


def test_statistics_are_those_of_numpy(good: Report) -> None:
    """Mean, deviation, extremes and zeros of every tensor and every block."""
    weights = small.arrays("w8-gf", "reference")
    blocks: dict[str, list[np.ndarray]] = {}
    for name, array in weights.items():
        blocks.setdefault(split_block(name)[0], []).append(array.ravel())

    def agrees(block: BlockStatistics) -> None:
        for row in block.tensors:
            array = weights[row.name].astype(np.float64)
            seen = row.values
            assert (array.size, array.min(), array.max()) == (
                seen.numel,
                seen.minimum,
                seen.maximum,
            )
            assert (array.mean(), array.std()) == pytest.approx((seen.mean, seen.std), abs=1e-12)
            assert np.count_nonzero(array == 0) == seen.zeros
        whole = np.concatenate(blocks[block.block]).astype(np.float64)
        assert (whole.mean(), whole.std()) == pytest.approx(
            (block.values.mean, block.values.std), abs=1e-12
        )

    assert set(blocks) == {block.block for block in good.statistics}
    for block in good.statistics:
        agrees(block)


def test_text_from_a_file_cannot_become_markup(tmp_path: Path) -> None:
    """Names, notes and paths are shown as they are, control characters escaped."""
    evil = "<script>alert(1)</script>\x1b[31m&amp;\"'"
    weights = small.tensors("w8") | {evil: torch.ones(2)}
    folder = tmp_path / "<b>"
    folder.mkdir()
    torch.save({"model": weights, evil: 3}, folder / "in.pth")
    report = verify(folder / "in.pth", forward=False, statistics=True)
    report = replace(
        report, source={"name": evil, "url": evil}, references=(Reference("0" * 64, evil),)
    )
    html = page(report, ABOUT)
    assert "<script" not in html
    assert "<b>/in" not in html
    assert "\x1b" not in html
    assert "&lt;script&gt;" in html
    Parsed(html)


def test_the_index_lists_every_model(good: Report, bad: Report) -> None:
    """With its verdict and a link to its page; what could not be reached is said to be that."""
    away = Report(model="tiny", error=SourceUnreachableError("gone", where="example.org"))
    rows = [(good, "w8-gf.html"), (bad, "bad.html"), (away, "tiny.html")]
    parsed = Parsed(index(rows, ABOUT))
    links = [values["href"] for tag, values in parsed.elements if tag == "a"]
    assert ["w8-gf.html", "bad.html", "tiny.html"] == links
    assert "3 models: 1 consistent, 1 failed, 1 unreachable." in parsed.text
    assert "HorNet-T (tiny)" in parsed.text
    assert "example.org" in Parsed(page(away, ABOUT)).text


def test_a_conversion_has_statistics_when_asked(tmp_path: Path) -> None:
    """And none otherwise: they cost another pass over the weights."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    for asked in (False, True):
        report = convert(path, Request(tmp_path / "out", forward=False, statistics=asked))
        assert asked == bool(report.statistics)
        assert "statistics" not in report.to_json()
    assert Path(report.output or "").name in Parsed(page(report, ABOUT)).text


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both verify and convert write the page beside whatever else they do, failed or not."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    html = tmp_path / "report.html"
    common = ["--ckpt", str(path), "--no-forward", "--json", "--report", str(html)]
    for command in (["verify", *common], ["convert", *common, "--out", str(tmp_path / "out")]):
        assert 0 == run(command)
        assert "pass" == json.loads(capsys.readouterr().out)["status"]
        assert "Weights by block" in html.read_text()
        html.unlink()
    assert 1 == run(["verify", *common, "--require", "authentic"])
    assert "What is wrong" in html.read_text()


def test_a_report_replaces_reports_only(tmp_path: Path, good: Report) -> None:
    """A checkpoint named by mistake stays byte for byte."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    before = path.read_bytes()
    with pytest.raises(DiskError):
        write_page(good, path)
    assert before == path.read_bytes()
    write_page(good, tmp_path / "report.html")
    write_page(good, tmp_path / "report.html")


def test_a_folder_of_reports(tmp_path: Path, good: Report) -> None:
    """The index and a page for each model, all links good."""
    write_pages([good, Report(model="tiny", checks=(passed("model", "x"),))], tmp_path / "pages")
    parsed = Parsed((tmp_path / "pages" / "index.html").read_text())
    links = [values["href"] for tag, values in parsed.elements if tag == "a"]
    assert 2 == len(links)
    assert all((tmp_path / "pages" / link).is_file() for link in links)


def _browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium or Chrome is installed: the page is not rendered")
    return found


def _headless(tmp_path: Path, *arguments: str) -> str:
    done = subprocess.run(
        [
            _browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}", *arguments,
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def _colours(path: Path) -> dict[tuple[int, ...], int]:
    """Pixels of each colour."""
    with Image.open(path) as image:
        found = image.convert("RGB").getcolors(1 << 24)
    assert found is not None
    return {colour: count for count, colour in found if isinstance(colour, tuple)}


def test_the_page_renders(tmp_path: Path, good: Report, bad: Report) -> None:
    """In a headless browser: what is wrong can be seen, and nothing of it where nothing is."""
    seen = {}
    for name, report in (("good", good), ("bad", bad)):
        html, image = tmp_path / f"{name}.html", tmp_path / f"{name}.png"
        html.write_text(page(report, ABOUT))
        _headless(tmp_path, "--window-size=1100,4200", f"--screenshot={image}", html.as_uri())
        seen[name] = _colours(image)
    red, green, magenta, black = (207, 34, 46), (26, 127, 55), (191, 15, 191), (0, 0, 0)
    cell = 15 * 25 // 2  # at least half of a cell of the heat map, over what its legend shows
    assert seen["bad"][magenta] > seen["good"][magenta] + cell
    assert seen["bad"][black] > seen["good"][black] + cell
    assert seen["bad"][red] > seen["good"][red] + 1000  # badge, chips, the chart's marks
    assert seen["good"][green] > seen["bad"][green] + 500
    alarm = (255, 245, 245)
    assert seen["bad"].get(alarm, 0) > 10_000 > seen["good"].get(alarm, 0)


@pytest.mark.parametrize("width", [1100, 500])
def test_nothing_is_wider_than_the_window(tmp_path: Path, bad: Report, width: int) -> None:
    """Wide charts and tables scroll by themselves; the page does not."""
    measure = "<script>document.title = document.documentElement.scrollWidth</script>"
    html = tmp_path / "page.html"
    html.write_text(page(bad, ABOUT).replace("</body>", f"{measure}</body>"))
    dom = _headless(tmp_path, f"--window-size={width},800", "--dump-dom", html.as_uri())
    found = re.search(r"<title>(\d+)</title>", dom)
    assert found is not None
    assert int(found[1]) <= width
