"""The arithmetic of an evaluation: shares, differences, standard errors, notes."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hornet_convert.images.evaluation import Accuracy, Evaluation, Tally
from hornet_convert.images.samples import Answer, Dataset, Sample, Skipped


def dataset(classes: int = 1000, images: int = 50, left: int = 0) -> Dataset:
    """So many images of each of the first so many classes."""
    samples = tuple(
        Sample(f"{label}/{i}", label) for label in range(classes) for i in range(images)
    )
    return Dataset(Path("val"), Path("val"), 1000, samples, left=left)


def answers(on: Dataset, cut: int = 0) -> tuple[Answer, ...]:
    """The right one on each image, but for the last ones, which are cut."""
    right = [Answer(sample, 1, ((sample.label, 1.0),)) for sample in on.samples]
    for place in range(len(right) - cut, len(right)):
        right[place] = Answer(right[place].sample, error="cut")
    return tuple(right)


ALL = dataset()
TINY = Evaluation("tiny", 1000, 224, ALL, Tally(50_000, 41_420, 48_120), answers=answers(ALL))


def test_the_difference_is_counted_in_standard_errors_of_the_published_share() -> None:
    """Of 2500 images 80 % right where 90 % are published: 10 points, 16.7 standard errors."""
    accuracy = Accuracy(2000, 2500, 90.0)
    assert (80.0, -10.0) == (accuracy.percent, accuracy.difference)
    assert accuracy.standard_error == pytest.approx(0.6)  # √(0.9 · 0.1 / 2500) = 0.006
    assert accuracy.standard_errors == pytest.approx(-10 / 0.6)


def test_without_published_figures_there_is_no_difference() -> None:
    """The standard error is then that of the own share."""
    accuracy = Accuracy(50, 100)
    assert 50.0 == accuracy.percent
    assert accuracy.standard_error == pytest.approx(5.0)
    assert (None, None) == (accuracy.difference, accuracy.standard_errors)
    assert None is Accuracy(9, 10, 100.0).standard_errors


def test_a_published_model_is_held_against_its_row() -> None:
    """HorNet-T with 1000 classes: 82.84 and 96.24."""
    assert (82.84, 82.84) == (TINY.top1.percent, TINY.top1.published)
    assert (96.24, 96.24) == (TINY.top5.percent, TINY.top5.published)
    expected = 100 * math.sqrt(0.8284 * 0.1716 / 50_000)
    assert expected == pytest.approx(TINY.top1.standard_error)
    [note] = TINY.notes
    assert "50,000 images" in note


@pytest.mark.parametrize(
    "changed",
    [{"model": "large"}, {"model": "w8"}, {"num_classes": 10459}, {"model": "tiny-gf384"}],
)
def test_other_models_have_no_published_figures(changed: dict[str, Any]) -> None:
    """A 21k model, another width, another head, other filters: nothing to compare with."""
    evaluation = replace(TINY, **changed)
    assert (None, None, None) == (
        evaluation.published,
        evaluation.top1.published,
        evaluation.top5.standard_errors,
    )


def test_notes_say_what_limits_the_comparison() -> None:
    """A 21k head, few classes, a limit."""
    ten = dataset(10, 10, 400)
    few = replace(TINY, dataset=ten, tally=Tally(90, 80, 85, 10), answers=answers(ten, cut=10))
    assert any("images of 9 of the 1000 classes" in note for note in few.notes)
    assert 9 == few.classes
    assert "--limit: 100 of 500 images, spread evenly over all" in few.notes
    large = replace(TINY, model="large", num_classes=10459)
    assert any("of the 10459 outputs only the 1000" in note for note in large.notes)
    assert any("no published figures for large" in note for note in large.notes)


def test_one_image_is_one_image() -> None:
    """Of two, of which the other could not be read: of its class nothing was seen."""
    two = dataset(2, 1)
    evaluation = replace(TINY, dataset=two, tally=Tally(1, 1, 1, 1), answers=answers(two, cut=1))
    assert 1 == evaluation.to_json("a.pth")["classes"]
    assert evaluation.notes[-1].endswith("chance gives 1 image")


def test_what_was_skipped_is_counted_in_images() -> None:
    """A folder counts as its images, a row as one."""
    evaluation = replace(TINY, skipped=(Skipped("cats/", "?", 7), Skipped("a.jpg", "cut")))
    assert 8 == evaluation.skipped_images
    document = evaluation.to_json("a.pth")
    assert 8 == document["skipped_images"]
    assert {"where": "cats/", "reason": "?", "images": 7} == document["skipped"][0]
    assert ("pass", None) == (document["status"], document["error"])
    assert {"correct", "percent", "published", "difference", "standard_error",
            "difference_in_standard_errors"} == document["top1"].keys()  # fmt: skip
