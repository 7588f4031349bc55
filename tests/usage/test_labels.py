"""The class lists: complete, in the published order, and the map between them right."""

import pytest

from hornet_convert.family import labels


@pytest.mark.parametrize("count", [labels.IN1K_CLASSES, labels.IN21K_CLASSES])
def test_a_list_names_every_row_once(count: int) -> None:
    """As many classes as rows, no synset twice, every class with words."""
    classes = labels.classes(count) or ()
    assert count == len(classes) == len({each.synset for each in classes})
    assert all(each.words.strip() == each.words != "" for each in classes)
    assert all(len(each.synset) == 9 and each.synset[0] == "n" for each in classes)


def test_known_classes_stand_where_everybody_knows_them() -> None:
    """Spot checks against what every user of ImageNet knows by heart."""
    classes = labels.classes(1000) or ()
    assert ("n01440764", "tench, Tinca tinca") == (classes[0].synset, classes[0].words)
    assert "n02504458" == classes[386].synset  # African elephant
    assert "n15075141" == classes[999].synset  # toilet tissue
    assert sorted(each.synset for each in classes) == [each.synset for each in classes]
    assert 281 == labels.in1k_index()["n02123045"]  # tabby


def test_the_map_leads_to_the_same_synset() -> None:
    """Each of the 1000 classes is the class of the 21k list that the map points to."""
    rows = labels.in1k_rows(labels.IN21K_CLASSES) or ()
    small, large = labels.classes(1000) or (), labels.classes(10459) or ()
    assert [each.synset for each in small] == [large[row].synset for row in rows]
    assert list(range(10450, 10459)) == sorted(rows)[-9:]


def test_other_heads_have_no_list() -> None:
    """Nothing is guessed for a head of another size."""
    assert (None, None) == (labels.classes(10), labels.in1k_rows(10))
    assert (None, None) == (labels.classes(21841), labels.in1k_rows(21841))
    assert tuple(range(1000)) == labels.in1k_rows(1000)
