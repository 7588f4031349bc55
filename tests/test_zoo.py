"""The nine rows: names a user may type, and what is computed against what is published."""

import pytest

from hornet_convert.cli import run
from hornet_convert.errors import UnknownModelError
from hornet_convert.family import zoo
from tests.documents import parsed


@pytest.mark.parametrize("model", zoo.MODELS, ids=lambda model: model.name)
def test_every_spelling_finds_its_row(model: zoo.Published) -> None:
    """Short name, label, authors' name, published stem and file all mean the same row."""
    spellings = (
        *(model.name, f"hornet-{model.name}", model.label, model.label.lower()),
        *(model.authors_name, model.stem, model.file_name),
        *(f"{model.stem}-{digits}.pth" for digits in (*model.superseded, model.sha8 + 56 * "a")),
        f"{model.name}-{model.sha8}9",
        model.stem + "-12345678.safetensors",
        f"  {model.name.upper().replace('-', '_')} ",
        *(model.name.replace("-", ""), model.name.replace("384", "-384")),
        *(f"hornet-{model.name}_3rdparty_{model.dataset}", f"hornet_{model.name}.{model.dataset}"),
        model.label.replace("-GF", "(GF)"),
    )
    assert [model] * len(spellings) == [zoo.find(spelling) for spelling in spellings]


@pytest.mark.parametrize("model", zoo.MODELS, ids=lambda model: model.name)
def test_a_hash_that_was_never_published_is_no_model(model: zoo.Published) -> None:
    """A published name with other digits is another file; the message names the right ones."""
    other = zoo.MODELS[model is zoo.MODELS[0]]
    for digits in ("ffffffff", other.sha8, model.sha8[:7] + "x", "f" * 64):
        with pytest.raises(UnknownModelError) as caught:
            zoo.find(f"{model.stem}-{digits}.pth")
        if "x" not in digits:
            assert digits in caught.value.what
            assert all(old in (caught.value.expected or "") for old in model.superseded)
            assert model.name in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("larg-gf384", "large-gf384"), ("tinny", "tiny"), ("hornet_smal_gf", "small-gf")],
)
def test_a_near_miss_gets_a_suggestion(typed: str, meant: str) -> None:
    """A misspelt name is an error that names what was probably meant."""
    with pytest.raises(UnknownModelError) as caught:
        zoo.find(typed)
    assert meant in (caught.value.hint or "")


def test_a_name_that_tells_the_data_is_that_of_its_data() -> None:
    """ImageNet-21k is also called 22k; no tiny model was trained on it."""
    assert zoo.find("hornet_large_gf_in22k").name == "large-gf"
    with pytest.raises(UnknownModelError):
        zoo.find("hornet_tiny_gf_in22k")


def test_no_two_rows_share_a_name_or_a_hash() -> None:
    """Every alias, hash and link belongs to one row."""
    for values in (
        [model.name for model in zoo.MODELS],
        [model.sha8 for model in zoo.MODELS] + [old for m in zoo.MODELS for old in m.superseded],
        [link for model in zoo.MODELS for link in model.official_links],
        [model.file_name for model in zoo.MODELS],
    ):
        assert len(values) == len(set(values))


def test_a_hash_tells_row_and_generation() -> None:
    """The first digits of a SHA-256 identify the current and the superseded publications."""
    assert (zoo.BY_NAME["tiny"], True) == zoo.with_hash("0e8eedff" + "0" * 56)
    assert (zoo.BY_NAME["tiny"], False) == zoo.with_hash("13316b34" + "0" * 56)
    assert zoo.with_hash("f" * 64) is None


def test_list_json_holds_computed_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """`list --json` computes: the six exact published FLOPs come out to the last digit."""
    assert run(["list", "--json"]) == 0
    rows = parsed(capsys.readouterr().out)["results"]
    assert [model.name for model in zoo.MODELS] == [row["name"] for row in rows]
    exact = [row for row in rows if row["published_flops"] is not None]
    assert len(exact) == 6
    assert [row["published_flops"] for row in exact] == [row["flops"] for row in exact]
    assert 201_806_824 == rows[-1]["parameters"]


def test_list_for_people_shows_names_and_errata(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has a line for each, and explains the figure it marks."""
    assert run(["list"]) == 0
    shown = capsys.readouterr().out
    for model in zoo.MODELS:
        assert model.file_name in shown
    assert "201.23 M *" in shown
    assert "24×13" in shown
