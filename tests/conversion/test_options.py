"""The options on the command line, alone and together."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import small
from fixtures import zoo as embedded
from hornet_convert.checkpoint.metadata import RECORD, parse_record
from hornet_convert.cli import run
from hornet_convert.errors import MalformedError
from tests.conversion.run import load
from tests.documents import parsed

Capture = pytest.CaptureFixture[str]


def document(capsys: Capture, *arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and the result of a command; the whole document if there is none."""
    code = run([*map(str, arguments), "--json"])
    found = parsed(capsys.readouterr().out)
    assert found["exit_code"] == code
    return code, next(iter(found["results"]), found)


def test_every_option_at_once(tmp_path: Path, capsys: Capture) -> None:
    """What each asks for is in the file, its name and the JSON."""
    path = small.write(tmp_path / "in.pth", "training-zip", "w8-gf64", num_classes=10459)
    code, result = document(
        capsys,
        *("convert", "--ckpt", path, "--out", tmp_path, "--no-forward", "--ema"),
        *("--layout", "openmmlab", "--head", "1000", "--resolution", "96"),
        *("--dtype", "float16", "--format", "pth"),
    )
    assert code == 0
    assert (result["status"], result["ema"]) == ("pass", "taken")
    told = result["conversion"]
    assert ["64to96px", "in1k-head", "float16"] == told.pop("edits")
    assert 64 == len(told.pop("fingerprint"))
    assert {
        "format": "pth",
        "layout": "openmmlab",
        "model": "w8-gf96",
        "num_classes": 1000,
        "starts_fresh": [],
        "drift": None,
    } == told
    # What stands beside it is the source's.
    assert (result["model"], result["num_classes"]) == ("w8-gf64", 10459)
    state = load(Path(result["output"]), "openmmlab")
    assert state["head.fc.weight"].shape == (1000, 64)
    assert state["head.fc.bias"].dtype == torch.float16


def test_nothing_asked_for_is_told_too(tmp_path: Path, capsys: Capture) -> None:
    """A plain conversion has no edits; a verification has converted nothing."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    _, result = document(capsys, "convert", "--ckpt", path, "--out", tmp_path, "--no-forward")
    assert [] == result["conversion"]["edits"]
    assert result["fingerprint"] == result["conversion"]["fingerprint"]
    _, result = document(capsys, "verify", "--ckpt", path, "--no-forward")
    assert result["conversion"] is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--head", "some"], "'some'"),
        (["--head", "-1"], "'-1'"),
        (["--head", "0"], "'0'"),
        (["--head", "in1k"], "a classifier of 10 classes"),
        (["--head", "in1k", "--layout", "backbone"], "--layout backbone"),
        (["--head", "2k"], "'2k'"),
        (["--head", "10", "--layout", "backbone"], "--head 10 conflicts with --layout backbone"),
        (["--resolution", "384"], "w8 has no filters"),
        (["--resolution", "0"], "--resolution"),
        (["--dtype", "int8"], "--dtype"),
        (["--format", "gguf"], "--format"),
        (["--layout", "timm"], "--layout"),
        (["--ema"], "EMA"),
    ],
)
def test_what_cannot_be_is_a_usage_error(
    tmp_path: Path, capsys: Capture, options: list[str], text: str
) -> None:
    """Exit code 2, the part named, nothing written."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    out = tmp_path / "out"
    code, result = document(
        capsys, "convert", "--ckpt", path, "--out", out, "--no-forward", *options
    )
    assert code == 2
    assert text in result["error"]["message"]
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["large", "--resolution", "384"], "large has no filters"),
        (["large-gf", "base", "--resolution", "384"], "base has no filters"),
        (["large-gf", "--head", "in1k", "--layout", "backbone"], "--layout backbone"),
    ],
)
def test_fetch_says_so_before_it_downloads(
    tmp_path: Path, capsys: Capture, options: list[str], text: str
) -> None:
    """A mirror that is not there is not even asked."""
    nowhere = ["--mirror", str(tmp_path / "nowhere"), "--source", "mirror"]
    cache = tmp_path / "cache"
    code, result = document(capsys, "fetch", *options, *nowhere, "--cache", cache)
    assert 2 == code
    assert text in result["error"]["message"]
    assert not cache.exists()


@pytest.mark.full_size
def test_a_published_model_in_other_forms(tmp_path: Path, capsys: Capture) -> None:
    """Fetched as it is it has the published name, edited not; round about it is the same."""
    path = embedded.build(tmp_path / "mirror", "tiny-gf", "openmmlab")
    fetch = ("fetch", "tiny-gf", "--mirror", path.parent, "--cache", tmp_path, "--no-forward")
    _, whole = document(capsys, *fetch, "--out", tmp_path / "a")
    _, pth = document(
        capsys, *fetch, "--out", tmp_path / "b", "--layout", "official", "--format", "pth"
    )
    _, edited = document(
        capsys, *fetch, "--out", tmp_path / "c", "--resolution", "384", "--dtype", "bfloat16"
    )
    stem = "hornet-tiny-gf_3rdparty_in1k_20220915-"
    names = [Path(result["output"]).name for result in (whole, pth, edited)]
    assert [True, True, False] == [name.startswith(stem) for name in names]
    assert names[2].startswith("hornet-tiny-gf_1000c-224to384px-bfloat16-")
    back = document(
        capsys, "convert", "--ckpt", pth["output"], "--out", tmp_path / "d", "--no-forward"
    )[1]
    assert Path(whole["output"]).read_bytes() == Path(back["output"]).read_bytes()


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"a": 1}', b'{"a": "\xff"}', b"[" * 100_000, b"{"])
def test_a_broken_record_is_refused(raw: bytes) -> None:
    """The texts beside a pickle are texts, or the file is malformed."""
    with pytest.raises(MalformedError, match="record") as caught:
        parse_record(raw)
    assert RECORD in (caught.value.where or "")
