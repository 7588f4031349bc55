"""Where the weights are found, under which names, and what is said about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from hornet_convert.checkpoint.inert import Call, Dict, Global, RefusedTensor
from hornet_convert.checkpoint.state_dict import StateDict, select_state_dict
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor
from hornet_convert.errors import (
    AmbiguousError,
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
    return [tree(item) for item in value] if isinstance(value, list) else value


def counter(weights: dict[str, Any]) -> Call:
    """A Counter, as pickle describes it."""
    return Call(Global("collections", "Counter"), (tree(weights),), "called")


def subclass(weights: dict[str, Any]) -> Call:
    """An instance of a foreign kind of dict, its items set one by one."""
    made = Call(Global("somewhere", "KindOfDict"), (), "built")
    made.pairs = Dict([part for item in weights.items() for part in item])
    return made


def select(value: Any, key: str | None = None, ema: bool = False) -> StateDict:
    """The state dict in nested Python dicts."""
    return select_state_dict(tree(value), key=key, ema=ema)


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
    assert list(WEIGHTS.items()) == list(found.tensors.items())
    assert (wrapper, prefix) == (found.wrapper, found.prefix)
    assert not found.is_ema
    assert found.ema_wrapper is None


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
    assert WEIGHTS == plain.tensors
    assert AVERAGE == averaged.tensors
    assert where == plain.ema_wrapper == averaged.ema_wrapper
    assert averaged.is_ema
    assert not plain.is_ema
    assert any("ema" in line and "tensors in it" in line for line in plain.dropped)
    assert any("2 tensors in it" in line for line in averaged.dropped)


def test_only_averaged_weights() -> None:
    """A file with nothing else gives its averaged weights, and says so."""
    for saved in ({"model_ema": AVERAGE, "best": A}, {"ema": {"model": AVERAGE}}):
        found = select(saved)
        assert AVERAGE == found.tensors
        assert found.is_ema
        assert found.wrapper == found.ema_wrapper


EMA_NAMES = {"ema_a": A, "ema_b": B}  # every name begins so: a network that spells them so


@pytest.mark.parametrize(
    "saved", [{"model": WEIGHTS}, WEIGHTS, {"model": WEIGHTS, "model_ema": None}, EMA_NAMES]
)
def test_no_averaged_weights(saved: Any) -> None:
    """Asking for what is not there is a mistake in the request."""
    assert select(saved).tensors in (WEIGHTS, EMA_NAMES)
    with pytest.raises(UsageError, match="no averaged") as error:
        select(saved, ema=True)
    assert error.value.hint


EVIL = {"stem.weight": C, "stem.bias": C}
PREFIXED = {f"module.backbone.{name}": tensor for name, tensor in EVIL.items()}


@pytest.mark.parametrize(
    ("saved", "paths"),
    [
        ({"model": WEIGHTS, "state_dict": EVIL}, ("'model'", "'state_dict'")),
        ({"model": WEIGHTS, "net": {"other": C}}, ("'model'", "'net'")),
        ({"state_dict": {"model": WEIGHTS}, "model": EVIL}, ("'state_dict.model'", "'model'")),
        ({"state_dict": {"model": WEIGHTS, **EVIL}}, ("'state_dict.model'", "'state_dict'")),
        ({"model": WEIGHTS, "weights": EVIL}, ("'model'", "'weights'")),
        ({"model": WEIGHTS, "weights": PREFIXED}, ("'model'", "'weights'")),
        ({"model": WEIGHTS, "x": {"y": [1, EVIL]}}, ("'model'", "'x.y.int 1'")),
        ({"model": WEIGHTS, "x": [[["stem.bias", C]]]}, ("'model'", "'x.int 0'")),
        ({"model": WEIGHTS, **EVIL}, ("'model'", "''")),
        ({"model": WEIGHTS, "x": counter(EVIL)}, ("'model'", "'x.args.int 0'")),
        ({"model": WEIGHTS, "x": subclass(EVIL)}, ("'model'", "'x.pairs'")),
        ({"model": WEIGHTS, "state_dict": counter({"other": C})}, ("'model'", "Counter()")),
        ({"model": WEIGHTS, "state_dict": subclass({"other": C})}, ("'model'", "KindOfDict")),
        ({"model": WEIGHTS, "state_dict": [["other", C]]}, ("'model'", "'state_dict'")),
        ({"model_ema": WEIGHTS, "weights": EVIL}, ("'model_ema'", "'weights'")),
        (Dict(["model", tree(EVIL), "model", tree(WEIGHTS)]), ("'model'", "dict of 2")),
        (
            {"model": WEIGHTS | {"ema_stem_weight": C, "ema_stem_bias": C, "ema_x": C}, "x": EVIL},
            ("'model'", "'x'"),
        ),
    ],
)
def test_rivals_are_refused_and_named(saved: Any, paths: tuple[str, str]) -> None:
    """Where two loaders could take two different sets of weights, neither is chosen."""
    with pytest.raises(AmbiguousError) as caught:
        select(saved)
    for path in paths:
        assert path in caught.value.message
    assert "--key" in (caught.value.hint or "")


def test_rivals_among_averaged_weights() -> None:
    """With --ema, two averaged sets are rivals; without it, they are no rivals of the plain one."""
    saved = {"model": WEIGHTS, "model_ema": AVERAGE, "ema": {"x": {"model": EVIL}}}
    assert WEIGHTS == select(saved).tensors
    with pytest.raises(AmbiguousError, match="model_ema"):
        select(saved, ema=True)
    found = select(saved, key="model_ema")
    assert AVERAGE == found.tensors
    assert found.is_ema


STATE = tree(WEIGHTS)
MOMENTS = {0: {"exp_avg": A, "exp_avg_sq": B}, 1: {"exp_avg": A, "exp_avg_sq": B}}


@pytest.mark.parametrize(
    "saved",
    [
        {"model": WEIGHTS, "optimizer": {"state": MOMENTS}, "scaler": {"scale": A}},
        {"model": WEIGHTS, "head": {"stem.other": C}},
        {"model": WEIGHTS, "state_dict": {}, "net": "hornet", "network": [1, 2]},
        {"model": STATE, "state_dict": STATE, "backup": STATE},
        {"model": STATE, "model_ema": STATE},
        {"model": WEIGHTS, "ema": {"shadow": EVIL}},
        {"model": WEIGHTS, "x": {"n": 3}, "best": C},
    ],
)
def test_what_is_no_rival(saved: Any) -> None:
    """Other names, the same object again, and averaged copies in their places are no rivals."""
    assert WEIGHTS == select(saved).tensors


@pytest.mark.parametrize(
    ("key", "wrapper"),
    [
        ("model", ("model",)),
        ("state_dict.net", ("state_dict", "net")),
        ("a.b", ("a.b",)),
        ("a.c", ("a", "c")),
        ("x.y.z", ("x", "y.z")),
    ],
)
def test_the_weights_under_a_key(key: str, wrapper: tuple[str, ...]) -> None:
    """--key takes what it names, whatever else there is; of keys with dots the longest."""
    saved: dict[str, Any] = {
        "model": EVIL,
        "state_dict": {"net": EVIL},
        "a": {"b": EVIL, "c": EVIL},
        "a.b": EVIL,
        "x": {"y": {"w": 1}, "y.z": EVIL},
    }
    parts = saved
    for part in wrapper[:-1]:
        parts = parts[part]
    parts[wrapper[-1]] = WEIGHTS
    found = select(saved, key=key)
    assert WEIGHTS == found.tensors
    assert wrapper == found.wrapper
    assert not found.is_ema


def test_a_key_that_is_not_there() -> None:
    """The message lists what there is; together with --ema a key is a mistake."""
    saved = {"model": {"net": WEIGHTS, "epoch": 1}, "x": EVIL}
    for key in ("weights", "model", "model.epoch", "model.net.stem.bias", ""):
        with pytest.raises(UsageError, match=r"'model\.net', 'x'"):
            select(saved, key=key)
    with pytest.raises(UsageError, match="`ema=True`"):
        select(saved, key="x", ema=True)


def test_mmengine_exchanges_averaged_and_raw_weights() -> None:
    """In its files `state_dict` is the average, --ema or not; a key takes the raw ones."""
    raw = {f"module.{name}": tensor for name, tensor in WEIGHTS.items()} | {"steps": A}
    saved = {"state_dict": AVERAGE, "ema_state_dict": raw, "meta": {"mmengine_version": "0.10.7"}}
    for found in (select(saved), select(saved, ema=True)):
        assert AVERAGE == found.tensors
        assert found.is_ema
        assert ("state_dict",) == found.ema_wrapper
        assert ("ema_state_dict",) == found.raw_wrapper
    found = select(saved, key="ema_state_dict")
    assert WEIGHTS == found.tensors
    assert not found.is_ema
    found = select(saved | {"meta": {"mmcls_version": "0.24.0"}})
    assert not found.is_ema
    assert ("ema_state_dict",) == found.ema_wrapper
    assert found.raw_wrapper is None


def test_known_keys_that_go_in_circles() -> None:
    """What is shared, or holds itself, is looked at once, whatever keys lead to it."""
    looped = Dict()
    inner = tree({"net": WEIGHTS, "epoch": 1})
    for key in ("model", "state_dict", "module", "ema", "model_ema"):
        looped.flat += [key, looped, f"x{key}", inner]
    looped.flat += ["net", inner]
    found = select(looped)
    assert WEIGHTS == found.tensors
    assert ("net", "net") == found.wrapper
    assert 11 == len(found.dropped)


MODULE = Call(Global("torch.nn.modules.container", "Sequential"), (), "built")
MODULE.states = [Dict(["_modules", Dict(), "_parameters", Dict(["weight", A])])]
DEEP: object = ()  # to hash this would overflow the stack
for _ in range(200_000):
    DEEP = (DEEP,)


@pytest.mark.parametrize(
    ("root", "error", "words"),
    [
        (A, MalformedError, "no weights in this file"),
        (None, MalformedError, "found: None"),
        ([A, B], UnsupportedError, "found: list of 2"),
        ({}, MalformedError, "no weights"),
        ({"epoch": 3}, MalformedError, "epoch: int 3"),
        ({"optimizer": {"state": {0: {"step": A}}}}, MalformedError, "only an optimizer's state"),
        ({"state": {0: {"exp_avg": A}}, "param_groups": []}, MalformedError, "optimizer"),
        ({0: A, 1: B}, MalformedError, "int 0, int 1"),
        ({"model": {0: A, b"x": B}}, MalformedError, "the dict at model"),
        (Dict([DEEP, A]), MalformedError, "not names"),
        ({"a": A, "b": 3, "c": None}, MalformedError, "b (int 3), c (None)"),
        ({"a": A, "b": [A]}, MalformedError, "b (list of 1)"),
        ({"a": A} | {f"x{i}": i for i in range(100)}, MalformedError, "and 88 more"),
        ({"model": {f"a{i}": A for i in range(100_001)}}, MalformedError, "too many tensors"),
        ({"a": A, "x\ud800": B}, MalformedError, "x\\ud800"),
        ({"a": RefusedTensor("sparse"), "b": A}, UnsupportedError, "a (a sparse tensor)"),
        ({"model": {"module.a": A, "a": B}}, MalformedError, "doubled keys"),
        (Dict(["a", A, "b", B, "a", C]), MalformedError, "doubled keys"),
        (MODULE, UnsupportedError, "Sequential"),
        ({"model": MODULE}, UnsupportedError, "where: model"),
        ({"state_dict": {"model": MODULE, "w": A}}, UnsupportedError, "state_dict / model"),
        ({"model": MODULE, "state_dict": WEIGHTS}, AmbiguousError, "Sequential"),
        ({"model": counter(WEIGHTS)}, UnsupportedError, "Counter"),
    ],
)
def test_what_is_no_state_dict(root: Any, error: type[FileRefusedError], words: str) -> None:
    """Each has its own sentence, with the offenders and what to do next."""
    with pytest.raises(error) as caught:
        select(root)
    assert words in caught.value.message
    assert caught.value.hint


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
