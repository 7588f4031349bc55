"""Pages of all commands: written beside every outcome, well-formed, and the same facts on each."""

import base64
import io
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fixtures import small
from hornet_convert.cli import run
from hornet_convert.errors import FileRefusedError
from hornet_convert.html.environment import POLICY, STYLE, error_page, pieces
from hornet_convert.html.images import prediction_page
from hornet_convert.images import evaluate
from hornet_convert.images.evaluation import Evaluation
from hornet_convert.images.predict import Predicted, Prediction
from hornet_convert.images.thumbnails import SHOWN
from tests.usage.pictures import picture
from tests.verification.pages import PAGES
from tests.verification.test_html_report import ABOUT, EVIL, Parsed

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_sound(pages: dict[str, Path], name: str) -> None:
    """Language, title, landmarks, headings without a gap, tables with heads, nothing to load."""
    html = pages[name].read_text()
    parsed = Parsed(html)
    tags = [tag for tag, _ in parsed.elements]
    assert ("html", {"lang": "en"}) in parsed.elements
    assert html.count("<title>", 0, html.index("<body>")) == 1
    for tag in ("main", "footer", "h1"):
        assert tags.count(tag) == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for tag, attributes in parsed.elements:
        assert tag != "th" or attributes["scope"] in ("col", "row")
        assert tag != "img" or (attributes["alt"] and attributes["src"].startswith("data:image/"))
        assert {"style", "srcset", "onload", "onclick"}.isdisjoint(attributes)
    assert {"script", "link", "iframe", "object", "form"}.isdisjoint(tags)
    policy = {"http-equiv": "Content-Security-Policy", "content": POLICY}
    assert ("meta", policy) in parsed.elements
    assert f"<style>{STYLE}</style>" in html
    assert not re.search(r"url\(|@import", html)
    targets = {values["id"] for _, values in parsed.elements if "id" in values}
    assert {link.removeprefix("#") for link in parsed.links()} == targets


def test_the_policy_allows_nothing() -> None:
    """But the style of the page, by its digest, and images that stand in it."""
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules.pop("style-src").startswith("'sha256-")
    assert rules.pop("img-src") == "data:"
    assert set(rules.values()) == {"'none'"}


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("good", ["consistent", "Weights by block", "Every tensor"]),
        ("missing", ["failed", "What is wrong", "stages.2.blocks.0.{gamma1, gamma2"]),
        ("refused", ["refused", "page.pth", "A page titled", "Fetch the checkpoint again"]),
        ("several", ["3 checkpoints: 1 consistent, 1 failed, 1 refused."]),
        ("different", ["different", "1 changed, 1 of another shape, 1 only in A", "head.fc"]),
        ("equal", ["equal", "The same weights: all 640 tensors"]),
        ("not-compared", ["refused", "Got an HTML page"]),
        ("fetch", ["1 consistent, 1 unreachable", "No such file or directory"]),
        ("predict", ["portrait.jpg", "Skipped", "cut.jpg", "probability"]),
        ("eval", ["Top-1", "20.00 %", "Classes confused most", "In which place", "2 of "]),
    ],
)
def test_a_page_says_what_was_found(pages: dict[str, Path], name: str, texts: list[str]) -> None:
    """Of each command, in success and in failure."""
    shown = Parsed(pages[name].read_text()).text
    for text in texts:
        assert text.lower() in shown.lower()


def test_thumbnails_are_small_and_upright(pages: dict[str, Path]) -> None:
    """A photograph that was turned by its EXIF orientation is higher than wide."""
    parsed = Parsed(pages["predict"].read_text())
    shown = {v["alt"]: v["src"] for tag, v in parsed.elements if tag == "img"}
    assert {"a wide one.jpg", "portrait.jpg"} == shown.keys()
    sizes = {}
    for name, uri in shown.items():
        data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"), validate=True)
        assert len(data) < 20_000
        with Image.open(io.BytesIO(data)) as image:
            sizes[name] = image.size
    assert {"a wide one.jpg": (320, 160), "portrait.jpg": (160, 320)} == sizes


def test_a_page_of_very_many_images_has_the_first(pages: dict[str, Path]) -> None:
    """And says how many are left out, of good ones and of those that were skipped."""
    good = [Predicted(f"{n}.jpg", (Prediction(n, 0.5),)) for n in range(SHOWN + 3)]
    bad = [Predicted(f"bad{n}.jpg", error=FileRefusedError("cut")) for n in range(105)]
    parsed = Parsed(prediction_page([*good, *bad], {}, [], ABOUT))
    assert f"What HorNet sees in {SHOWN + 108} images" in parsed.text
    assert "105 skipped; 3 more are left out here" in parsed.text
    assert "and 5 more" in parsed.text
    assert parsed.count("section", "picture") == SHOWN


def test_text_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    """Names of files and what errors quote."""
    error = FileRefusedError(EVIL, where=EVIL, expected=EVIL, found=EVIL, hint=EVIL)
    html = error_page(EVIL, error, {EVIL: EVIL})
    assert "<script" not in html
    assert "\x1b" not in html
    small.write(tmp_path / "in.pth", "bare-zip", "w8", num_classes=1000)
    folder = tmp_path / "<script>\x1b"
    folder.mkdir()
    picture(0).save(folder / "<img src=x>.png")
    (folder / "<b>.png").write_bytes(b"x")
    page = tmp_path / "page.html"
    common = ["--ckpt", str(tmp_path / "in.pth"), "-q", "--report", str(page)]
    (folder / "val.txt").write_text("<img src=x>.png 5\n<b>.png 4")
    for command in (["predict", str(folder)], ["eval", str(folder / "val.txt")]):
        assert run([*command, *common]) == 0
        html = page.read_text()
        assert "<img src=x>.png" in Parsed(html).text or command[0] == "eval"
        assert "<b>.png" in Parsed(html).text
        assert "<script" not in html
        assert "\x1b" not in html


def test_names_are_listed_and_nothing_else() -> None:
    """What is wrong with many tensors is a list; a row of numbers or a sentence is none."""
    names = "a.b.{x, y, and 3 more}, c, d, and 9 more"
    listed = ["a.b.{x, y, and 3 more}", "c", "d", "and 9 more"]
    assert [("5 missing", listed), ("2 unknown: e, f", [])] == pieces(
        f"5 missing: {names}; 2 unknown: e, f"
    )
    for text in ("deviation: stages 5e-16, 6e-16, 1e-15, inf", "a, b, c, d", ""):
        assert [(text, [])] == pieces(text)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", ["compare", "eval", "predict", "fetch", "several"])
def test_what_is_not_ours_stays_and_hides_nothing(
    pages: dict[str, Path], tmp_path: Path, capsys: Capture, name: str, as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The outcome is shown, then the trouble with the page: exit 5, or the code of the outcome.

    `eval` looks before its long work, too: here the file comes while it runs.
    """
    folder = pages["good"].parent
    mine = tmp_path / "mine.html"
    evaluating = evaluate.evaluate

    def meanwhile(*given: Any, **named: Any) -> Evaluation:
        mine.write_text("my own page")
        return evaluating(*given, **named)

    monkeypatch.setattr(evaluate, "evaluate", meanwhile)
    if name != "eval":
        mine.write_text("my own page")
    model, missing = str(folder / "in.pth"), str(folder / "missing.pth")
    command, code, text = {
        "compare": (["compare", model, missing], 1, "only in A"),
        "eval": (["eval", str(folder / "val.txt"), "--ckpt", model], 5, "Top-5"),
        "predict": (["predict", str(folder / "images"), "--ckpt", model], 5, "portrait.jpg"),
        "fetch": (["fetch", "tiny", "--offline", "--cache", str(tmp_path / "cache")], 3, "offline"),
        "several": (["verify", model, missing, "--no-forward"], 1, "2 files: 1 pass, 1 fail"),
    }[name]
    capsys.readouterr()
    assert run([*command, "--report", str(mine), *["--json"] * as_json]) == code
    shown = capsys.readouterr()
    told = shown.out if as_json else shown.err  # a document tells of everything itself
    assert "would replace a file that is not a report" in told
    if as_json:
        json.loads(shown.out)
    else:
        assert text in shown.out + shown.err
    assert mine.read_text() == "my own page"


def test_no_page_for_a_mistaken_command_line(pages: dict[str, Path], tmp_path: Path) -> None:
    """It says nothing about a checkpoint."""
    folder, page = pages["good"].parent, tmp_path / "page.html"
    command = ["predict", str(folder / "images"), "--ckpt", str(folder / "in.pth")]
    assert run([*command, "--device", "warp", "--report", str(page)]) == 2
    assert not page.exists()
    mistakes = [[str(tmp_path / "none.pth")], [str(folder / "in.pth"), "--key", "nowhere"]]
    for words in mistakes:
        assert run(["verify", *words, "--no-forward", "--report", str(page)]) == 2
        assert not page.exists()
    assert run(["verify", str(folder / "page.pth"), *mistakes[0], "--report", str(page)]) == 4
    assert page.exists()
