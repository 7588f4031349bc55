"""What README and docs/ tell a reader to type does what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation.player import Player, run_line
from tests.documentation.snippets import (
    PAGES,
    ROOT,
    RUN,
    SHOWN,
    Block,
    agrees,
    blocks,
    commands,
    indented,
    is_like,
)
from tests.documentation.unrun import UNRUN, reason

NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def played(kind: str, folder: Path, pages: list[str]) -> dict[str, list[str]]:
    """What is not as the pages say, by page; found in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.documentation.player", kind, folder, *pages],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.full_size
def test_readme_is_true(tmp_path: Path) -> None:
    """On a file of the published size, with the digests that README shows."""
    assert {"README.md": []} == played("full", tmp_path, ["README.md"])


@pytest.mark.parametrize("half", range(2))
def test_docs_are_true(half: int, tmp_path: Path) -> None:
    """On nine stand-ins that are narrow and otherwise like the published ones."""
    pages = NAMES[1 + half :: 2]
    assert {page: [] for page in pages} == played("small", tmp_path, pages)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_block_is_left_out(page: Path) -> None:
    """Every block says what it is, and every command is seen."""
    assert [] == indented(page)
    assert {block.language for block in blocks(page)} <= {*RUN, *SHOWN}
    for block in blocks(page):
        if block.language == "console":
            assert commands(block), block.place


@pytest.mark.parametrize(
    ("language", "text", "told"),
    [
        ("console", "$ hornet-convert pins forget tinny\n", "exit code 2"),
        ("console", "$ hornet-convert fetch tinny\nError: …\n$ echo $?\n3\n", "code is 2, not 3"),
        ("console", "$ hornet-convert --version\nhornet-convert 0.0.9\n", "and shown is"),
        ("console", "$ hornet-convert --version | grep 9.9\n", "exit code 1"),
        ("console", "$ hornet-convert fetch base --mirror s3://b --fast\n", "No such option"),
        ("console", "$ make tea\n", "make tea"),
        ("console", "$ make test tea\n", "no target tea"),
        ("python", "import hornet_convert\n\nhornet_convert.load\n", "AttributeError"),
        ("python", "1 + 1  # 3\n", "gives 2, not 3"),
        ("python", 'from torch import nub\n\ntorch.hub.load("hornet-convert/x")\n', "ImportError"),
    ],
)
def test_what_is_untrue_is_found(language: str, text: str, told: str) -> None:
    """A wrong exit code, output, option, target, name or value, also of what is not run."""
    (wrong,) = Player().play([Block("page.md", 7, language, text)])
    assert wrong.startswith("page.md:")
    assert told in wrong


def test_what_is_true_is_not_told() -> None:
    """Neither a comment that is no value, nor output by the same words."""
    program = Block("page.md", 1, "python", "1 + 1  # 2\n1 + 1  # two\n")
    text = "$ hornet-convert --version  # which\nhornet-convert,\n  version …\n$ echo $?\n0\n"
    assert [] == list(Player().play([program, Block("page.md", 5, "console", text)]))


def test_every_reason_is_needed() -> None:
    """The table of what is not run has no row that nothing meets."""
    texts = [
        text
        for page in PAGES
        for block in blocks(page)
        if block.language in RUN
        for text in (
            [command.text for command in commands(block)]
            if block.language == "console"
            else [block.text]
        )
    ]
    met = {reason(text) for text in texts}
    assert set(UNRUN.values()) <= met


def test_json_below_a_command_is_compared() -> None:
    """By its members and words, and the exit code in it with the real one."""
    command = Block("page.md", 1, "console", "$ hornet-convert list --json\n")
    _, given, _ = run_line("hornet-convert list --json")
    document = json.loads(given)
    models = next(value for value in document.values() if isinstance(value, list))
    assert [] == list(Player().play([command, Block("page.md", 4, "json", given)]))
    del models[1:]
    models[0]["parameters"] = 5
    assert [] == list(Player().play([command, Block("page.md", 4, "json", json.dumps(document))]))
    del models[0]["parameters"]
    (told,) = Player().play([command, Block("page.md", 4, "json", json.dumps(document))])
    assert told.endswith("page.md:4")


@pytest.mark.parametrize(
    ("shown", "printed", "like"),
    [
        ("pass", "pass", True),
        ("pass", "fail", False),
        ("c9bfeae8.pth", "01234567.pth", True),
        (0.5, 1, True),
        (1, "1", False),
        (None, "x", False),
        ({"a": [1]}, {"a": [2, 3]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
    ],
)
def test_what_a_shown_document_is_like(shown: object, printed: object, like: bool) -> None:
    """Members and words are the same, numbers and digests are of the kind."""
    assert like == is_like(shown, printed)


def test_output_is_compared_by_words() -> None:
    """Lines may be broken elsewhere; … stands for anything; another word is another output."""
    assert agrees("PASS tiny\nwritten …/a.pth", "PASS   tiny\nwritten /x/y/a.pth\n")
    assert not agrees("PASS tiny", "PASS tiny-gf")
    assert not agrees("PASS tiny …", "FAIL tiny\nwritten")
