"""The documentation as a site, and what stands beside it in the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

import hornet_convert
from hornet_convert.family import zoo
from tests.documentation.snippets import PAGES, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does it: strictly."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Fetched(HTMLParser):
    """What a browser fetches for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts, pictures, and links that are not to be clicked."""
        given = dict(attrs)
        links = tag == "link" and given.get("rel") != "canonical"
        url = given.get("href") if links else given.get("src")
        self.urls += [url] if url else []


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    """Fonts, scripts and pictures are its own."""
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        parser = Fetched()
        parser.feed(page.read_text())
        assert parser.urls
        assert [url for url in parser.urls if re.match("(https?:)?//", url)] == []


def test_every_name_of_the_package_is_in_its_reference(site: Path) -> None:
    """With a heading that can be linked to."""
    text = (site / "api" / "index.html").read_text()
    anchors = {
        each.rpartition(".")[2] for each in re.findall(r'id="(hornet_convert\.[^"]+)"', text)
    }
    assert {*hornet_convert.__all__} - {"__version__"} <= anchors


def test_every_page_is_in_the_navigation() -> None:
    """None is there that nobody finds."""
    named = re.findall(r"(?m)^ +- (?:[^#].*: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text())
    assert sorted(page.name for page in PAGES[1:]) == sorted(named)


def test_the_nine_are_told_rightly() -> None:
    """README's table has the figures that are computed, and the published accuracies."""
    lines = (ROOT / "README.md").read_text().splitlines()
    told = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| `" in line[:3]]
    assert told == [
        [
            f"`{row.name}`",
            str(row.architecture.resolution),
            zoo.DATASETS[row.dataset],
            f"{row.architecture.parameters(row.published_classes):,}",
            f"{row.architecture.flops():,}",
            *("–" if figure is None else f"{figure:.2f}" for figure in (row.top1, row.top5)),
        ]
        for row in zoo.MODELS
    ]


def test_every_link_of_the_repository_leads_somewhere() -> None:
    """In the files that GitHub shows; those in docs/ are checked as the site is built."""
    for path in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
            if not re.match("https?:", target):
                assert (path.parent / target).exists(), (path.name, target)


def test_the_project_has_one_address() -> None:
    """In pyproject.toml, and the same in the site and in the templates."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    text = (ROOT / "mkdocs.yml").read_text()
    assert f"site_url: {urls['Documentation']}\n" in text
    assert f"repo_url: {urls['Source']}\n" in text
    owner = urls["Source"].rpartition("/")[0]
    for path in [*ROOT.glob("*.md"), *PAGES[1:], *(ROOT / ".github").rglob("*.yml")]:
        found = re.findall(r"https://github\.com/hornet-convert[^\s)#]*", path.read_text())
        assert all(url.startswith(urls["Source"]) for url in found), (path, owner)
