"""What a HorNet is made of, against the published figures."""

import pytest

from fixtures import golden, small
from hornet_convert.family.architecture import Architecture, Shape, infer
from hornet_convert.family.zoo import BY_NAME

# Parameters at 1000 classes, as counted on the authors' models, and multiply-adds; those of the
# large models follow from the rule of the six published ones.
FIGURES = {
    "tiny": (22_409_512, 3_976_156_352),
    "tiny-gf": (22_991_848, 3_896_472_160),
    "small": (49_528_264, 8_825_621_280),
    "small-gf": (50_401_768, 8_706_094_992),
    "base": (87_256_680, 15_582_677_376),
    "base-gf": (88_421_352, 15_423_308_992),
    "large": (194_542_504, 34_819_563_072),
    "large-gf": (196_289_512, 34_580_510_496),
    "large-gf384": (201_806_824, 34_580_510_496 * 384**2 // 224**2),
}


@pytest.mark.parametrize(("name", "figures"), FIGURES.items())
def test_parameters_and_flops(name: str, figures: tuple[int, int]) -> None:
    """The exact number of parameters at 1000 classes; the published FLOPs to the last digit."""
    architecture = Architecture.from_name(name)
    assert figures == (architecture.parameters(1000), architecture.flops())


@pytest.mark.parametrize("name", golden.models())
def test_classifier_makes_the_only_difference(name: str) -> None:
    """Without a classifier exactly its weight and bias are missing."""
    architecture = Architecture.from_name(name)
    classifier = {"head.fc.weight": (77, architecture.widths[-1]), "head.fc.bias": (77,)}
    assert architecture.shapes(77) == architecture.shapes(None) | classifier


@pytest.mark.parametrize("name", [*golden.models(), *small.NAMES, "w12-gf96", "w1024-gf1000"])
def test_name_round_trip(name: str) -> None:
    """A name gives an architecture, and that the name."""
    assert name == Architecture.from_name(name).name


@pytest.mark.parametrize(
    "name",
    ["", "huge", "Tiny", "tiny-gf-384", "tiny-gf0", "tiny-gf31", "w", "w0", "w6", "w08", "tiny\n"],
)
def test_other_names_are_refused(name: str) -> None:
    """Anything else is a ValueError."""
    with pytest.raises(ValueError, match=r"name|width|resolution"):
        Architecture.from_name(name)


def test_filters_have_the_size_of_the_half_spectrum() -> None:
    """The filters of the 384 model are 24×13 and 12×7, those of the others 14×8 and 7×4."""
    for name, shapes in (("large-gf", [(14, 8), (7, 4)]), ("large-gf384", [(24, 13), (12, 7)])):
        architecture = Architecture.from_name(name)
        assert [None, None, *shapes] == [architecture.filter_shape(stage) for stage in range(4)]


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
    assert FIGURES.keys() == BY_NAME.keys()
    wrong = [name for name, row in BY_NAME.items() if not row.parameters_are_right]
    assert ["large-gf384"] == wrong
    exact = {name: row.flops_exact for name, row in BY_NAME.items() if row.flops_exact}
    assert 6 == len(exact)
    assert exact == {name: FIGURES[name][1] for name in exact}
