"""Pages as Chromium shows them: on a telephone, a tablet and a desk, in the dark, on paper."""

import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from hornet_convert.html.page import page
from hornet_convert.report.report import Report
from tests.verification.browser import PAPER, Tab
from tests.verification.pages import PAGES
from tests.verification.test_html_report import ABOUT

WIDTHS = (390, 768, 1280)
OPEN = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
FOCUSABLE = "'a[href], summary, [tabindex]'"

# What lies beyond the right edge; charts are wider than the window, and scroll by themselves.
BEYOND = """[...document.querySelectorAll("body *:not(figure *)")]
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5)
    .map((e) => e.outerHTML.slice(0, 200))"""

# Text whose contrast with what is behind it is below 4.5, with both colours.
FAINT = """(() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = (c) => {
        const [r, g, b] = c.map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = new Map();
    const ground = (e) => {
        if (!e) return [255, 255, 255];
        if (!behind.has(e)) {
            const c = parse(getComputedStyle(e).backgroundColor);
            behind.set(e, c.length > 3 && c[3] === 0 ? ground(e.parentElement) : c.slice(0, 3));
        }
        return behind.get(e);
    };
    const bands = (e) => [...(e.closest("svg")?.querySelectorAll(".band") ?? [])]
        .map((band) => parse(getComputedStyle(band).fill));
    const faint = new Set(), seen = new Set();
    const look = (e, style, text) => {
        const colour = parse(e.closest("svg") ? style.fill : style.color).slice(0, 3);
        const pair = [colour, ground(e), e.closest("svg") !== null].join();
        if (seen.has(pair)) return;
        seen.add(pair);
        for (const under of [ground(e), ...bands(e)]) {
            const [a, b] = [light(colour), light(under)].sort((x, y) => y - x);
            if ((a + 0.05) / (b + 0.05) < 4.5) faint.add(`${text} ${colour} on ${under}`);
        }
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const e = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
        if (!text || e.tagName === "title" || !e.checkVisibility()) continue;
        look(e, getComputedStyle(e), text.slice(0, 40));
        for (const up of [e, e.parentElement]) {
            const before = getComputedStyle(up, "::before");
            if (before.content !== "none") look(up, before, before.content);
        }
    }
    return [...faint];
})()"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_asks_for_nothing_and_can_be_read(
    tab: Tab, pages: dict[str, Path], name: str
) -> None:
    """At three widths, light and dark, with everything opened."""
    tab.show(pages[name], WIDTHS[0])
    tab.run(OPEN)
    for width in WIDTHS:
        for dark in (False, True):
            tab.change(width, dark=dark)
            assert tab.run("innerWidth") == width
            assert tab.run(BEYOND) == []
            assert tab.run("document.documentElement.scrollWidth") == width
            assert tab.run(FAINT) == []
            ground = tab.run("getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(13, 17, 23)" if dark else "rgb(246, 248, 250)")
    assert tab.asked_for() == [pages[name].as_uri()]
    assert tab.told("Log.entryAdded") == []


def test_a_check_has_the_width_of_a_telephone(tab: Tab, pages: dict[str, Path]) -> None:
    """Its sentence and what was found have all of it; of a number no part is on the next line."""
    tab.show(pages["good"], 390)
    width = tab.run("document.querySelector('.checks').clientWidth")
    cells = "[...document.querySelectorAll('.checks tbody :is(th, td)')]"
    assert {width} == {*tab.run(f"{cells}.map((e) => e.getBoundingClientRect().width)")}
    lines = """(() => {
        const sup = document.querySelector("sup"), found = [];
        for (let width = 100; width < 390; width++) {
            sup.closest("p").style.width = `${width}px`;
            found.push(sup.getClientRects().length);
        }
        return found;
    })()"""
    assert {1} == {*tab.run(lines)}


def test_what_is_wide_or_faint_would_be_seen(tab: Tab, pages: dict[str, Path]) -> None:
    """The looks above find what they look for: on the page, in a table, in a chart."""
    tab.show(pages["good"], 390)
    for place in ("h1", ".checks td:last-child", "svg text"):
        assert tab.run(FAINT) == []
        style = f"document.querySelector('{place}').style"
        tab.run(f"{style}.color = {style}.fill = '#999'")
        assert all(" 153,153,153 on " in text for text in tab.run(FAINT))
        assert len(tab.run(FAINT)) > 0
        tab.run(f"{style}.color = {style}.fill = ''")
    assert tab.run(BEYOND) == []
    tab.run("document.querySelector('.checks td').style.width = '500px'")
    assert len(tab.run(BEYOND)) > 0


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_used_with_the_keyboard(tab: Tab, pages: dict[str, Path], name: str) -> None:
    """Everything in the order of the page, each with a frame around it while it has the focus."""
    tab.show(pages[name], 768)
    count = tab.run(f"document.querySelectorAll({FOCUSABLE}).length")
    for place in range(count):
        tab.press("Tab", 9)
        found = tab.run(
            f"[[...document.querySelectorAll({FOCUSABLE})].indexOf(document.activeElement),"
            " parseFloat(getComputedStyle(document.activeElement).outlineWidth),"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert found == [place, 3, "solid"]


def test_keys_open_details_and_follow_links(tab: Tab, pages: dict[str, Path]) -> None:
    """Enter on a heading that hides something, and on a row of the table of several."""
    tab.show(pages["different"], 390)
    tab.run("document.querySelector('summary').focus()")
    tab.press("Enter", 13)
    assert tab.run("document.querySelector('details').open") is True
    tab.show(pages["several"], 390)
    tab.run("document.querySelectorAll('nav a')[1].focus()")
    tab.press("Enter", 13)
    assert tab.run("location.hash") == "#checkpoint-2"


@pytest.mark.parametrize("name", PAGES)
def test_the_outcome_is_seen_at_once(tab: Tab, pages: dict[str, Path], name: str) -> None:
    """On the first screen of a telephone, without opening or scrolling anything."""
    tab.show(pages[name], 390)
    first = "main .badge, main .figure, main .lead"
    place = tab.run(f"document.querySelector('{first}').getBoundingClientRect().bottom")
    assert 0 < place < 500
    assert tab.run(f"document.querySelector('{first}').closest('details')") is None


@pytest.mark.parametrize("name", PAGES)
def test_a_page_on_paper(tab: Tab, pages: dict[str, Path], name: str) -> None:
    """White even in the dark, nothing cut, what is hidden on the screen is there."""
    tab.show(pages[name], PAPER, dark=True, media="print")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.run(BEYOND) == []
    beyond = BEYOND.replace("body *:not(figure *)", "figure svg")
    assert tab.run(beyond) == []
    assert tab.run(FAINT) == []
    heights = tab.run(
        "[...document.querySelectorAll('details table')]"
        ".map((each) => each.checkVisibility() && each.getBoundingClientRect().height)"
    )
    assert all(height and height > 20 for height in heights)
    assert len(heights) == tab.run("document.querySelectorAll('details').length")


def test_links_are_spelled_out_on_paper(tab: Tab, tmp_path: Path, good: Report) -> None:
    """Those that lead off the page."""
    from hornet_convert.html.page import index

    (tmp_path / "index.html").write_text(index([(good, "w8-gf.html", 1.0)], ABOUT))
    tab.show(tmp_path / "index.html", PAPER, media="print")
    content = tab.run("getComputedStyle(document.querySelector('a'), '::after').content")
    assert "w8-gf.html" in content or "attr(href)" in content


def test_nothing_that_got_into_a_page_runs_or_loads(
    tab: Tab, pages: dict[str, Path], tmp_path: Path
) -> None:
    """Should text ever become markup, the policy stops it: scripts, images, styles, frames."""
    evil = """<script>document.title = "ran"</script><img src="http://127.0.0.1:9/a.png"
        onerror="document.title = 'ran'"><style>body { color: red }</style>
        <iframe src="http://127.0.0.1:9/"></iframe><link rel="stylesheet" href="file:///x.css">"""
    html = pages["refused"].read_text().replace("<main>", f"<main>{evil}")
    (tmp_path / "evil.html").write_text(html)
    tab.show(tmp_path / "evil.html", 768)
    assert tab.run("document.title") != "ran"
    assert tab.run("getComputedStyle(document.body).color") == "rgb(31, 35, 40)"
    failed = {e["requestId"]: e.get("blockedReason") for e in tab.told("Network.loadingFailed")}
    sent = {e["requestId"]: e["request"]["url"] for e in tab.told("Network.requestWillBeSent")}
    tried = {url: failed.get(number) for number, url in sent.items() if url.startswith("http")}
    assert set(tried.values()) <= {"csp"}
    policy = [e["entry"]["text"] for e in tab.told("Log.entryAdded")]
    assert sum("Content Security Policy" in text for text in policy) >= 4


def test_what_is_wrong_can_be_seen(tab: Tab, tmp_path: Path, good: Report, bad: Report) -> None:
    """And nothing of it where nothing is."""
    seen = {}
    for name, report in (("good", good), ("bad", bad)):
        html = tmp_path / f"{name}.html"
        html.write_text(page(report, ABOUT))
        tab.show(html, 1100)
        with Image.open(io.BytesIO(tab.picture())) as shown:
            colours = shown.convert("RGB").getcolors(1 << 24) or []
        seen[name] = Counter({colour: count for count, colour in colours})
    red, green, magenta, black = (207, 34, 46), (26, 127, 55), (191, 15, 191), (0, 0, 0)
    cell = 15 * 25 // 2  # at least half of a cell of the heat map, over what its legend shows
    assert seen["bad"][magenta] > seen["good"][magenta] + cell
    assert seen["bad"][black] > seen["good"][black] + cell
    assert seen["bad"][red] > seen["good"][red] + 1000  # badge, chips, the chart's marks
    assert seen["good"][green] > seen["bad"][green] + 500
    alarm = (255, 245, 245)
    assert seen["bad"][alarm] > 10_000 > seen["good"][alarm]
