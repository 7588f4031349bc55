"""What the shell offers after Tab, asked of click as its scripts ask it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete, get_completion_class

from hornet_convert.cli import cli
from hornet_convert.family import zoo

NINE = [model.name for model in zoo.MODELS]


def offered(words: str) -> list[tuple[str, str]]:
    """What is offered for the last of the words, which is empty after a space: (type, value)."""
    *before, incomplete = words.split(" ")
    complete = ShellComplete(cli, {}, "hornet-convert", "_HORNET_CONVERT_COMPLETE")
    return [(item.type, item.value) for item in complete.get_completions(before, incomplete)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("fetch ", [*NINE, "all"]),
        ("fetch large-", ["large-gf", "large-gf384"]),
        ("fetch TINY", ["tiny", "tiny-gf"]),
        ("fetch tiny tiny", ["tiny-gf"]),
        ("fetch base a", []),
        ("validate a", ["all"]),
        ("verify x.pth --model sm", ["small", "small-gf"]),
        ("predict photo.jpg --model ba", ["base", "base-gf"]),
        ("eval val --model ", NINE),
        ("cache clear tiny-gf tiny", ["tiny"]),
        ("pins forget base-", ["base-gf"]),
        ("publish la", ["large", "large-gf", "large-gf384"]),
        ("convert x.pth --layout off", ["official"]),
        ("schema ver", ["verify"]),
        ("schema p", ["publish", "predict", "pins"]),
        ("schema cache ", ["path", "list", "verify", "clear", "prune"]),
        ("schema pins f", ["forget", "file"]),
        ("schema verify ", []),
        ("conv", ["convert"]),
    ],
)
def test_names_are_offered(words: str, names: list[str]) -> None:
    """Models where a model is meant, and what click knows by itself."""
    assert [("plain", name) for name in names] == offered(words)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("verify hor", "file"),
        ("convert --ckpt hor", "file"),
        ("verify x.pth --against or", "file"),
        ("verify x.pth --report or", "file"),
        ("inspect hor", "file"),
        ("compare a hor", "file"),
        ("predict hor", "file"),
        ("publish hor", "file"),
        ("pins merge hor", "file"),
        ("fetch tiny --out wei", "dir"),
        ("fetch tiny --mirror mi", "dir"),
        ("fetch tiny --cache ca", "dir"),
        ("validate --report pa", "dir"),
    ],
)
def test_paths_are_left_to_the_shell(words: str, kind: str) -> None:
    """It knows which there are."""
    assert [(kind, words.rpartition(" ")[2])] == offered(words)


@pytest.mark.parametrize("value", ["= la", "="])
def test_bash_splits_at_the_equals_sign(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """`--model=la`, of which it makes three words."""
    words = f"hornet-convert verify x.pth --model {value}"
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    bash = get_completion_class("bash")
    assert bash is not None
    found = bash(cli, {}, "hornet-convert", "_HORNET_CONVERT_COMPLETE").complete().split()
    given = value.removeprefix("=").strip()
    assert [f"plain,{name}" for name in NINE if name.startswith(given)] == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_program_answers_every_shell(shell: str) -> None:
    """With the script that README has the shell evaluate, and then with what the script asks for.

    Nothing heavy is imported for it: Tab should feel like Tab.
    """
    words, last = "hornet-convert fetch large-gf", "large-gf"
    asked = {"COMP_WORDS": words, "COMP_CWORD": last if shell == "fish" else "2"}
    answers = []
    for instruction in (f"{shell}_source", f"{shell}_complete"):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "hornet_convert"],
            cwd=Path(__file__).parents[1],
            env={**os.environ, **asked, "_HORNET_CONVERT_COMPLETE": instruction},
            capture_output=True,
            text=True,
            check=False,
        )
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert imported.isdisjoint({"torch", "numpy", "rich", "requests"})
        assert 0 == done.returncode
        answers.append(done.stdout)
    assert "_HORNET_CONVERT_COMPLETE" in answers[0]
    assert "hornet-convert" in answers[0]
    assert ["large-gf", "large-gf384"] == [
        line.split()[0].removeprefix("plain,")
        for line in answers[1].splitlines()
        if "large" in line
    ]
