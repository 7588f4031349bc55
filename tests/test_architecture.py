"""What a HorNet is made of, against the published figures."""

import math

import pytest

from fixtures import golden, small
from hornet_convert.family.architecture import Architecture, Shape, infer, order_widths
from hornet_convert.family.zoo import BY_NAME

# Parameters at 1000 classes, as counted on the authors' models.
PARAMETERS = {
    "tiny": 22_409_512,
    "tiny-gf": 22_991_848,
    "small": 49_528_264,
    "small-gf": 50_401_768,
    "base": 87_256_680,
    "base-gf": 88_421_352,
    "large": 194_542_504,
    "large-gf": 196_289_512,
    "large-gf384": 201_806_824,
}

# Multiply-adds; those of the large models follow from the rule of the six published ones.
FLOPS = {
    "tiny": 3_976_156_352,
    "tiny-gf": 3_896_472_160,
    "small": 8_825_621_280,
    "small-gf": 8_706_094_992,
    "base": 15_582_677_376,
    "base-gf": 15_423_308_992,
    "large": 34_819_563_072,
    "large-gf": 34_580_510_496,
}


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameters(name: str, count: int) -> None:
    """The exact number of parameters of all nine at 1000 classes."""
    assert count == Architecture.from_name(name).parameters(1000)


@pytest.mark.parametrize(("name", "count"), FLOPS.items())
def test_flops(name: str, count: int) -> None:
    """The published FLOPs to the last digit."""
    assert count == Architecture.from_name(name).flops()


def test_flops_of_the_largest() -> None:
    """All that is counted grows with the pixels: (384 / 224)² times those of the same at 224."""
    assert 144 * FLOPS["large-gf"] == 49 * Architecture.from_name("large-gf384").flops()


@pytest.mark.parametrize("name", golden.models())
def test_parameters_are_those_of_the_published_tensors(name: str) -> None:
    """The sum over the authors' tensors, whatever their number of classes."""
    classes = golden.outputs(name)["logits"].shape[1]
    published = sum(math.prod(shape) for shape in golden.layout(name, "official").values())
    assert published == Architecture.from_name(name).parameters(classes)


@pytest.mark.parametrize("name", golden.models())
def test_classifier_makes_the_only_difference(name: str) -> None:
    """Without a classifier exactly its weight and bias are missing."""
    architecture = Architecture.from_name(name)
    headless = architecture.shapes(None)
    width = architecture.widths[-1]
    assert headless | {"head.fc.weight": (77, width), "head.fc.bias": (77,)} == (
        architecture.shapes(77)
    )


@pytest.mark.parametrize("name", [*golden.models(), *small.NAMES, "w12-gf96", "w1024-gf1000"])
def test_name_round_trip(name: str) -> None:
    """A name gives an architecture, and that the name."""
    assert name == Architecture.from_name(name).name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "huge",
        "Tiny",
        "tiny-gf-384",
        "tiny-gf0",
        "tiny-gf31",
        "w0",
        "w6",
        "w08",
        "tiny\n",
        "w8-fg",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    """Anything else is a ValueError."""
    with pytest.raises(ValueError, match=r"name|width|resolution"):
        Architecture.from_name(name)


def test_filters_have_the_size_of_the_half_spectrum() -> None:
    """The filters of the 384 model are 24×13 and 12×7, those of the others 14×8 and 7×4."""
    native = Architecture.from_name("large-gf")
    large = Architecture.from_name("large-gf384")
    assert [None, None, (14, 8), (7, 4)] == [native.filter_shape(stage) for stage in range(4)]
    assert [None, None, (24, 13), (12, 7)] == [large.filter_shape(stage) for stage in range(4)]


def test_order_widths() -> None:
    """Each part has half the channels of the next; the last has all."""
    assert (64,) == order_widths(64, 1)
    assert (4, 8, 16, 32, 64) == order_widths(64, 5)


@pytest.mark.parametrize("name", [*golden.models(), *small.NAMES])
def test_inferred_from_shapes(name: str) -> None:
    """Shapes alone tell the architecture."""
    architecture = Architecture.from_name(name)
    assert architecture == infer(architecture.shapes(10))
    assert architecture == infer(architecture.shapes(None))


def test_inferred_although_some_tensors_are_missing_or_wrong() -> None:
    """A few absent or misshapen tensors do not hide what the rest is."""
    architecture = Architecture.from_name("w16-gf")
    shapes: dict[str, Shape] = architecture.shapes(10)
    shapes["stages.2.blocks.0.gamma1"] = (7,)
    shapes["stages.2.blocks.1.gnconv.dwconv.complex_weight"] = (1, 24, 13, 2)
    del shapes["stem.0.weight"], shapes["stages.0.blocks.0.norm1.weight"]
    assert architecture == infer(shapes)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"conv1.weight": (64, 3, 7, 7)},
        {"stem.0.weight": ()},
        {"stem.0.weight": (6, 3, 4, 4)},
        {"stages.0.blocks.0.gamma1": (0,)},
    ],
)
def test_nothing_is_inferred_from_something_else(shapes: dict[str, Shape]) -> None:
    """Shapes that show no HorNet give None."""
    assert infer(shapes) is None


def test_the_table_agrees() -> None:
    """The published rows repeat the figures above, but for the one that is known to be wrong."""
    assert PARAMETERS.keys() == BY_NAME.keys()
    assert {"large-gf384"} == {
        name for name, row in BY_NAME.items() if not row.parameters_are_right
    }
    exact = {name: row.flops_exact for name, row in BY_NAME.items() if row.flops_exact}
    assert exact == {name: FLOPS[name] for name in exact}
    assert 6 == len(exact)
