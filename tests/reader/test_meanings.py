"""The tables of `docs/reading.md` are what both readers do, row by row."""

from __future__ import annotations

import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fuzz.agree import difference
from fuzz.containers import assembled, changed
from fuzz.readers import Lines, compared
from hornet_convert.checkpoint.inert import Dict, Global, Set
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor
from tests.reader import meanings


@pytest.mark.skipif(not torch.__version__.startswith("2.13"), reason="written for torch 2.13")
def test_the_document_is_what_the_readers_do() -> None:
    """Every row: what torch or the safetensors library does with its file, and what we do."""
    written = meanings.DOCUMENT.read_text().splitlines()
    assert written == meanings.document().splitlines()


def test_every_opcode_has_a_row() -> None:
    """All that Python's pickle knows, and no other."""
    assert meanings.missing_opcodes() == set()
    assert len(meanings.OPCODES) == 68


def test_what_both_read_is_the_same(tmp_path: Path) -> None:
    """Every tensor and plain value of the files that neither reader refuses."""
    path = tmp_path / "x"
    outcomes = set()
    for rows in meanings.tables().values():
        for name, made in rows.items():
            path.write_bytes(made())
            outcome, difference = compared(path, Lines())
            assert difference is None, name
            outcomes.add(outcome)
    kinds = ("zip", "legacy", "safetensors")
    assert {f"{kind}: read alike, restricted" for kind in kinds} <= outcomes


def test_no_mutated_file_means_two_things(tmp_path: Path) -> None:
    """A short run of the fuzzer, the same each time."""
    path, r = tmp_path / "x", random.Random(1)
    corpus = [assembled(r)[1] for _ in range(60)]
    alike = 0
    for _ in range(800):
        path.write_bytes(changed(r.choice(corpus), r) or b"x")
        outcome, difference = compared(path, Lines())
        assert difference is None, path.read_bytes()
        alike += "read alike" in outcome
    assert alike > 20


def with_attribute() -> OrderedDict[str, int]:
    """An empty dict that has one."""
    found: OrderedDict[str, int] = OrderedDict()
    vars(found)["_metadata"] = 1
    return found


MADE: dict[str, tuple[object, object]] = {
    "a number": (1, True),
    "a float": (0.0, -0.0),
    "a list": ([1], [1, 2]),
    "a tuple": ([1], (1,)),
    "a key that ours lacks": (Dict(["a", 1]), {"a": 1, "b": 2}),
    "the order of keys": (Dict(["a", 1, "b", 1]), {"b": 1, "a": 1}),
    "a value far down": (Dict(["a", [Dict(["b", 1])]]), {"a": [{"b": 2}]}),
    "the first of two values": (Dict(["a", 1, "a", 2]), {"a": 1}),
    "the class of a dict": (Dict(), OrderedDict()),
    "attributes of a dict": (Dict([], "OrderedDict"), with_attribute()),
    "a name": (Global("torch", "float32"), torch.float64),
    "a set": (Set([1], False), {2}),
    "a tensor": (Tensor(DTYPES["F32"], (1,), (1,), 0, Storage(0, 4)), torch.ones(1)),
}


@pytest.mark.parametrize("what", MADE)
def test_the_judge_sees_what_differs(what: str) -> None:
    """Two readings that are not the same are told apart."""
    mine, other = MADE[what]
    assert difference(mine, other, lambda _: np.zeros(4, np.uint8)) is not None


def test_the_judge_follows_circles() -> None:
    """Values that hold themselves are compared to the end."""
    mine: list[Any] = [1]
    other: list[Any] = [1]
    mine.append(mine)
    other.append(other)
    assert difference(mine, other, lambda _: None) is None
    other.append(2)
    assert difference(mine, other, lambda _: None) is not None
