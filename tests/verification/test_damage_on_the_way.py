"""Damage on the way: what a wrong converter writes differs from its source, and is found, twice.

The forward check alone has to catch every case of the list in `damage.py`; of the thousands of
swaps, and of a plain model's cases, some are tried. So has the comparison of bytes: of every case
some bytes are other ones. What provably changes no output of the network is listed here, with the
reason, and tried exhaustively: the forward check cannot see it, the comparison of bytes does.

One kind is left to the forward check: a wrong table of names. The bytes are compared under the
names that the table gives, the forward check has names of its own.
"""

import functools
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from fixtures import small
from fixtures import zoo as full_size
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checks.model_file import examine
from hornet_convert.conversion.publish import stamp
from hornet_convert.conversion.readback import read_back
from hornet_convert.conversion.request import Request
from hornet_convert.conversion.reread import Copied, digests_of
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.layouts import remap
from hornet_convert.model.equivalence import compare_forward
from hornet_convert.report.trace import TOLERANCE
from tests.conversion.run import asked_of, proof_of
from tests.verification.damage import Array, Damage, Weights, kinds, part_of
from tests.verification.shared_trace import SharedTrace

MODELS = ("w8", "w8-gf")
SIZE = 224
EVERY = {"w8": 4, "w8-gf": 1}  # of a plain model a quarter: it has one kind of layer fewer
OF_SWAPS = 3  # a third of these: there are thousands, dozens of every part


@functools.cache
def weights(name: str) -> Weights:
    """The right weights by reference name."""
    return small.arrays(name, "reference")


@functools.cache
def trace(name: str, size: int = SIZE) -> SharedTrace:
    """The source's computation."""
    return SharedTrace(name, weights(name), small.NUM_CLASSES, size)


def cases(name: str, kind: str) -> Iterable[Damage]:
    """Every case of one kind for a model."""
    return kinds(small.arrays(name, "reference", label="another"))[kind](weights(name))


KINDS = tuple(kinds({}))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_check_alone_catches_the_cases(name: str, kind: str) -> None:
    """None is passed, and the part that is named first is the first one damaged."""
    wrong = []
    step = EVERY[name] * (OF_SWAPS if kind.startswith("swapped") else 1)
    for damage in islice(cases(name, kind), 0, None, step):
        named = trace(name).first_diverging(damage)
        damaged = next(part for part in trace(name).names if part in map(part_of, damage.changed))
        if named != damaged:
            wrong.append((damage.what, named))
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_is_empty(kind: str) -> None:
    """Every generator of the list gives cases, and each of them changes bytes."""
    name = "w8-gf" if "filters" in kind else "w8"
    damages = list(cases(name, kind))
    assert damages
    right = weights(name)
    for damage in damages:
        assert any(right[key].tobytes() != a.tobytes() for key, a in damage.changed.items())


@pytest.mark.parametrize("kind", KINDS)
def test_the_shared_trace_says_what_the_whole_check_says(kind: str) -> None:
    """The check itself, on a whole damaged model, names the same part."""
    name = "w8-gf"
    every = list(cases(name, kind))
    names = remap(weights(name), "reference", "openmmlab").names
    source = {names[key]: torch.tensor(array) for key, array in weights(name).items()}
    damage = every[len(every) // 2]
    target = {key: torch.tensor(array) for key, array in damage.done_to(weights(name)).items()}
    whole = compare_forward(
        source, "openmmlab", target, Architecture.from_name(name), small.NUM_CLASSES
    )
    assert whole.first_diverging is not None
    assert trace(name).first_diverging(damage) == whole.parts[whole.first_diverging].module


@pytest.mark.parametrize("name", MODELS)
def test_right_weights_pass(name: str) -> None:
    """And by a wide margin: what is caught is not noise."""
    largest = max(trace(name).deviation(part, {}) for part in trace(name).names)
    assert largest < TOLERANCE / 1e4


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_caught_by_each_check_alone(tmp_path: Path, kind: str) -> None:
    """The checks as the conversion makes them, on a damaged file: both fail, naming the culprit."""
    name = "w8-gf64"
    source = small.write(tmp_path / "source.pth", "openmmlab-legacy", name)
    every = list(cases(name, kind))
    damage = every[len(every) * 2 // 3]
    result = tmp_path / "result.safetensors"
    result.write_bytes(safetensors.numpy.save(damage.done_to(weights(name))))
    with open_checkpoint(source) as item, open_checkpoint(result) as two:
        file = examine(item)
        asked, before = asked_of(file), stamp(item.file)
        digests = digests_of(item, asked.choice.tensors)
        copied = Copied(digests.crcs, digests.sha256)
        bits = read_back(file, before, digests, copied, Request(tmp_path), asked, two, None).check
    forward = proof_of(source, result).check
    assert bits.status == "fail"
    assert any(key in bits.detail for key in damage.changed)
    assert forward.status == "fail"
    assert f"first to differ: {part_of(next(iter(damage.changed)))};" in forward.detail


def self_conjugate(index: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether this is the imaginary part of a filter at a frequency that is its own conjugate.

    There the spectrum of a real map is real. The inverse transform takes what its product with the
    filter has there for real as well, so this number has no part in any output. Such frequencies
    are 0 and, where a side is even, half of it.
    """
    _, u, v, part = index
    return part == 1 and 2 * u % size[0] == 0 and 2 * v % size[1] == 0


def out_of_reach(index: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a tap of a 7×7 kernel only ever meets the zeros around a map of this size."""
    _, _, i, j = index
    return abs(i - 3) >= size[0] or abs(j - 3) >= size[1]


@pytest.mark.parametrize(
    ("name", "image", "stage", "tensor", "rule"),
    [
        ("w8-gf", 224, 2, "gnconv.dwconv.complex_weight", self_conjugate),
        ("w8-gf", 224, 3, "gnconv.dwconv.complex_weight", self_conjugate),
        ("w8-gf64", 64, 3, "gnconv.dwconv.complex_weight", self_conjugate),
        ("w8", 224, 3, "gnconv.dwconv.weight", out_of_reach),
        ("w8", 64, 3, "gnconv.dwconv.weight", out_of_reach),
        ("w8", 64, 2, "gnconv.dwconv.weight", out_of_reach),
    ],
)
def test_what_the_forward_check_cannot_see(
    name: str,
    image: int,
    stage: int,
    tensor: str,
    rule: Callable[[tuple[int, ...], tuple[int, int]], bool],
) -> None:
    """Of one channel's filter, exactly the elements that the rule gives change no output.

    At 224 pixels every tap of a plain model counts, and of a filter only the imaginary parts at
    frequencies that are their own conjugates do not. Each is changed a lot.
    """
    key = f"stages.{stage}.blocks.1.{tensor}"
    right = weights(name)[key]
    side = image // (4 << stage)
    unseen, wanted = set(), set()
    for index in np.ndindex(right[:1].shape):
        changed = right.copy()
        changed[index] += 10
        if trace(name, image).first_diverging(Damage("", {key: changed})) is None:
            unseen.add(index)
        if rule(index, (side, side)):
            wanted.add(index)
    assert wanted == unseen


def test_another_image_size_sees_what_one_size_cannot() -> None:
    """Resized for another image, a filter mixes those numbers with their neighbours."""
    key = "stages.2.blocks.1.gnconv.dwconv.complex_weight"
    changed: Array = weights("w8-gf")[key].copy()
    changed[0, 7, 7, 1] += 10
    damage = Damage("", {key: changed})
    named = [trace("w8-gf", size).first_diverging(damage) for size in (224, 256)]
    assert [None, "stages.2.blocks.1"] == named


@pytest.mark.full_size
def test_a_sample_at_full_size() -> None:
    """A few cases of every kind on tiny-gf, spread over the network."""
    whole = full_size.weights("tiny-gf", "official")
    names = remap(whole, "official", "reference").names
    right = {names[key]: tensor.numpy() for key, tensor in whole.items()}
    other = full_size.weights("tiny-gf", "official", label="another")
    stale = {names[key]: tensor.numpy() for key, tensor in other.items()}
    computed = SharedTrace("tiny-gf", right, 1000, SIZE)
    for kind, damages in kinds(stale).items():
        count = len(list(cases("w8-gf", kind)))  # of the same names
        for damage in islice(damages(right), count // 5, None, max(1, count // 2)):
            assert computed.first_diverging(damage) is not None, damage.what
