"""Errors name options on the command line, and arguments in Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import hornet_convert
from fixtures import small
from hornet_convert import HorNet, create_model, load_model, load_state_dict, transform
from hornet_convert.cli import run
from hornet_convert.errors import HornetConvertError, UsageError
from hornet_convert.text import python_arguments

PACKAGE = Path(hornet_convert.__file__).parent


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ("--key and --ema were both given", "`key` and `ema=True` were both given"),
        ("Name it with --mirror URL_OR_DIR.", "Name it with `mirror=URL_OR_DIR`."),
        ("Leave out --offline.", "Leave out `offline=True`."),
        ("(--sha256, --no-forward)", "(`sha256`, `forward=False`)"),
        ("--head none conflicts with --layout", '`head="none"` conflicts with `layout`'),
        ("--resolution 225 is no side", "`resolution=225` is no side"),
        ("--image-size", "`image_size`"),
        ("`hornet-convert x --json` shows it", "`hornet-convert x --json` shows it"),
        ("where: /a--b/--c.pth, ./--d, a -- b", "where: /a--b/--c.pth, ./--d, a -- b"),
    ],
)
def test_an_option_as_an_argument(option: str, argument: str) -> None:
    """Flags with their value; whole commands and paths as they are."""
    assert argument == python_arguments(option)


def test_no_option_is_left_in_what_python_says() -> None:
    """Every text of the package outside the command line, as `str` of an error has it."""
    texts = {
        node.value
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    options = [text for text in texts if re.search(r"(^|[\s(])--[a-z]", text) and "\n" not in text]
    assert len(options) > 30
    for text in options:
        shown = re.sub(r"`[^`]*`", "", python_arguments(text))
        assert not re.search(r"(^|\s)--[a-z]", shown), text


def test_the_same_error_on_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line names what is typed there."""
    path = small.write(tmp_path / "x.pth", "training-zip", "w8")
    with pytest.raises(UsageError) as raised:
        load_model(path, key="model", ema=True)
    assert "`key` and `ema=True` were both given. Leave out one of them." == str(raised.value)
    run(["verify", "--ckpt", str(path), "--key", "model", "--ema"])
    assert ": --key and --ema were both given" in capsys.readouterr().err


def test_what_python_users_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that these functions say has an option of the command line in it."""
    monkeypatch.setenv("HORNET_CONVERT_CACHE", str(tmp_path / "cache"))
    plain = small.write(tmp_path / "x.pth", "official-zip", "w8")
    (tmp_path / "file").write_text("")
    met = []
    for function, arguments, options in (
        (load_model, (plain,), {"ema": True}),
        (load_model, (plain,), {"key": "nowhere"}),
        (load_model, (plain,), {"prefix": "nobody"}),
        (load_model, (tmp_path / "nothing",), {}),
        (load_model, (tmp_path,), {}),
        (load_model, (tmp_path / "file",), {}),
        (load_state_dict, (plain, "timm"), {}),
        (create_model, ("resnet",), {}),
        (create_model, ("w8",), {"pretrained": True}),
        (create_model, ("tiny",), {"pretrained": True, "offline": True}),
        (create_model, ("tiny",), {"pretrained": True, "source": "mirror"}),
        (create_model, ("tiny",), {"pretrained": True, "mirror": tmp_path / "no"}),
        (create_model, ("tiny",), {"pretrained": True, "mirror": "ftp://"}),
        (create_model, ("tiny",), {"pretrained": True, "mirror": tmp_path, "source": "mirror"}),
        (create_model, ("tiny",), {"pretrained": True, "cache": tmp_path / "file"}),
        (create_model, ("tiny",), {"pretrained": True, "cache": "~nobody-of-that-name/x"}),
        (create_model, ("tiny",), {"pretrained": True, "source": "zenodo"}),
        (transform, ("resnet",), {}),
        (HorNet.from_pretrained, ("tiny",), {}),
        (HorNet("w8").save_pretrained, (tmp_path / "file",), {}),
    ):
        with pytest.raises(HornetConvertError) as raised:
            function(*arguments, **options)
        met.append(str(raised.value))
    assert not [text for text in met if re.search(r"(^|\s)--[a-z]", text)]
    for number, name in {
        0: "`ema=True`",
        9: "`offline=True`",
        10: "`mirror=URL_OR_DIR`",
        11: "`mirror`",
        13: "`mirror=URL_OR_DIR`",
        14: "`cache`",
        15: "`cache`",
        19: "`folder`",
    }.items():
        assert name in met[number], met[number]
