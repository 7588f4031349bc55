"""Which images are meant, and which class each is of."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hornet_convert.errors import DiskError, FileRefusedError, UsageError
from hornet_convert.images.dataset import read_dataset
from hornet_convert.images.files import chosen
from hornet_convert.images.samples import Dataset, Sample, Skipped

TENCH, TABBY, TISSUE = "n01440764", "n02123045", "n15075141"  # classes 0, 281 and 999


def touch(root: Path, *names: str) -> Path:
    """Make empty files below `root`: finding opens none of them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def labelled(dataset: Dataset) -> list[tuple[str, int]]:
    """The samples, by paths from the root."""
    return [(dataset.shown(sample.path), sample.label) for sample in dataset.samples]


def test_a_few_class_folders_keep_their_numbers(tmp_path: Path) -> None:
    """The third of three folders is class 999, not class 2."""
    touch(
        tmp_path, f"{TISSUE}/a.JPEG", f"{TENCH}/b.jpg", f"{TABBY}/sub/c.PNG", f"{TABBY}/readme.txt"
    )
    for num_classes in (1000, 10459):
        dataset = read_dataset(tmp_path, num_classes)
        assert [
            (f"{TENCH}/b.jpg", 0),
            (f"{TABBY}/sub/c.PNG", 281),
            (f"{TISSUE}/a.JPEG", 999),
        ] == labelled(dataset)
        assert (1000, ()) == (dataset.num_classes, dataset.skipped)


def test_a_folder_may_carry_the_words_too(tmp_path: Path) -> None:
    """As in Stanford Dogs, and as people rename them."""
    touch(tmp_path, f"{TENCH}-tench/a.jpg", f"{TABBY}_tabby cat/a.jpg", f"{TISSUE}x/a.jpg")
    dataset = read_dataset(tmp_path, 1000)
    assert [0, 281] == [sample.label for sample in dataset.samples]
    assert (Skipped(f"{TISSUE}x/", "the folder's name is no synset", 1),) == dataset.skipped


def test_what_is_no_class_is_named_and_counted(tmp_path: Path) -> None:
    """Unknown folders, classes outside of ImageNet-1k, empty folders, images beside the folders."""
    touch(tmp_path, f"{TENCH}/a.jpg", "cats/a.jpg", "cats/b.jpg", "n00005787/a.jpg", "x.png")
    touch(tmp_path, f"{TABBY}/note.txt", ".hidden/a.jpg", f"{TENCH}/._a.jpg")
    dataset = read_dataset(tmp_path, 1000)
    assert [(f"{TENCH}/a.jpg", 0)] == labelled(dataset)
    assert {
        Skipped("cats/", "the folder's name is no synset", 2),
        Skipped("n00005787/", "no class of ImageNet-1k", 1),
        Skipped(f"{TABBY}/", "no image in the folder", 0),
        Skipped("./", "images outside the class folders", 1),
    } == set(dataset.skipped)


def test_linked_class_folders_count_and_loops_end(tmp_path: Path) -> None:
    """A subset made of links is a data set; a link to a parent is not followed for ever."""
    touch(tmp_path / "all", f"{TENCH}/a.jpg")
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / TENCH).symlink_to(tmp_path / "all" / TENCH)
    (tmp_path / "all" / TENCH / "loop").symlink_to(tmp_path / "all" / TENCH)
    assert [(f"{TENCH}/a.jpg", 0)] == labelled(read_dataset(tmp_path / "some", 1000))


def test_a_folder_that_cannot_be_read_matters_only_if_it_is_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data set on a disk of its own has `lost+found` beside the classes."""
    touch(tmp_path, f"{TENCH}/a.jpg", "lost+found/x", f"{TABBY}/b.jpg")
    scandir, closed = os.scandir, {str(tmp_path / "lost+found")}

    def guarded(path: str) -> Iterator[os.DirEntry[str]]:
        if path in closed:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert [0, 281] == [sample.label for sample in read_dataset(tmp_path, 1000).samples]
    closed.add(str(tmp_path / TABBY))
    with pytest.raises(DiskError) as caught:
        read_dataset(tmp_path, 1000)
    assert (str(tmp_path / TABBY), "Permission denied") == (caught.value.where, caught.value.found)


@pytest.mark.parametrize(
    ("names", "found", "hint"),
    [
        ((), "no folder and no image", "Name the folders by synset"),
        (("a.jpg", "b.jpg"), "2 images that lie in no class folder", "CSV file"),
        (("cat/a.jpg", "dog/b.jpg"), "folders cat, dog", "Name the folders by synset"),
        ((f"val/{TENCH}/a.jpg", "train/x.txt"), "folders train, val", "Did you mean {root}/val?"),
        (tuple(f"{i}/a.jpg" for i in range(9)), "folders 0, 1, 2, 3, 4 and 4 more", "synset"),
    ],
)
def test_a_folder_without_classes_is_refused(
    tmp_path: Path, names: tuple[str, ...], found: str, hint: str
) -> None:
    """With what was found in it, and what may have been meant."""
    touch(tmp_path, *names)
    with pytest.raises(UsageError, match="no class folder") as caught:
        read_dataset(tmp_path, 1000)
    assert found == caught.value.found
    assert hint.format(root=tmp_path) in (caught.value.hint or "")


def test_class_folders_without_images_are_refused(tmp_path: Path) -> None:
    """There is nothing to evaluate."""
    touch(tmp_path, f"{TENCH}/a.txt")
    with pytest.raises(UsageError, match="hold no image"):
        read_dataset(tmp_path, 1000)


def test_folders_need_a_model_of_imagenet(tmp_path: Path) -> None:
    """Synsets mean nothing to a head of ten classes."""
    touch(tmp_path, f"{TENCH}/a.jpg")
    with pytest.raises(UsageError, match="10 classes of this model"):
        read_dataset(tmp_path, 10)


def test_paths_that_are_nothing_are_usage_errors(tmp_path: Path) -> None:
    """Missing, or a device."""
    for path in (tmp_path / "missing", tmp_path / "a\0b", Path("/dev/null")):
        with pytest.raises(UsageError):
            read_dataset(path, 1000)


CSV = f"""a.jpg,{TENCH}
sub/b.jpg,281

"with, comma.png", 999
"""


@pytest.mark.parametrize("titles", ["", "path,label\n", "\ufeffFilename,WNID\r\n"])
def test_a_csv_names_images_and_classes(tmp_path: Path, titles: str) -> None:
    """By synset or by number, from its own folder, with titles or without."""
    touch(tmp_path, "a.jpg", "sub/b.jpg", "with, comma.png")
    (tmp_path / "list.csv").write_text(titles + CSV, "utf-8", newline="")
    dataset = read_dataset(tmp_path / "list.csv", 1000)
    assert [("a.jpg", 0), ("sub/b.jpg", 281), ("with, comma.png", 999)] == labelled(dataset)
    assert () == dataset.skipped


def test_a_val_txt_has_the_label_last(tmp_path: Path) -> None:
    """After spaces or a tab, whatever the path: with spaces, commas, quotes in it."""
    touch(tmp_path, "val/a.JPEG", "b  c 5.jpg", 'it, "s".png')
    (tmp_path / "val.txt").write_text(
        f'val/a.JPEG 65\n\nb  c 5.jpg  {TENCH}\nit, "s".png\t999 \nval/a.JPEG\ngone 1\n'
    )
    dataset = read_dataset(tmp_path / "val.txt", 1000)
    assert [("val/a.JPEG", 65), ("b  c 5.jpg", 0), ('it, "s".png', 999)] == labelled(dataset)
    assert [
        Skipped("line 5", "2 columns expected, 1 found"), Skipped("line 6", "no such file: gone"),
    ] == [*dataset.skipped]  # fmt: skip


def test_a_csv_may_be_named_txt(tmp_path: Path) -> None:
    """And its paths may end in a number."""
    touch(tmp_path, "a 1.jpg", "b 2")
    (tmp_path / "list.txt").write_text(f"path,label\na 1.jpg, {TENCH}\nb 2,281\n")
    dataset = read_dataset(tmp_path / "list.txt", 1000)
    assert [("a 1.jpg", 0), ("b 2", 281)] == labelled(dataset)


def test_titles_say_where_the_columns_are(tmp_path: Path) -> None:
    """Further columns do no harm when they have titles."""
    touch(tmp_path, "a.jpg")
    (tmp_path / "list.csv").write_text(f"id,label,note,image\n7,{TABBY},x,{tmp_path}/a.jpg\n")
    assert [("a.jpg", 281)] == labelled(read_dataset(tmp_path / "list.csv", 1000))


def test_bad_rows_are_named_by_line_and_left_out(tmp_path: Path) -> None:
    """Each with what is wrong with it."""
    touch(tmp_path, "a.jpg")
    rows = [
        "a.jpg,0", "a.jpg", "a.jpg,0,0", "a.jpg,1000", "a.jpg,-1", "a.jpg,tench", "a.jpg,n00005787",
        "gone.jpg,0", ",0", "a.jpg,1.5", "a.jpg,", f"{'x' * 5000},0", "a\x1b[31m.jpg,0",
    ]  # fmt: skip
    (tmp_path / "list.csv").write_text("\n".join(rows))
    dataset = read_dataset(tmp_path / "list.csv", 1000)
    assert [("a.jpg", 0)] == labelled(dataset)
    assert [f"line {number}" for number in range(2, 14)] == [each.where for each in dataset.skipped]
    reasons = [each.reason for each in dataset.skipped]
    assert [
        "2 columns expected, 1 found",
        "2 columns expected, 3 found",
        "there is no class 1000: they go from 0 to 999",
        "the label '-1' is neither a synset nor a class number",
        "the label 'tench' is neither a synset nor a class number",
        "n00005787 is not a class of ImageNet-1k",
        "no such file: gone.jpg",
        "no path",
        "the label '1.5' is neither a synset nor a class number",
        "the label '' is neither a synset nor a class number",
    ] == reasons[:10]
    assert all(reason.isprintable() and len(reason) < 300 for reason in reasons)


def test_other_heads_take_class_numbers(tmp_path: Path) -> None:
    """Of the model's own classes; synsets are refused with the reason."""
    touch(tmp_path, "a.jpg")
    (tmp_path / "list.csv").write_text(f"a.jpg,9\na.jpg,10\na.jpg,{TENCH}\n")
    dataset = read_dataset(tmp_path / "list.csv", 10)
    assert ([("a.jpg", 9)], 10) == (labelled(dataset), dataset.num_classes)
    assert [
        "there is no class 10: they go from 0 to 9",
        "the model's 10 classes have no synsets; give numbers",
    ] == [each.reason for each in dataset.skipped]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no rows"),
        (b"path,label\n", "no rows"),
        (b"gone.jpg,0\nalso.jpg,1\n", "line 1: no such file: gone.jpg"),
        (b"a.jpg;0\n", "line 1: 2 columns expected, 1 found"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "can't decode"),
        (b"a.jpg," + b"0" * 200_000, "field larger than field limit"),
    ],
)
def test_a_file_without_a_usable_row_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    """Empty, of other things, or no CSV at all: with the first reason."""
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(FileRefusedError) as caught:
        read_dataset(tmp_path / "list.csv", 1000)
    assert found in (caught.value.found or "")
    assert caught.value.hint


def test_a_limit_is_spread_over_all_classes(tmp_path: Path) -> None:
    """Four of twelve images are one of each class, not all of the first."""
    samples = tuple(Sample(f"{label}/{i}.jpg", label) for label in range(4) for i in range(3))
    dataset = Dataset(tmp_path, tmp_path, 1000, samples)
    assert [0, 1, 2, 3] == [sample.label for sample in dataset.limited(4).samples]
    assert samples == dataset.limited(12).samples == dataset.limited(99).samples
    assert samples == dataset.limited(None).samples
    for limit in range(1, 12):
        assert limit == len(set(dataset.limited(limit).samples))


@pytest.mark.parametrize("total", [1, 2, 3, 10, 97, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_sample_is_in_exactly_one_share(tmp_path: Path, total: int, count: int) -> None:
    """Of any number of processes, also of more than there are samples; shares are even."""
    samples = tuple(Sample(f"{i}.jpg", i) for i in range(total))
    dataset = Dataset(tmp_path, tmp_path, total, samples)
    shares = [dataset.share(rank, count) for rank in range(count)]
    together = [sample.label for share in shares for sample in share]
    assert list(range(total)) == sorted(together)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_stretch_of_a_share_is_spread_over_all_classes(tmp_path: Path) -> None:
    """After a tenth of the images there were some of each of ten classes."""
    samples = tuple(Sample(f"{i}.jpg", i // 50) for i in range(500))
    share = Dataset(tmp_path, tmp_path, 10, samples).share()
    for start in range(0, 500, 50):
        assert 10 == len({sample.label for sample in share[start : start + 50]})


def test_the_digest_depends_on_paths_and_labels_not_on_the_root(tmp_path: Path) -> None:
    """Two machines with a copy of the same images agree; any other image or label shows."""

    def digest(root: str, *samples: tuple[str, int]) -> str:
        ours = tuple(Sample(f"{root}/{name}", label) for name, label in samples)
        return Dataset(Path(root), Path(root), 1000, ours).digest()

    item = digest("/data/val", ("a.jpg", 0), ("b.jpg", 1))
    assert item == digest("/mnt/x", ("a.jpg", 0), ("b.jpg", 1))
    assert item != digest("/data/val", ("a.jpg", 0), ("b.jpg", 2))
    assert item != digest("/data/val", ("a.jpg", 0), ("c.jpg", 1))
    assert item != digest("/data/val", ("a.jpg", 0))
    assert digest("/d", ("x" * 999 + "1", 0)) != digest("/d", ("x" * 999 + "2", 0))
    assert 64 == len(digest("/d", ("\udcff.jpg", 0)))


def test_images_are_files_and_folders_in_the_order_given(tmp_path: Path) -> None:
    """A folder stands for what is below it, sorted; a file for itself, whatever its name."""
    touch(tmp_path, "f/b.JPG", "f/a.png", "f/sub/c.webp", "f/x.txt", "photo")
    found = chosen([tmp_path / "photo", tmp_path / "f"])
    names = [str(Path(image.path).relative_to(tmp_path)) for image in found]
    assert ["photo", "f/a.png", "f/b.JPG", "f/sub/c.webp"] == names
    assert [True, False, False, False] == [image.named for image in found]


def test_no_images_is_a_usage_error(tmp_path: Path) -> None:
    """An empty folder, or a path to nothing."""
    touch(tmp_path, "x.txt")
    with pytest.raises(UsageError, match="no image in this folder"):
        chosen([tmp_path])
    with pytest.raises(UsageError, match="no such file or folder"):
        chosen([tmp_path / "x.txt" / "y.jpg"])
