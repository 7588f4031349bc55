"""Several models one after the other: none stops the others, and each keeps its own name."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fixtures import small
from hornet_convert.api import fetch as fetching
from hornet_convert.api.fetch import Download, fetch
from hornet_convert.api.validate import validate
from hornet_convert.cli.output import junit, reports_to_json
from hornet_convert.cli.pages import write_pages
from hornet_convert.conversion.request import Request
from hornet_convert.download.cache import Cache
from hornet_convert.family import zoo
from hornet_convert.report.document import worst_exit_code
from hornet_convert.report.report import Report

NAMES = ("w8", "w8-gf", "w16-gf")


def published(
    mirror: Path, holds: dict[str, str], form: small.Form = "official-zip"
) -> list[zoo.Published]:
    """Rows by name whose files on a mirror hold these models."""
    return [
        small.published(mirror, form, name, holds=model, label=name)
        for name, model in holds.items()
    ]


@pytest.fixture
def settings(tmp_path: Path) -> Download:
    """A cache of its own, and a mirror alone."""
    mirror = str(tmp_path / "mirror")
    return Download(Cache.at(tmp_path / "cache"), (mirror,), "mirror", forward=False)


@pytest.mark.parametrize("where", ["obtain", "convert"])
@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (MemoryError(), "out-of-memory", "not enough memory"),
        (RuntimeError("a bug"), "internal", "an error in hornet-convert itself"),
        (AssertionError(), "internal", "an error in hornet-convert itself"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_models_failure_is_its_own(
    tmp_path: Path,
    settings: Download,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    failure: Exception,
    code: str,
    text: str,
) -> None:
    """Out of memory or a mistake of ours: its report says so, exit code 6; the others go on."""
    rows = published(tmp_path / "mirror", {name: name for name in NAMES})
    right = getattr(fetching, where)

    def failing(what: Any, *arguments: Any, **options: Any) -> Any:
        if "w8-gf_" in str(getattr(what, "stem", what)):
            raise failure
        return right(what, *arguments, **options)

    monkeypatch.setattr(fetching, where, failing)
    reports = {report.name: report for report in fetch(rows, settings, Request(tmp_path / "out"))}
    assert reports.keys() == set(NAMES)
    assert reports["w8"]
    assert reports["w16-gf"]
    error = reports["w8-gf"].error
    assert error is not None
    assert (error.code, error.exit_code) == (code, 6)
    assert text in error.what
    assert reports["w8-gf"].status == "error"
    assert worst_exit_code(report.exit_code for report in reports.values()) == 6


def test_a_row_is_named_after_the_model_that_was_asked_for(
    tmp_path: Path, settings: Download
) -> None:
    """Also where another model's file came: in the JSON, the JUnit file and the pages."""
    rows = published(tmp_path / "mirror", {"w8": "w8", "w8-gf": "w8"})
    reports = list[Report]()
    seconds = list[float]()
    for report, took in validate(rows, settings):
        reports.append(report)
        seconds.append(took)
    assert sorted(str(report.name) for report in reports) == ["w8", "w8-gf"]
    results = reports_to_json(reports)
    assert {(r["asked"], r["model"], r["status"]) for r in results} == {
        ("w8", "w8", "pass"),
        ("w8-gf", "w8", "fail"),
    }
    cases = ElementTree.fromstring(junit(reports, seconds)).iter("testcase")
    assert sorted(str(case.get("name")) for case in cases) == ["w8", "w8-gf"]
    write_pages(reports, seconds, tmp_path / "pages")
    pages = {path.name for path in (tmp_path / "pages").iterdir()}
    assert pages == {"index.html", "w8.html", "w8-gf.html"}


def test_nothing_is_kept_of_what_validate_converted(tmp_path: Path, settings: Download) -> None:
    """No result, no record, no temporary folder; and no report names one."""
    [row] = published(tmp_path / "mirror", {"w8": "w8"})
    [(report, _)] = validate([row], settings)
    assert report
    assert report.output is None
    assert json.dumps(report.to_json())
    assert not [path for path in settings.cache.folder.rglob("*") if "validate" in str(path)]


@pytest.mark.parametrize("order", [(False, True, False), (True, False, True)])
def test_averaged_weights_and_plain_ones_are_fetched_in_any_order(
    tmp_path: Path, settings: Download, order: tuple[bool, ...]
) -> None:
    """They are one file with two fingerprints: neither is asked of the other."""
    rows = published(tmp_path / "mirror", {"w8": "w8"}, "training-zip")
    words = []
    for ema in order:
        [report] = fetch(rows, settings, Request(tmp_path / "out", ema=ema))
        assert report, report.first_failure
        words.append("" if report.verdict is None else report.verdict.word)
    assert words == ["consistent", "seen before", "seen before"]
