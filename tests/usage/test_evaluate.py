"""eval: Top-1 and Top-5 are what a direct computation gives, whatever the way it is run."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hornet_convert.cli import run
from hornet_convert.errors import UsageError
from hornet_convert.family import labels
from hornet_convert.images.dataset import read_dataset
from hornet_convert.images.evaluate import evaluate, judge
from hornet_convert.images.evaluation import Tally
from hornet_convert.images.files import ImageRefusedError
from hornet_convert.images.preprocess import preprocess
from hornet_convert.images.processes import Processes, ProcessGroupError, joined
from hornet_convert.images.samples import Sample
from hornet_convert.model.load import load_model
from tests.documents import only
from tests.usage.pictures import picture

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def scores(ckpt: Path, ckpt_21k: Path, pictures: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Logits of every picture by name, for both heads, one image at a time."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, torch.Tensor]] = {}
    for head, path in (("1k", ckpt), ("21k", ckpt_21k)):
        model = load_model(path)
        with torch.inference_mode():
            found[head] = {
                image.name: model(torch.from_numpy(preprocess(image)))[0]
                for image in sorted(pictures.iterdir())
                if image.suffix != ".txt"
            }
    return found


def expected_tally(
    scores: dict[str, torch.Tensor], images: list[tuple[str, int]], rows: tuple[int, ...]
) -> Tally:
    """How many targets come first and among the first five, found by counting what is larger."""
    ranks = []
    for name, label in images:
        chosen = [float(scores[name][row]) for row in rows]
        ranks.append(sum(score > chosen[label] for score in chosen))
    return Tally(len(ranks), sum(rank < 1 for rank in ranks), sum(rank < 5 for rank in ranks))


@pytest.fixture(scope="module")
def images(scores: dict[str, dict[str, torch.Tensor]]) -> list[tuple[str, int]]:
    """Pictures with labels: of each the first, third, fifth, sixth and last choice of the model."""
    chosen = []
    for name, logits in scores["1k"].items():
        order = logits.argsort(descending=True).tolist()
        chosen += [(name, order[rank]) for rank in (0, 2, 4, 5, 999)]
    return chosen


@pytest.fixture
def folder(tmp_path: Path, pictures: Path, images: list[tuple[str, int]]) -> Path:
    """The pictures in class folders by synset."""
    classes = labels.classes(1000) or ()
    for name, label in images:
        (tmp_path / "val" / classes[label].synset).mkdir(parents=True, exist_ok=True)
        (tmp_path / "val" / classes[label].synset / name).hardlink_to(pictures / name)
    return tmp_path / "val"


def document(capsys: Capture, arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and the one JSON document on stdout."""
    capsys.readouterr()
    code = run([*arguments, "--json"])
    return code, only(capsys.readouterr().out)


def figures(found: dict[str, Any]) -> Tally:
    """The tally in a document."""
    return Tally(
        found["images"], found["top1"]["correct"], found["top5"]["correct"], found["skipped_images"]
    )


def test_judging_counts_the_first_and_the_first_five() -> None:
    """Row by row; models of fewer than five classes have all among the first five."""
    logits = np.array([[9.0, 8, 7, 6, 5, 4], [4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 6]])
    answers = judge(logits, [Sample("a", 0), Sample("b", 1), Sample("c", 0)])
    assert Tally(3, 1, 2) == Tally.of(answers)
    assert [1, 5, 6] == [answer.rank for answer in answers]
    assert [5, 4, 3, 2, 1] == [number for number, _ in answers[1].best]
    whole = np.exp(logits).sum(1)
    assert [p for _, p in answers[0].best] == pytest.approx(np.exp(logits[0, :5]) / whole[0])
    few = judge(np.array([[1.0, 2], [2, 1]]), [Sample("a", 1), Sample("b", 1)])
    assert Tally(2, 1, 2) == Tally.of(few)
    assert [2, 2] == [len(answer.best) for answer in few]


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_tally_is_the_direct_one(
    ckpt: Path, folder: Path, images: list[tuple[str, int]],
    scores: dict[str, dict[str, torch.Tensor]], batch: int,
) -> None:  # fmt: skip
    """For any size of batch: five first choices, fifteen among the first five, of 25."""
    result = evaluate(load_model(ckpt), read_dataset(folder, 1000), batch=batch, workers=2)
    expected = expected_tally(scores["1k"], images, tuple(range(1000)))
    assert Tally(25, 5, 15) == expected == result.tally
    assert () == result.skipped


def test_a_21k_head_is_judged_by_its_1000_rows(
    capsys: Capture, ckpt_21k: Path, tmp_path: Path, pictures: Path,
    scores: dict[str, dict[str, torch.Tensor]],
) -> None:  # fmt: skip
    """The label is a class of ImageNet-1k; larger outputs for other classes do not matter."""
    rows = labels.in1k_rows(10459) or ()
    images = []
    for name, logits in scores["21k"].items():
        order = logits[list(rows)].argsort(descending=True).tolist()
        images += [(name, order[rank]) for rank in (0, 4, 5)]
        assert int(logits.argmax()) not in rows  # else nothing would be seen
    listing = tmp_path / "list.csv"
    listing.write_text("".join(f"{pictures / name},{label}\n" for name, label in images))
    code, found = document(capsys, ["eval", str(listing), "--ckpt", str(ckpt_21k)])
    expected = expected_tally(scores["21k"], images, rows)
    assert (0, Tally(15, 5, 10)) == (code, figures(found))
    assert expected == figures(found)
    assert any("of the 10459 outputs only the 1000" in note for note in found["notes"])


def test_folders_and_csv_give_the_same(
    capsys: Capture, ckpt: Path, folder: Path, tmp_path: Path, pictures: Path,
    images: list[tuple[str, int]],
) -> None:  # fmt: skip
    """And the JSON says on what: model, data, classes, resolution."""
    classes = labels.classes(1000) or ()
    listing = tmp_path / "list.csv"
    rows = [f"{pictures / name},{classes[label].synset}" for name, label in images]
    listing.write_text("path,label\n" + "\n".join(rows))
    by_folder = document(capsys, ["eval", str(folder), "--ckpt", str(ckpt), "--workers", "2"])
    by_csv = document(capsys, ["eval", str(listing), "--ckpt", str(ckpt), "--batch", "4"])
    assert (0, 0) == (by_folder[0], by_csv[0])
    assert Tally(25, 5, 15) == figures(by_folder[1]) == figures(by_csv[1])
    found = by_folder[1]
    assert ("pass", "w8", 1000, 224, 1, "cpu") == tuple(
        found[key]
        for key in ("status", "model", "num_classes", "resolution", "processes", "device")
    )
    assert len({label for _, label in images}) == found["classes"]
    assert (20.0, 60.0) == (found["top1"]["percent"], found["top5"]["percent"])


def test_bad_images_are_named_counted_and_left_out(
    capsys: Capture, ckpt: Path, folder: Path
) -> None:
    """A cut JPEG, an empty file, an unknown class: the figures are of the rest, exit 0."""
    first = sorted(folder.iterdir())[0]
    (first / "empty.png").touch()
    picture(1).save(first / "cut.jpg")
    (first / "cut.jpg").write_bytes((first / "cut.jpg").read_bytes()[:1500])
    (folder / "cats").mkdir()
    picture(1).save(folder / "cats" / "tom.jpg")
    code, found = document(capsys, ["eval", str(folder), "--ckpt", str(ckpt), "--batch", "3"])
    assert (0, Tally(25, 5, 15, 3)) == (code, figures(found))
    assert {
        "cats/": "the folder's name is no synset",
        f"{first.name}/empty.png": "the file is empty",
    }.items() <= {each["where"]: each["reason"] for each in found["skipped"]}.items()
    assert 0 == run(["eval", str(folder), "--ckpt", str(ckpt)])
    shown = capsys.readouterr().out
    assert "25 images" in shown
    assert "3 skipped" in shown
    assert f"skipped {first.name}/cut.jpg: the image cannot be read: image file is trunc" in shown


def test_nothing_but_bad_images_is_refused(capsys: Capture, ckpt: Path, tmp_path: Path) -> None:
    """There is no share of nothing."""
    (tmp_path / "n01440764").mkdir()
    (tmp_path / "n01440764" / "a.jpg").write_bytes(b"x")
    with pytest.raises(ImageRefusedError, match="none of the images"):
        evaluate(load_model(ckpt), read_dataset(tmp_path, 1000))
    assert 4 == run(["eval", str(tmp_path), "--ckpt", str(ckpt)])
    assert "n01440764/a.jpg: not an image" in capsys.readouterr().err


def test_a_limit_evaluates_so_many_and_says_so(capsys: Capture, ckpt: Path, folder: Path) -> None:
    """Ten of 25."""
    code, found = document(capsys, ["eval", str(folder), "--ckpt", str(ckpt), "--limit", "10"])
    assert (0, 10, 25) == (code, found["images"], found["available_images"])
    assert "--limit: 10 of 25 images, spread evenly over all" in found["notes"]


def test_labels_for_another_head_are_refused(ckpt: Path, ckpt_21k: Path, folder: Path) -> None:
    """Numbers of ten classes mean other things to a model of 1000; 1k labels fit the 21k head."""
    from dataclasses import replace

    dataset = read_dataset(folder, 1000).limited(2)
    assert 2 == evaluate(load_model(ckpt_21k), dataset).tally.images
    with pytest.raises(UsageError, match="labelled for another model"):
        evaluate(load_model(ckpt), replace(dataset, num_classes=10))


def test_progress_has_a_running_figure(ckpt: Path, folder: Path) -> None:
    """After each batch, how many were right so far; at the end, the result."""
    told: list[Tally] = []
    result = evaluate(
        load_model(ckpt),
        read_dataset(folder, 1000),
        batch=10,
        progress=told.append,
    )
    assert [10, 20, 25] == [tally.images for tally in told]
    assert result.tally == told[-1]
    assert (5, 15) == (result.tally.top1, result.tally.top5)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "Missing argument"),
        (["{folder}"], 2, "no weights are named"),
        (["{folder}/none", "--ckpt", "{ckpt}"], 2, "no such file or folder"),
        (["{empty}", "--ckpt", "{ckpt}"], 2, "no class folder"),
        (["{empty}", "--model", "tiny", "--offline"], 2, "no class folder"),
        (["{parent}", "--ckpt", "{ckpt}"], 2, "Did you mean {folder}?"),
        (["{ckpt}", "--ckpt", "{ckpt}"], 4, "not a CSV file"),
        (["{folder}", "--ckpt", "{folder}"], 4, "a directory"),
        (["{folder}", "--ckpt", "{ckpt}", "--limit", "0"], 2, "--limit"),
        (["{folder}", "--ckpt", "{ckpt}", "--batch", "0"], 2, "--batch"),
        (["{folder}", "--ckpt", "{ckpt}", "--workers", "0"], 2, "--workers"),
        (["{folder}", "--ckpt", "{ckpt}", "--device", "warp"], 2, "no such compute device"),
    ],
)
def test_what_cannot_be_done_is_said(
    capsys: Capture, ckpt: Path, folder: Path, arguments: list[str], code: int, text: str
) -> None:
    """With the documented exit code, and no traceback."""
    (folder.parent / "empty").mkdir()
    places = {
        "{ckpt}": ckpt,
        "{folder}": folder,
        "{empty}": folder.parent / "empty",
        "{parent}": folder.parent,
    }
    for place, path in places.items():
        arguments = [word.replace(place, str(path)) for word in arguments]
        text = text.replace(place, str(path))
    assert code == run(["eval", *arguments])
    captured = capsys.readouterr()
    assert text.lower() in (captured.err + captured.out).lower()
    assert "Traceback" not in captured.err


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a list, by title."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_image(
    capsys: Capture, ckpt: Path, folder: Path, images: list[tuple[str, int]],
    scores: dict[str, dict[str, torch.Tensor]], tmp_path: Path,
) -> None:  # fmt: skip
    """Its class, where that came, the first five with their probabilities; what was not read."""
    (folder / "n01440764").mkdir(exist_ok=True)
    (folder / "n01440764" / 'a, "bad" one.jpg').touch()
    listing = tmp_path / "list.csv"
    command = ["eval", str(folder), "--ckpt", str(ckpt), "--csv", str(listing), "--batch", "4"]
    code, found = document(capsys, command)
    rows, classes = rows_of(listing), labels.classes(1000) or ()
    assert 0 == code
    assert sorted(row["path"] for row in rows) == [row["path"] for row in rows]
    [bad] = [row for row in rows if row["error"]]
    assert ('n01440764/a, "bad" one.jpg', "0", "", "", "the file is empty") == tuple(
        bad[title] for title in ("path", "truth", "rank", "class_1", "error")
    )
    rows.remove(bad)
    expected = {
        f"{classes[label].synset}/{name}": (scores["1k"][name].softmax(0), label)
        for name, label in images
    }
    assert expected.keys() == {row["path"] for row in rows}
    for row in rows:
        shares, label = expected[row["path"]]
        best = shares.argsort(descending=True).tolist()
        assert (str(label), str(1 + best.index(label))) == (row["truth"], row["rank"])
        assert row["correct"] == ("true" if best[0] == label else "false")
        assert row["truth_label"] == classes[label].words
        for place, number in enumerate(best[:5], 1):
            named = (str(number), classes[number].synset, classes[number].words)
            assert named == tuple(row[f"{t}_{place}"] for t in ("class", "synset", "label"))
            assert float(row[f"probability_{place}"]) == pytest.approx(float(shares[number]), 1e-4)
    assert found["top1"]["correct"] == sum(row["correct"] == "true" for row in rows)
    assert found["top5"]["correct"] == sum(int(row["rank"]) <= 5 for row in rows)


def test_a_list_replaces_a_list_and_nothing_else(
    capsys: Capture, ckpt: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one that the labels come from, which was named by mistake: exit 5, nothing begun."""
    ours, theirs = tmp_path / "ours.csv", tmp_path / "labels.csv"
    image = next(path for path in folder.rglob("*.jpg"))
    theirs.write_text(f"path,label\n{image},5\n")
    command = ["eval", str(theirs), "--ckpt", str(ckpt), "--csv"]
    assert [0, 0] == [run([*command, str(ours)]) for _ in range(2)]
    assert 1 == len(rows_of(ours))
    capsys.readouterr()
    monkeypatch.setattr("hornet_convert.images.evaluate.evaluate", None)
    for more, what in (([str(theirs)], "list"), ([str(ours), "--report", str(theirs)], "report")):
        assert 5 == run([*command, *more])
        assert f"would replace a file that is not a {what}" in capsys.readouterr().err
    assert 2 == run([*command, str(ours), "--report", f"{tmp_path}/./ours.csv"])
    assert "--report and --csv name the same file" in capsys.readouterr().err
    assert theirs.read_text() == f"path,label\n{image},5\n"


def test_classes_that_are_confused_are_named(
    capsys: Capture, ckpt: Path, tmp_path: Path, pictures: Path,
    scores: dict[str, dict[str, torch.Tensor]],
) -> None:  # fmt: skip
    """The most frequent pair first, with how many of the class; once is not shown on stdout."""
    orders = {n: s.argsort(descending=True).tolist() for n, s in scores["1k"].items()}
    first, second = orders["a.jpg"][:2]
    other = next(n for n in orders["b.JPEG"][1:] if n not in (first, second))
    rows = [("a.jpg", second)] * 2 + [("a.jpg", first), ("b.JPEG", other)]
    listing = tmp_path / "val.txt"
    listing.write_text("".join(f"{pictures / name} {label}\n" for name, label in rows))
    code, found = document(capsys, ["eval", str(listing), "--ckpt", str(ckpt)])
    assert 0 == code
    classes = labels.classes(1000) or ()
    assert {
        "truth": {
            "class": second, "synset": classes[second].synset, "label": classes[second].words,
        },
        "predicted": {
            "class": first, "synset": classes[first].synset, "label": classes[first].words,
        },
        "images": 2,
        "of": 2,
    } == found["confusions"][0]  # fmt: skip
    assert 1 == found["confusions"][1]["images"]
    assert 2 == len(found["confusions"])
    assert 0 == run(["eval", str(listing), "--ckpt", str(ckpt)])
    shown = capsys.readouterr().out
    [row] = [line for line in shown.splitlines() if " of " in line and "images" not in line]
    assert row.split()[0] == str(second)
    assert row.endswith("2 of 2")


def start(rank: int, port: int, *command: str) -> subprocess.Popen[str]:
    """Python as one process of two, as torchrun starts it."""
    return subprocess.Popen(
        [sys.executable, *command],
        env={
            **os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_count_every_image_once(ckpt: Path, folder: Path) -> None:
    """An odd number of images, a bad one among them: the sum is that of one process alone."""
    first = sorted(folder.iterdir())[0]
    (first / "bad.jpg").write_bytes(b"x")
    (first / "worse.jpg").write_bytes(b"")
    port = free_port()
    command = ["-m", "hornet_convert", "eval", str(folder), "--ckpt", str(ckpt), "--json"]
    listing = folder.parent / "list.csv"
    both = [start(rank, port, *command, "--csv", str(listing)) for rank in (0, 1)]
    (out, err), (other_out, other_err) = (process.communicate(timeout=300) for process in both)
    assert [0, 0] == [process.returncode for process in both], err + other_err
    assert "" == other_out
    rows = rows_of(listing)
    assert 27 == len({row["path"] for row in rows}) == len(rows)
    found = only(out)
    assert (2, Tally(25, 5, 15, 2)) == (found["processes"], figures(found))
    assert [f"{first.name}/bad.jpg", f"{first.name}/worse.jpg"] == [
        each["where"] for each in found["skipped"]
    ]


def test_a_lost_process_is_an_error_of_its_own() -> None:
    """Neither a file that is refused nor a source that is unreachable: exit code 6."""
    program = (
        "import os\n"
        "from hornet_convert.images.processes import ProcessGroupError, joined\n"
        "with joined() as processes:\n"
        "    processes.gather(processes.rank)\n"
        "    if processes.rank == 1:\n"
        "        os._exit(0)\n"
        "    try:\n"
        "        processes.gather('again')\n"
        "    except ProcessGroupError as error:\n"
        "        print(error.code, error.exit_code)\n"
    )
    port = free_port()
    first, lost = (start(rank, port, "-c", program) for rank in (0, 1))
    lost.communicate(timeout=300)
    out, err = first.communicate(timeout=300)
    assert "process-group 6\n" == out, err


class Disagreeing(Processes):
    """Two processes, of which the other has other images."""

    def gather(self, part: Any) -> list[Any]:
        """What this one gives, and something else."""
        return [part, f"not {part}"]


def test_processes_with_other_images_are_refused(ckpt: Path, folder: Path) -> None:
    """Two machines that do not have the same images cannot count each image once."""
    with pytest.raises(UsageError, match="do not have the same images") as caught:
        evaluate(load_model(ckpt), read_dataset(folder, 1000), processes=Disagreeing(0, 2))
    assert "in process 1 than in process 0" in (caught.value.found or "")


@pytest.mark.parametrize(
    "environment",
    [
        {"WORLD_SIZE": "two"},
        {"WORLD_SIZE": "0"},
        {"WORLD_SIZE": "2", "RANK": "2"},
        {"WORLD_SIZE": "2", "RANK": "-1"},
    ],
)
def test_nonsense_in_the_environment_is_a_usage_error(environment: dict[str, str]) -> None:
    """It is said which variable makes none."""
    with pytest.raises(UsageError) as caught, joined(environment):
        pass
    assert any(name in str(caught.value) for name in environment)


def test_one_process_is_alone() -> None:
    """Without the variables, or with one process, nothing is opened."""
    for environment in ({}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": ""}):
        with joined(environment) as processes:
            assert Processes() == processes
            assert [{"a": 1}] == processes.gather({"a": 1})


def test_others_that_cannot_be_met_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address to meet at: said, not raised through."""
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ProcessGroupError), joined({"WORLD_SIZE": "2", "RANK": "1"}):
        pass
