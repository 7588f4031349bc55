"""What was written is read again and has to be what was asked for, whatever made it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import convert
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.checkpoint.tensors import BY_TORCH_NAME
from hornet_convert.checks import model_file
from hornet_convert.conversion import plan as planning
from hornet_convert.conversion import write as writing
from hornet_convert.conversion import write_pth
from hornet_convert.conversion.request import TARGETS, Edits, Request, Target
from hornet_convert.family import labels, layouts
from hornet_convert.family.file_names import FORMATS, Format
from hornet_convert.model import forward
from hornet_convert.report.check import Check
from tests.conversion.run import row

Wrong = Callable[..., Any]
"""Given what a function really returns, then its arguments: what it returns instead."""


def read_back(path: Path, *asked: Any, torch_too: bool = False, **more: Any) -> Check:
    """The row of a conversion; what fails it has left no file."""
    out = path.parent / "out"
    report = convert(path, Request(out, *asked, **more), forward=torch_too)
    check = row(report, "readback")
    assert (check.status == "pass") == (report.output is not None)
    assert check.status == "pass" or list(out.iterdir()) == []
    return check


@pytest.fixture
def mistake(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, str, Wrong], None]:
    """Lets a function of the making side return something else."""

    def patch(module: object, name: str, wrong: Wrong) -> None:
        right = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **kw: wrong(right(*args, **kw), *args))

    return patch


@pytest.mark.parametrize("container", FORMATS)
@pytest.mark.parametrize(
    ("layout", "edits", "text"),
    [
        ("openmmlab", Edits(), "640 tensors reopened and equal, bit for bit"),
        ("backbone", Edits(dtype="float16"), "20 tensors reopened and equal to the source"),
        ("reference", Edits(dtype="float16"), "; 620 hold the numbers that the edit of the source"),
    ],
)
def test_what_was_read_and_by_whom(
    tmp_path: Path, layout: Target, edits: Edits, text: str, container: Format
) -> None:
    """Copied tensors and edited ones are told apart, and who read them."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8-gf")
    detail = read_back(path, layout, container, edits).detail
    assert text in detail
    ending = {"safetensors": ", read by the safetensors library"}
    assert detail.endswith(ending.get(container, "; torch.load was not tried"))


@pytest.mark.parametrize(
    "target", [*TARGETS, pytest.param("openmmlab", marks=pytest.mark.apart, id="apart")]
)
def test_torch_loads_a_pth_where_the_forward_check_is_made(tmp_path: Path, target: Target) -> None:
    """Once in a process of its own; it has to find the same."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    check = read_back(path, target, "pth", torch_too=True)
    assert check.status == "pass"
    assert check.detail.endswith("bit for bit, read by torch.load")


SWAPS = (
    ("gamma1", "gamma2"),
    ("norm1", "norm2"),
    ("stages.2.blocks.3.", "stages.2.blocks.4."),
    ("gnconv.dwconv.pre_norm", "gnconv.dwconv.post_norm"),
)


@pytest.mark.parametrize(
    ("target", "container"), tuple(zip(TARGETS, FORMATS * 2, strict=True)), ids=TARGETS
)
@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap[0].strip("."))
def test_tensors_under_each_others_names(
    tmp_path: Path, mistake: Any, swap: tuple[str, str], target: Target, container: Format
) -> None:
    """The table of names takes two for each other: every tensor is there, under a wrong name."""
    right = layouts.translate

    def wrong(_: str, name: str, *layouts: Any) -> str | None:
        first, other = swap if swap[0] in name else swap[::-1]
        return right(name.replace(first, other), *layouts)

    path = small.write(tmp_path / "in.pth", "official-zip", "w8-gf")
    mistake(planning, "translate", wrong)
    check = read_back(path, target, container)
    assert check.status == "fail"
    assert " has other bytes than " in check.detail


def renamed(made: str, name: str, *layouts: str) -> str:
    """A name that no layout has, one of another layout, or none at all."""
    return {"stages.0.blocks.1.gamma1": "stages.0.1.gamma3", "stem.0.bias": name}.get(name, made)


def exchanged(file: Any) -> Any:
    """The places of two tensors of one size."""
    places = file.offsets
    first, two = "stages.1.0.norm1.weight", "stages.1.0.norm1.bias"
    places[first], places[two] = places[two], places[first]
    return file


def in_another_wrapper(pickled: bytes, tensors: Any, *_: Any) -> bytes:
    """The same weights under another key."""
    return pickled.replace(b"X\x05\x00\x00\x00model", b"X\x05\x00\x00\x00modal")


def half_precision(dtype: Any, name: str, source: Any, *_: Any) -> Any:
    """The last stage stays as it was."""
    return source.dtype if name.startswith("stages.3.blocks") else dtype


def filters_rounded(dtype: Any, name: str, source: Any, *_: Any) -> Any:
    """As if they were weights like all others."""
    return BY_TORCH_NAME["float16"]


def cut_off(result: Any, data: memoryview, *_: Any) -> Any:
    """Rounded towards zero: the upper halves of float32 numbers."""
    return np.frombuffer(data, "<u2")[1::2].copy().view("u1")


def permuted(rows: tuple[int, ...] | None, *_: Any) -> tuple[int, ...] | None:
    """Two of them are taken for each other."""
    return rows and (rows[1], rows[0], *rows[2:])


def corners_apart(result: Any, weight: Any, size: tuple[int, int]) -> Any:
    """Interpolated as images are, not as the authors do it."""
    planes = torch.tensor(weight).double().permute(3, 0, 1, 2)
    made = torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=False)
    return made.permute(1, 2, 3, 0).numpy()


@pytest.mark.parametrize(
    ("where", "name", "wrong", "asked", "text"),
    [
        (
            planning,
            "translate",
            renamed,
            {},
            "differ: downsample_layers.0.0.bias, stages.0.1.gamma1, stages.0.1.gamma3, stem.0.bias",
        ),
        (
            writing,
            "SafetensorsFile",
            lambda f, *_: exchanged(f),
            {},
            "norm1.weight has other bytes",
        ),
        (writing, "PthFile", lambda f, *_: exchanged(f), {"format": "pth"}, "has other bytes than"),
        (
            write_pth,
            "pickled",
            in_another_wrapper,
            {"format": "pth"},
            "at the top stand modal, not model",
        ),
        (
            planning,
            "_dtype",
            half_precision,
            {"edits": Edits(dtype="float16")},
            "stages.3.0.gamma1",
        ),
        (
            planning,
            "_dtype",
            filters_rounded,
            {"edits": Edits(dtype="float16")},
            "differ: stages.2.0.gnconv.dwconv.complex_weight",
        ),
        (writing, "cast", cut_off, {"edits": Edits(dtype="bfloat16")}, "does not hold what the"),
        (Edits, "rows", lambda r, *_: permuted(r), {"edits": Edits(head="in1k")}, "head.weight"),
        (
            writing,
            "resize_filter",
            corners_apart,
            {"edits": Edits(resolution=96)},
            "complex_weight does not hold",
        ),
        (writing, "fingerprint", lambda f, *_: f[::-1], {}, "it records the fingerprint"),
        (writing, "namespaced", lambda f, *_: f | {"hornet_convert.layout": "x"}, {}, "layout 'x'"),
    ],
    ids=lambda value: getattr(value, "__name__", None) if callable(value) else None,
)
def test_a_mistake_of_the_making_side(
    tmp_path: Path,
    mistake: Any,
    where: object,
    name: str,
    wrong: Wrong,
    asked: dict[str, Any],
    text: str,
) -> None:
    """Wrong names, places, wrappers, types, numbers, rows, filters, metadata: none gets through."""
    model, classes = ("w8-gf64", labels.IN21K_CLASSES if name == "rows" else 10)
    path = small.write(tmp_path / "in.pth", "official-zip", model, num_classes=classes)
    mistake(where, name, wrong)
    check = read_back(path, layout="official", **asked)
    assert check.status == "fail"
    assert text in check.detail


@pytest.mark.parametrize(
    ("taken", "asked", "text"),
    [
        ({"ema": True}, {}, "averaged weights were taken, and those that are meant lie elsewhere"),
        ({"ema": False}, {"ema": True}, "plain weights were taken, and those that are meant lie"),
        ({"key": "model_ema"}, {"key": "model"}, "--key model was asked for"),
    ],
    ids=["averaged", "plain", "key"],
)
def test_other_weights_of_the_file_than_those_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: Any, asked: Any, text: str
) -> None:
    """Averaged for plain ones, plain for averaged ones, those under another key."""
    path = small.write(tmp_path / "in.pth", "training-zip", "w8")
    right = select_state_dict
    monkeypatch.setattr(model_file, "select_state_dict", lambda root, **_: right(root, **taken))
    check = read_back(path, **asked)
    assert check.status == "fail"
    assert text in check.detail


@pytest.mark.parametrize("ema", [False, True], ids=["plain", "averaged"])
@pytest.mark.parametrize("inline", [False, True], ids=["beside", "inline"])
def test_averaged_and_plain_tensors_that_got_mixed(
    tmp_path: Path, mistake: Any, inline: bool, ema: bool
) -> None:
    """One tensor of the others among those that were asked for, also under mmcv's names."""
    plain = small.tensors("w8")
    spelled = {k: f"ema_{k.replace('.', '_')}" if inline else k for k in plain}
    averages = {name: plain[key] * 1.5 for key, name in spelled.items()}
    tree = {"model": plain | averages} if inline else {"model": plain, "model_ema": averages}
    torch.save(tree, tmp_path / "in.pth")
    assert read_back(tmp_path / "in.pth", ema=ema, force=True).status == "pass"
    shutil.rmtree(tmp_path / "out")
    key = "stages.2.5.norm1.weight"

    def mixed(state: Any, root: Any, *_: Any) -> Any:
        others = root.get("model" if ema or inline else "model_ema")
        other = others.get(key if ema else spelled[key])
        return replace(state, tensors={**state.tensors, key: other})

    mistake(model_file, "select_state_dict", mixed)
    check = read_back(tmp_path / "in.pth", ema=ema)
    assert check.status == "fail"
    assert f"the tensor taken for {key} is not the one" in check.detail


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_one_tensor_under_two_names(tmp_path: Path, zipped: bool) -> None:
    """A tensor that two layers share stands in the file once, and is not taken for the other."""
    weights = small.tensors("w8")
    weights["stages.1.0.gamma2"] = weights["stages.1.0.gamma1"]
    path = tmp_path / "in.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    assert read_back(path).status == "pass"


@pytest.mark.parametrize(
    ("loaded", "text"),
    [
        (lambda loaded: "UnpicklingError: no", "refuses the file: UnpicklingError: no"),
        (lambda loaded: loaded | {"top": []}, "at the top stand only tensors, not model"),
        (
            lambda loaded: loaded | {"tensors": loaded["tensors"] | {"norm.bias": []}},
            "torch.load reads other tensors: norm.bias",
        ),
    ],
    ids=["refused", "unwrapped", "otherwise"],
)
def test_a_pth_that_torch_takes_for_something_else(
    tmp_path: Path, mistake: Any, loaded: Callable[[Any], Any], text: str
) -> None:
    """What our own reader makes of it does not count then."""
    path = small.write(tmp_path / "in.pth", "official-zip", "w8")
    mistake(forward, "loaded_apart", lambda right, *_: loaded(right))
    check = read_back(path, "official", "pth", torch_too=True)
    assert check.status == "fail"
    assert text in check.detail
