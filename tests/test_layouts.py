"""The key layouts, against the keys of the authors' and OpenMMLab's own code."""

import itertools

import pytest

from fixtures import golden, small
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.layouts import LAYOUTS, RULES, Layout, detect, remap, translate
from hornet_convert.family.zoo import MODELS

PAIRS = list(itertools.permutations(LAYOUTS, 2))
ARCHITECTURES = (*golden.models(), *small.NAMES)


def keys(name: str, layout: Layout) -> list[str]:
    """All keys of a model with a classifier."""
    shapes = Architecture.from_name(name).shapes(10)
    return list(remap(shapes, "reference", layout).names.values())


@pytest.mark.parametrize("name", golden.models())
def test_official_to_openmmlab_is_openmmlabs_own_conversion(name: str) -> None:
    """Every official key of every published model gets the name OpenMMLab's code gives it."""
    mapping = remap(golden.layout(name, "official"), "official", "openmmlab")
    assert golden.translation(name) == mapping.names
    assert () == mapping.unknown
    assert () == mapping.collisions


@pytest.mark.parametrize("name", golden.models())
@pytest.mark.parametrize("layout", ["official", "openmmlab"])
def test_names_and_shapes_are_those_of_the_published_models(name: str, layout: Layout) -> None:
    """The architecture's tensors, translated, are exactly the published model's, shapes too."""
    classes = golden.outputs(name)["logits"].shape[1]
    shapes = Architecture.from_name(name).shapes(classes)
    names = remap(shapes, "reference", layout).names
    assert golden.layout(name, layout) == {names[key]: shape for key, shape in shapes.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_round_trip(name: str, source: Layout, target: Layout) -> None:
    """There and back gives the same key, one to one, for every key of every model."""
    original = keys(name, source)
    there = remap(original, source, target)
    assert () == there.unknown
    assert () == there.collisions
    assert len(original) == len(set(there.names.values()))
    back = remap(there.names.values(), target, source)
    assert original == [back.names[there.names[key]] for key in original]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_detected(name: str, layout: Layout) -> None:
    """A model's keys tell their layout, in any order and with a third of them missing."""
    complete = keys(name, layout)
    assert layout == detect(complete)
    assert layout == detect(reversed(complete))
    assert layout == detect(key for at, key in enumerate(complete) if at % 3)


def test_no_keys_no_layout() -> None:
    """Nothing, or nothing but foreign names, is no layout."""
    assert detect([]) is None
    assert detect(["conv1.weight", "layer1.0.bn1.bias"]) is None


@pytest.mark.parametrize(
    "key",
    [
        "stages.0.0.gnconv.pws.0.weight.extra",
        "module.stages.0.0.gamma1",
        "stages.0.0.gamma1.weight",  # OpenMMLab's name, without its prefix
        "stages.0.0.gamma3",
        "stages.0.00.gamma1",
        "stages.0.-1.gamma1",
        "stages.٣.0.gamma1",
        "stages.0.0.gamma1\n",
        " stages.0.0.gamma1",
        "stages.0.0.pwconv1.running_mean",
        "downsample_layers.00.0.weight",
        "downsample_layers.0.2.weight",
        "norm0.weight",
        "head.fc.weight",
        "",
    ],
)
def test_a_name_that_is_only_like_a_key_is_unknown(key: str) -> None:
    """Names are matched whole, so what nobody knows is listed and not passed on."""
    complete = keys("w8", "official")
    mapping = remap([*complete, key], "official", "reference")
    assert (key,) == mapping.unknown
    assert len(complete) == len(mapping.names)
    assert translate(key, "official", "reference") is None


def test_collisions_are_listed_with_all_their_sources() -> None:
    """Two keys that would get one name are both named."""
    mapping = remap(["norm.bias", "norm.weight", "norm.weight"], "official", "reference")
    assert (("norm.weight", "norm.weight"),) == mapping.collisions


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_no_two_rules_give_one_name(source: Layout, target: Layout) -> None:
    """Over all indices that can occur and more, different keys get different names."""
    indices = {"i": range(5), "s": range(1, 5), "j": range(20), "k": range(6)}
    ranges = {**indices, "p": ("weight", "bias")}
    names: dict[str, str] = {}
    for rule in (rule[LAYOUTS.index(source)] for rule in RULES):
        letters = [letter for letter in ranges if f"{{{letter}}}" in rule]
        for values in itertools.product(*(ranges[letter] for letter in letters)):
            key = rule.format(**dict(zip(letters, values, strict=True)))
            name = translate(key, source, target)
            assert name is not None
            assert key == translate(name, target, source)
            assert key == names.setdefault(name, key)


def test_all_nine_are_covered() -> None:
    """The golden data speak of the same nine models as the table."""
    assert golden.models() == tuple(model.name for model in MODELS)
