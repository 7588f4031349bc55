"""predict: the most probable classes of each image, as the model alone would give them."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures import small
from hornet_convert.cli import run
from hornet_convert.errors import CheckFailedError, UsageError
from hornet_convert.family import labels
from hornet_convert.family.architecture import Architecture
from hornet_convert.images.predict import most_probable, predict
from hornet_convert.images.preprocess import preprocess
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.load import load_model
from tests.documents import parsed
from tests.usage.pictures import picture

Capture = pytest.CaptureFixture[str]


def document(capsys: Capture, arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and the one JSON document on stdout."""
    capsys.readouterr()
    code = run([*arguments, "--json"])
    result = parsed(capsys.readouterr().out)
    assert code == result["exit_code"]
    return code, result


@torch.inference_mode()
def directly(model: HorNet, path: Path, top: int) -> list[tuple[int, float]]:
    """Class numbers and probabilities of one image, by the definition of the softmax."""
    logits = model(torch.from_numpy(preprocess(path, 224)))[0].double()
    shares = (logits - logits.max()).exp()
    shares /= shares.sum()
    order = shares.argsort(descending=True)[:top]
    return [(int(number), float(shares[number])) for number in order]


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_predictions_are_the_models_own(ckpt: Path, pictures: Path, batch: int) -> None:
    """Numbers and probabilities, for any size of batch, in the order of the images."""
    model = load_model(ckpt)
    paths = [str(pictures / name) for name in ("e.gif", "a.jpg", "d.webp", "b.JPEG", "c.png")]
    results = list(predict(model, paths, top=7, batch=batch))
    assert paths == [result.path for result in results]
    for result in results:
        expected = directly(model, Path(result.path), 7)
        assert [number for number, _ in expected] == [p.number for p in result.predictions]
        probabilities = [probability for _, probability in expected]
        assert probabilities == pytest.approx([p.probability for p in result.predictions], rel=1e-4)


def test_names_come_from_the_list_of_the_head() -> None:
    """Of 1000 or 10459 classes; other heads have numbers only."""
    for count in (1000, 10459):
        logits = np.zeros((2, count), np.float32)
        logits[0, count - 1] = logits[1, 3] = 9.0
        (last, *_), (fourth, *_) = most_probable(logits, 5)
        classes = labels.classes(count) or ()
        assert (count - 1, classes[-1]) == (last.number, last.names)
        assert (3, classes[3]) == (fourth.number, fourth.names)
    assert None is most_probable(np.zeros((1, 10), np.float32), 5)[0][0].names


def test_no_more_classes_than_there_are(ckpt: Path, pictures: Path) -> None:
    """All of them, and their probabilities sum to 1."""
    [result] = predict(load_model(ckpt), [str(pictures / "a.jpg")], top=5000)
    assert 1000 == len({p.number for p in result.predictions})
    assert 1.0 == pytest.approx(sum(p.probability for p in result.predictions))


def test_the_resolution_is_the_models_or_the_one_asked_for(pictures: Path) -> None:
    """A model with filters for 64 pixels sees 64 × 64 pixels."""
    seen = []

    class Recorder(HorNet):
        """Writes down what it is given."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape))
            return super().forward(x)

    model = Recorder(Architecture.from_name("w8-gf64"), 10).requires_grad_(False)
    list(predict(model, [str(pictures / "a.jpg")]))
    list(predict(model, [str(pictures / "a.jpg")], resolution=96))
    assert [(1, 3, 64, 64), (1, 3, 96, 96)] == seen


def test_outputs_that_are_not_finite_are_a_failed_check(ckpt: Path, pictures: Path) -> None:
    """NaN has no largest class."""
    model = load_model(ckpt)
    with torch.no_grad():
        next(model.parameters())[0] = torch.nan
    with pytest.raises(CheckFailedError, match="not finite"):
        list(predict(model, [str(pictures / "a.jpg")]))


def test_a_model_without_a_classifier_is_refused(pictures: Path, tmp_path: Path) -> None:
    """It has features, and no classes."""
    path = small.write(tmp_path / "a.pth", "official-zip", "w8", num_classes=None)
    with pytest.raises(UsageError, match="no classifier"):
        list(predict(load_model(path), [str(pictures / "a.jpg")]))
    assert 2 == run(["predict", str(pictures / "a.jpg"), "--ckpt", str(path)])


def test_the_table_has_names_and_bars(capsys: Capture, ckpt: Path, pictures: Path) -> None:
    """A line per class: probability, bar, number, synset, words; the image above."""
    assert 0 == run(["predict", str(pictures / "a.jpg"), "--ckpt", str(ckpt), "--top", "3"])
    shown = capsys.readouterr().out.splitlines()
    assert str(pictures / "a.jpg") == shown[0].strip()
    classes = labels.classes(1000) or ()
    assert 4 == len(shown)
    for line, (number, share) in zip(
        shown[1:], directly(load_model(ckpt), pictures / "a.jpg", 3), strict=True
    ):
        assert f"{100 * share:.2f} %" in line
        assert f" {number}  {classes[number].synset}  {classes[number].words}" in line
    assert "▎" in shown[1] or "▏" in shown[1] or "█" in shown[1]


@pytest.mark.parametrize("head", ["1k", "21k"])
def test_json_has_everything(
    capsys: Capture, ckpt: Path, ckpt_21k: Path, pictures: Path, head: str
) -> None:
    """Class, synset, label, probability of every image of a folder; nothing else on stdout."""
    path, count = (ckpt, 1000) if head == "1k" else (ckpt_21k, 10459)
    code, found = document(capsys, ["predict", str(pictures), "--ckpt", str(path)])
    model: Any = found["about"]
    assert (0, "w8", count, None) == (code, model["model"], model["num_classes"], found["error"])
    assert (str(path), 224, "torch") == (model["checkpoint"], model["resolution"], model["engine"])
    names = ["a.jpg", "b.JPEG", "c.png", "d.webp", "e.gif"]
    assert names == [Path(image["path"]).name for image in found["results"]]
    model, classes = load_model(path), labels.classes(count) or ()
    for image in found["results"]:
        expected = directly(model, Path(image["path"]), 5)
        assert ("pass", None) == (image["status"], image["error"])
        assert [
            (number, classes[number].synset, classes[number].words) for number, _ in expected
        ] == [(p["class"], p["synset"], p["label"]) for p in image["predictions"]]


def test_a_bad_image_among_good_ones_is_named_and_skipped(
    capsys: Capture, ckpt: Path, pictures: Path, tmp_path: Path
) -> None:
    """In a folder: counted, exit 0. Named by the user: exit 4. The others are shown anyway."""
    picture(1).save(tmp_path / "good.jpg")
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    arguments = ["--ckpt", str(ckpt), "--top", "1"]
    assert 0 == run(["predict", str(tmp_path), *arguments])
    shown = capsys.readouterr()
    assert (
        f"{tmp_path}/cut.jpg: skipped, the image cannot be read: image file is trunc" in shown.out
    )
    assert "1 of 2 images skipped" in shown.out
    assert "Traceback" not in shown.out + shown.err
    files = [str(tmp_path / "cut.jpg"), str(tmp_path / "good.jpg")]
    assert 4 == run(["predict", *files, *arguments])
    code, found = document(capsys, ["predict", *files, *arguments])
    assert (4, ["error", "pass"]) == (code, [image["status"] for image in found["results"]])
    assert "not-an-image" == found["results"][0]["error"]["code"]
    assert found["results"][0]["error"] == found["error"]
    for images in (files[:1], [*files, *files[1:] * 6]):  # one or eight of them: all the same
        code, many = document(capsys, ["predict", *images, *arguments])
        assert (4, found["error"]) == (code, many["error"])
        assert found["results"][0] == many["results"][0]
        assert [0] * (len(images) - 1) == [each["exit_code"] for each in many["results"][1:]]
    code, found = document(capsys, ["predict", str(tmp_path), *arguments])
    assert (0, None, ["skipped", "pass"]) == (
        code, found["error"], [image["status"] for image in found["results"]],
    )  # fmt: skip
    assert "not-an-image" == found["results"][0]["error"]["code"]
    assert 1 == len(found["results"][1]["predictions"])
    (tmp_path / "good.jpg").unlink()
    assert 4 == run(["predict", str(tmp_path), *arguments])


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--ckpt", "{ckpt}"], 2, "Missing argument"),
        (["{pictures}"], 2, "no weights are named"),
        (["{pictures}", "--ckpt", "{ckpt}", "--model", "tiny"], 2, "both given"),
        (["{pictures}", "--model", "tinny"], 2, "no HorNet is called"),
        (["{pictures}", "--model", "tiny", "--ema"], 2, "--ema was given with --model"),
        (["{pictures}", "--ckpt", "{ckpt}", "--ema"], 2, "EMA"),
        (["{pictures}/none.jpg", "--ckpt", "{ckpt}"], 2, "no such file or folder"),
        (["{empty}", "--ckpt", "{ckpt}"], 2, "no image in this folder"),
        (["{pictures}", "--ckpt", "{ckpt}", "--top", "0"], 2, "--top"),
        (["{pictures}", "--ckpt", "{ckpt}", "--device", "abacus"], 2, "no such compute device"),
        (["{pictures}", "--ckpt", "{ckpt}", "--device", "cuda:99"], 2, "no such compute device"),
        (["{pictures}", "--ckpt", "{ckpt}", "--device", "meta"], 2, "no such compute device"),
        (["{pictures}", "--ckpt", "{pictures}/a.jpg"], 4, "a JPEG image"),
        (["{pictures}/notes.txt", "--ckpt", "{ckpt}"], 4, "not an image"),
        (["{pictures}", "--model", "tiny", "--offline", "--cache", "{empty}/c"], 3, "offline"),
    ],
)
def test_what_cannot_be_done_is_said(
    capsys: Capture, ckpt: Path, pictures: Path, tmp_path: Path,
    arguments: list[str], code: int, text: str,
) -> None:  # fmt: skip
    """With the documented exit code, and no traceback."""
    (tmp_path / "empty").mkdir()
    places = {"{ckpt}": ckpt, "{pictures}": pictures, "{empty}": tmp_path / "empty"}
    for place, path in places.items():
        arguments = [word.replace(place, str(path)) for word in arguments]
    assert code == run(["predict", *arguments])
    captured = capsys.readouterr()
    assert text.lower() in (captured.err + captured.out).lower()
    assert "Traceback" not in captured.err


def test_without_pillow_the_command_says_so(
    capsys: Capture, ckpt: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is fetched or loaded."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert 2 == run(["predict", str(pictures), "--model", "tiny", "--offline"])
    assert "pip install 'hornet-convert[images]'" in capsys.readouterr().err


def test_escape_sequences_in_file_names_stay_harmless(
    capsys: Capture, ckpt: Path, tmp_path: Path
) -> None:
    """A name is shown escaped."""
    picture(0).save(tmp_path / "\x1b[31mred.png")
    (tmp_path / "bad\x1b[2J.png").write_bytes(b"x")
    assert 0 == run(["predict", str(tmp_path), "--ckpt", str(ckpt)])
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "\\x1b[31mred.png" in captured.out


def test_a_model_in_training_is_set_to_evaluate(pictures: Path) -> None:
    """Nothing is dropped at random: the same image, the same answer."""
    model = HorNet(Architecture.from_name("w8"), 10, drop_path_rate=0.9, layer_scale_init=1.0)
    assert model.training
    item, two = (list(predict(model, [str(pictures / "a.jpg")])) for _ in range(2))
    assert item == two
    assert not model.training
