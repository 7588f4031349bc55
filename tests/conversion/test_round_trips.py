"""Any direction: whatever way weights go, they come back bit for bit."""

import itertools
from pathlib import Path

import pytest
import torch

from fixtures import small
from hornet_convert.conversion.request import TARGETS, Target
from hornet_convert.errors import UsageError
from hornet_convert.family.file_names import FORMATS, Format
from hornet_convert.family.layouts import LAYOUTS, Layout
from hornet_convert.report.report import Report
from tests.conversion.run import load, output, run, told

Way = tuple[Target, Format]
WHOLE: list[Way] = list(itertools.product(LAYOUTS, FORMATS))
BACKBONES: list[Way] = list(itertools.product(("backbone",), FORMATS))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as the authors publish one."""
    return small.write(tmp_path_factory.mktemp("source") / "in.pth", "official-zip", "w8-gf64")


@pytest.fixture(scope="module")
def direct(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Way, Report]:
    """The source converted to every form."""
    out = tmp_path_factory.mktemp("direct")
    return {way: run(source, out, *way) for way in (*WHOLE, *BACKBONES)}


@pytest.mark.parametrize("first", [*WHOLE, *BACKBONES], ids="-".join)
def test_from_every_form_to_the_bytes_that_the_source_gives(
    tmp_path: Path, direct: dict[Way, Report], first: Way
) -> None:
    """So does any sequence of forms, and the fingerprint stays. A backbone becomes a backbone."""
    there: list[Way] = [("reference", "safetensors"), ("openmmlab", "pth")]
    for other in BACKBONES if first in BACKBONES else there:
        again = run(output(direct[first]), tmp_path, *other)
        assert output(direct[other]).name == output(again).name
        assert output(direct[other]).read_bytes() == output(again).read_bytes()
    if first in WHOLE:
        assert told(direct[first])["fingerprint"] == direct[first].fingerprint


@pytest.mark.parametrize("container", FORMATS)
@pytest.mark.parametrize("layout", ["reference", "official"])
def test_a_backbone_becomes_nothing_else(
    tmp_path: Path, direct: dict[Way, Report], layout: Layout, container: Format
) -> None:
    """It lacks the final norm, and weights are not made up."""
    with pytest.raises(UsageError, match=f"`layout` {layout} conflicts"):
        run(output(direct["backbone", container]), tmp_path, layout)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("way", [*WHOLE, *BACKBONES], ids="-".join)
def test_what_a_user_loads(direct: dict[Way, Report], way: Way) -> None:
    """Names of the layout, every tensor bit for bit, loaded by torch or safetensors."""
    result = load(output(direct[way]), way[0])
    if way[0] == "backbone":
        wanted = {
            key: tensor
            for key, tensor in small.tensors("w8-gf64").items()
            if not key.startswith(("norm.", "head."))
        }
    else:
        wanted = small.tensors("w8-gf64", way[0])
    assert wanted.keys() == result.keys()
    assert all(torch.equal(wanted[key], result[key]) for key in wanted)


def test_pth_names_stand_in_the_order_of_the_computation(direct: dict[Way, Report]) -> None:
    """As `state_dict()` of a model gives them."""
    result = load(output(direct["official", "pth"]), "official")
    assert list(small.tensors("w8-gf64")) == list(result)


def test_the_wrappers_that_the_layouts_own_code_expects(direct: dict[Way, Report]) -> None:
    """The authors' trainer takes `model`, mmengine `state_dict` and `meta`, others nothing."""
    keys = {}
    for layout in TARGETS:
        loaded = torch.load(output(direct[layout, "pth"]), weights_only=True)
        keys[layout] = set(loaded) if len(loaded) < 3 else None
        if layout == "openmmlab":
            assert all(type(text) is str for pair in loaded["meta"].items() for text in pair)
            assert "w8-gf64" == loaded["meta"]["hornet_convert.model"]
    assert {
        "reference": None,
        "official": {"model"},
        "openmmlab": {"state_dict", "meta"},
        "backbone": None,
    } == keys


@pytest.mark.parametrize("layout", TARGETS)
def test_edits_survive_every_form(tmp_path: Path, source: Path, layout: Target) -> None:
    """An edited file says so in whatever form it is written again, and has the same bytes."""
    edited = {
        way: run(source, tmp_path / "once", layout, way, dtype="float16", resolution=96)
        for way in FORMATS
    }
    for first, second in itertools.permutations(FORMATS):
        again = run(output(edited[first]), tmp_path / "again", layout, second)
        assert output(edited[second]).name == output(again).name
        assert output(edited[second]).read_bytes() == output(again).read_bytes()
        assert told(edited[second])["edits"] == told(again)["edits"]
        assert any("edited (64to96px" in note for note in again.notes)
