"""Where the weights are found, under which names, and what is said about the rest."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from hornet_convert.checkpoint.inert import Call, Dict, Global, RefusedTensor
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import StateDict, select_state_dict
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor
from hornet_convert.errors import (
    FileRefusedError,
    MalformedError,
    UnsupportedError,
    UsageError,
)

A, B, C = (Tensor(DTYPES["F32"], (n,), (1,), 0, Storage(0, 4 * n)) for n in (1, 2, 3))


def tree(value: Any) -> object:
    """The inert tree of nested Python dicts."""
    if isinstance(value, dict):
        return Dict([part for key, item in value.items() for part in (key, tree(item))])
    return value


def select(value: Any, ema: bool = False) -> StateDict:
    """The state dict in nested Python dicts."""
    return select_state_dict(tree(value), ema)


WEIGHTS = {"stem.weight": A, "stem.bias": B}


@pytest.mark.parametrize(
    ("saved", "wrapper", "prefix"),
    [
        (WEIGHTS, (), ""),
        ({"model": WEIGHTS}, ("model",), ""),
        ({"state_dict": WEIGHTS, "meta": {"x": 1}}, ("state_dict",), ""),
        ({"state_dict": {"model": WEIGHTS}}, ("state_dict", "model"), ""),
        ({"model_state_dict": WEIGHTS, "epoch": 1}, ("model_state_dict",), ""),
        ({"model": {f"module.{k}": v for k, v in WEIGHTS.items()}}, ("model",), "module."),
        ({f"module.{k}": v for k, v in WEIGHTS.items()} | {"n_averaged": C}, (), "module."),
        ({"model": WEIGHTS, "best": C}, ("model",), ""),
        ({"model": None, "state_dict": WEIGHTS}, ("state_dict",), ""),
        ({"model": {}, "state_dict": WEIGHTS}, ("state_dict",), ""),
    ],
)
def test_wrappers_and_prefixes(saved: Any, wrapper: tuple[str, ...], prefix: str) -> None:
    """Weights are found under each wrapper, and DataParallel's prefix is taken off."""
    found = select(saved)
    assert (WEIGHTS, wrapper, prefix) == (found.tensors, found.wrapper, found.prefix)
    assert (False, None) == (found.is_ema, found.ema_wrapper)
    assert list(WEIGHTS) == list(found.tensors)


AVERAGE = {"stem.weight": C, "stem.bias": C}


@pytest.mark.parametrize(
    ("saved", "where"),
    [
        ({"model": WEIGHTS, "model_ema": AVERAGE}, ("model_ema",)),
        ({"model": WEIGHTS, "ema": AVERAGE}, ("ema",)),
        ({"state_dict": WEIGHTS, "state_dict_ema": AVERAGE}, ("state_dict_ema",)),
        ({"state_dict": WEIGHTS, "ema_state_dict": AVERAGE}, ("ema_state_dict",)),
        (
            {
                "state_dict": WEIGHTS,
                "ema_state_dict": {f"module.{k}": v for k, v in AVERAGE.items()} | {"steps": A},
            },
            ("ema_state_dict",),
        ),
        ({"model": WEIGHTS, "ema": {"state_dict": AVERAGE, "decay": 0.9}}, ("ema", "state_dict")),
        ({"state_dict": {"model": WEIGHTS, "model_ema": AVERAGE}}, ("state_dict", "model_ema")),
        (
            {"state_dict": WEIGHTS | {"ema_stem_weight": C, "ema_stem_bias": C}},
            ("state_dict", "ema_*"),
        ),
        (WEIGHTS | {"ema_stem.weight": C, "ema_stem.bias": C}, ("ema_*",)),
        (
            {f"module.{k}": v for k, v in WEIGHTS.items()}
            | {"ema_stem_weight": C, "ema_module_stem_bias": C},
            ("ema_*",),
        ),
    ],
)
def test_averaged_weights(saved: Any, where: tuple[str, ...]) -> None:
    """Averaged weights are always mentioned, and taken only when asked for."""
    plain, averaged = select(saved), select(saved, ema=True)
    assert (WEIGHTS, where, False) == (plain.tensors, plain.ema_wrapper, plain.is_ema)
    assert (AVERAGE, where, True) == (averaged.tensors, averaged.ema_wrapper, averaged.is_ema)
    assert any("ema" in line and "tensors in it" in line for line in plain.dropped)
    assert any("2 tensors in it" in line for line in averaged.dropped)


def test_only_averaged_weights() -> None:
    """A file with nothing else gives its averaged weights, and says so."""
    for saved in ({"model_ema": AVERAGE, "best": A}, {"ema": {"model": AVERAGE}}):
        found = select(saved)
        assert (AVERAGE, True) == (found.tensors, found.is_ema)
        assert found.wrapper == found.ema_wrapper


def test_no_averaged_weights() -> None:
    """Asking for what is not there is a mistake in the request."""
    for saved in ({"model": WEIGHTS}, WEIGHTS, {"model": WEIGHTS, "model_ema": None}):
        with pytest.raises(UsageError, match="no averaged") as error:
            select(saved, ema=True)
        assert error.value.hint


def test_names_that_all_begin_like_averaged_ones() -> None:
    """A network whose every name begins with ema_ is taken as it is."""
    saved = {"ema_a": A, "ema_b": B}
    assert saved == select(saved).tensors


MODULE = Call(Global("torch.nn.modules.container", "Sequential"), (), "built")
MODULE.states = [Dict(["_modules", Dict(), "_parameters", Dict()])]
DEEP: object = ()  # to hash this would overflow the stack
for _ in range(200_000):
    DEEP = (DEEP,)


@pytest.mark.parametrize(
    ("root", "error", "words"),
    [
        (A, MalformedError, "a single tensor"),
        (None, MalformedError, "no state dict"),
        ([A, B], MalformedError, "no state dict"),
        ({}, MalformedError, "no weights"),
        ({"epoch": 3}, MalformedError, "epoch: int 3"),
        ({"optimizer": {"state": {0: {"step": A}}}}, MalformedError, "only an optimizer's state"),
        ({"state": {0: {"exp_avg": A}}, "param_groups": []}, MalformedError, "optimizer"),
        ({0: A, 1: B}, MalformedError, "int 0, int 1"),
        ({"model": {0: A, b"x": B}}, MalformedError, "the dict at model"),
        (Dict([DEEP, A]), MalformedError, "no names"),
        ({"a": A, "b": 3, "c": None}, MalformedError, "b (int 3), c (None)"),
        ({"a": A, "b": [A]}, MalformedError, "b (list of 1)"),
        ({"a": A, "x\ud800": B}, MalformedError, "x\\ud800"),
        ({"a": RefusedTensor("sparse"), "b": A}, UnsupportedError, "a (a sparse tensor)"),
        ({"model": {"module.a": A, "a": B}}, MalformedError, "doubled keys"),
        (Dict(["a", A, "b", B, "a", C]), MalformedError, "doubled keys"),
        (MODULE, UnsupportedError, "Sequential"),
        ({"model": MODULE}, UnsupportedError, "where: model"),
        ({"state_dict": {"model": MODULE, "w": A}}, UnsupportedError, "state_dict / model"),
    ],
)
def test_what_is_no_state_dict(root: Any, error: type[FileRefusedError], words: str) -> None:
    """Each has its own sentence, with the offenders and what to do next."""
    with pytest.raises(FileRefusedError) as caught:
        select(root)
    assert error is type(caught.value)
    assert words in caught.value.message
    assert caught.value.hint


def test_all_offenders_are_counted() -> None:
    """Many wrong values are one message, the first named and the rest counted."""
    with pytest.raises(MalformedError, match="and 95 more"):
        select({"a": A} | {f"x{i}": i for i in range(100)})


def test_what_stands_beside_is_described_once() -> None:
    """One line each: path, kind, tensors in it, foreign types; shared parts are met once."""
    shared = tree({"a": A, "b": {"c": B}})
    scalar = Call(Global("numpy", "scalar"), (b"x",), "called")
    args = Call(Global("argparse", "Namespace"), (), "built")
    args.states = [Dict(["lr", 0.1, "scalar", scalar])]
    looped = Dict(["me", None])
    looped.flat[1] = looped
    saved = {
        "model": WEIGHTS,
        "one": [shared, shared, shared],
        "two": shared,
        "args": args,
        "loop": looped,
        "deep": DEEP,
        "odd\x1b[31m": Global("a\nb", "c"),
        ("x", 1): 5,
    }
    assert (
        "one: list of 3; 2 tensors in it",
        "two: dict of 2",
        "args: an instance of argparse.Namespace; foreign types: argparse.Namespace, numpy.scalar",
        "loop: dict of 1",
        "deep: tuple of 1",
        "odd\\x1b[31m: the name a\\nb.c; foreign types: a\\nb.c",
        "tuple of 2: int 5",
    ) == select(saved).dropped


def test_a_prefix_on_some_of_the_keys_is_told() -> None:
    """Where `module.` is taken off part of the keys, the report says of how many."""
    half = {"module.stem.weight": A, "stem.bias": B, "module.head.weight": C, "n_averaged": A}
    found = select({"model": half, "epoch": 1})
    assert ["stem.weight", "stem.bias", "head.weight"] == list(found.tensors)
    assert (
        "the prefix 'module.': on 2 of 3 keys only, taken off these",
        "epoch: int 1",
        "model / n_averaged: a tensor",
    ) == found.dropped
    whole = {f"module.{key}": value for key, value in WEIGHTS.items()}
    for saved in (whole, whole | {"n_averaged": A}, WEIGHTS, WEIGHTS | {"module.extra": C}):
        assert not any("the prefix" in line for line in select(saved).dropped)


def test_a_hundred_thousand_things_beside() -> None:
    """The list of what is beside ends somewhere, and says how much more there is."""
    lines = select({"model": WEIGHTS} | {f"x{i}": i for i in range(100_000)}).dropped
    assert 1001 == len(lines)
    assert "and 99000 more" == lines[-1]


def test_more_names_than_any_network_has() -> None:
    """A few bytes a name would otherwise keep every later step busy."""
    many = Dict([part for i in range(100_001) for part in (f"a{i}", A)])
    with pytest.raises(MalformedError, match="beyond all measure"):
        select_state_dict(many)


def test_the_forms_that_trainers_write(tmp_path: Path) -> None:
    """A file as the authors' trainer leaves it, through torch.save and back."""
    weights = OrderedDict(a=torch.ones(2), b=torch.zeros(3))
    path = tmp_path / "x.pth"
    torch.save({"model": weights, "model_ema": weights, "optimizer": {"state": {}}}, path)
    with open_checkpoint(path) as checkpoint:
        found = select_state_dict(checkpoint.root)
    assert ("model_ema",) == found.ema_wrapper
    assert ["a", "b"] == list(found.tensors)
    assert "model_ema: OrderedDict of 2; 2 tensors in it" == found.dropped[0]
