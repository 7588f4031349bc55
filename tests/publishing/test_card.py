"""The card: what the Hub reads of it, and that it claims nothing that was not checked."""

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from fixtures import small
from hornet_convert.api.fetch import Download
from hornet_convert.api.publish import publish
from hornet_convert.cli import run
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Edits, Onnx, Request
from hornet_convert.download.cache import Cache
from hornet_convert.family import zoo
from hornet_convert.publishing.card import card
from hornet_convert.report.claims import Claim
from hornet_convert.report.report import Report
from tests.documents import provenance
from tests.publishing.folders import files


def read(folder: Path) -> tuple[Any, str]:
    """What the Hub's own library reads at the top, and the rest in one line."""
    found = ModelCard.load(folder / "README.md")
    return found.data, re.sub(r"\s+", " ", found.text)


def downloads(tmp_path: Path) -> Download:
    """A cache of its own, and the mirror alone."""
    return Download(Cache.at(tmp_path / "cache"), (str(tmp_path / "mirror"),), "mirror")


def test_of_what_nobody_knows(made: Path) -> None:
    """No licence, data or figures, and the reason; what was checked is listed."""
    data, text = read(made)
    told = (data.license, data.library_name, data.pipeline_tag, data.datasets, data.eval_results)
    assert told == ("unknown", "hornet-convert", "image-classification", None, None)
    assert {"hornet", "safetensors", "onnx"} < set(data.tags)
    assert "is **consistent**. Nothing contradicts" in text
    for what in ("Where its weights were trained", "Whether it is the licence of these"):
        assert (
            f"not checked, because nothing ties them to {'a' if 'Where' in what else 'that'}"
            in (text.partition(what)[2][:120])
        )
    assert "| accuracy |" in text
    assert "Accuracy, as published" not in text
    assert "| forward | The reference model computes" in text
    assert "| runtime |" in text
    assert "none of the nine that are registered" in text
    fingerprint = checks_in(provenance((made / "model.json").read_text()))["fingerprint"]
    assert f"Fingerprint of the weights here: `{fingerprint}`" in text


def test_of_a_published_model(published: zoo.Published, tmp_path: Path) -> None:
    """Licence, data, and figures that are marked; the same when it is made again from the cache."""
    out = tmp_path / "out"
    report = publish("w8", Request(out), settings=downloads(tmp_path), forward=False)
    assert report, report.first_failure
    data, text = read(out)
    assert (data.license, data.datasets) == ("mit", ["imagenet-1k"])
    assert {82.84, 96.24} == {each.metric_value for each in data.eval_results}
    for each in data.eval_results:
        assert (each.task_type, each.dataset_type) == ("image-classification", "imagenet-1k")
        assert "as published by the authors, not measured" in each.metric_name
        assert each.source_name == "Published by the authors, not measured"
        assert not each.verified
    assert "is **identified** by the published file name of HorNet-T" in text
    assert "These figures were not measured here." in text
    assert (
        "| forward | The reference model computes with the remapped weights what the source" in text
    )
    assert "not checked, because \\-\\-no-forward" in text or "not checked, because --no-" in text
    assert "hf-hub:ORG/REPO" in text
    first = files(out)
    again = publish("w8", Request(out), settings=downloads(tmp_path), forward=False)
    assert "the model was there already, the same" in again.notes
    assert again.verdict is not None
    assert again.verdict.word == "seen before"  # which is nothing to strangers
    assert first == files(out)
    assert not [name for name, data in first.items() if str(tmp_path).encode() in data]


@pytest.mark.parametrize("row", zoo.MODELS, ids=lambda row: row.name)
@pytest.mark.parametrize("edits", [(), ("in1k-head", "224to384px", "bfloat16")])
def test_of_each_of_the_nine(row: zoo.Published, edits: tuple[str, ...]) -> None:
    """What a file with the published digits is told to be, whole and edited."""
    classes = 1000 if edits or row.dataset == "in1k" else 10459
    made = {"model": row.name, "num_classes": classes, "fingerprint": "f" * 64}
    told = Report(
        model=row.name,
        sha256=row.sha8 + "0" * 56,
        container="legacy",
        layout="openmmlab",
        conversion={**made, "edits": list(edits), "drift": None},
    )
    source = {"file": row.file_name, "url": row.openmmlab_url}
    text = card(told, source, {"LICENSE": "0" * 64}, chosen=False, repository="org/repo")
    data: Any = ModelCard(text).data
    assert (data.license, data.datasets) == ("mit", [f"imagenet-{row.dataset[2:]}"])
    assert bool(data.eval_results) == (row.top1 is not None and not edits)
    parts = (row.label, row.authors_name, row.openmmlab_url, '"hf-hub:org/repo"', f"{classes:,}")
    assert all(part in text for part in parts)
    assert ("Accuracy, as published" in text) == (row.top1 is not None)
    assert ("\n- of the ImageNet-21k classifier the 1000 rows" in text) == bool(edits)
    assert ("num_classes=10459" in text) == (classes == 10459)


@pytest.mark.parametrize("edits", [Edits(dtype="float16"), Edits(head="none")])
def test_of_edited_weights(published: zoo.Published, tmp_path: Path, edits: Edits) -> None:
    """They say so, and the figures of the others are not theirs."""
    out = tmp_path / "out"
    assert publish("w8", Request(out, edits=edits), settings=downloads(tmp_path))
    data, text = read(out)
    assert data.eval_results is None
    assert data.license == "mit"
    assert "**Edited: these are not the published weights as they were.**" in text
    assert "of the edited weights here nobody vouches" in text
    assert "not measured here, and not for edited weights." in text
    reason = "rounded to float16" if edits.dtype else "the classifier was left out"
    assert reason in text
    assert ("Rounding moved the outputs" in text) == bool(edits.dtype)
    assert "verdict" not in checks_in(provenance((out / "model.json").read_text()))


def test_other_weights_of_a_published_file(published: zoo.Published, tmp_path: Path) -> None:
    """Chosen by their prefix or key they need not be those that its name means."""
    file = tmp_path / "mirror" / published.file_name
    out = tmp_path / "out"
    assert publish(file, Request(out, key="state_dict"), forward=False)
    assert (read(out)[0].license, read(out)[0].eval_results) == ("unknown", None)
    assert publish(file, Request(tmp_path / "plain"), forward=False)
    assert read(tmp_path / "plain")[0].license == "mit"


def test_fine_tuned_weights_get_no_figures(published: zoo.Published, tmp_path: Path) -> None:
    """Of the same shapes, and others: the published figures stand there as what they are not."""
    mine = small.write(tmp_path / "mine.pth", "bare-zip", "w8", num_classes=1000, label="mine")
    assert publish(mine, Request(tmp_path / "out"), forward=False)
    data, text = read(tmp_path / "out")
    assert (data.license, data.datasets, data.eval_results) == ("unknown", None, None)
    assert "whether these weights are those they were measured with was not checked" in text


def test_another_copy_vouches_without_its_path(source: Path, tmp_path: Path) -> None:
    """And what a user typed is not told as an option."""
    copy = small.write(tmp_path / "copy.pth", "openmmlab-legacy", "w8-gf64")
    out, command = tmp_path / "out", ["publish", str(source), "--no-forward", "--out"]
    assert run([*command, str(out), "--against", str(copy), "--require", "authentic"]) == 0
    assert "is **authentic** by another copy of it, copy.pth." in read(out)[1]
    assert not [name for name, data in files(out).items() if str(tmp_path).encode() in data]
    digest = "--sha256", publish_sha256(out)
    assert run([*command, str(tmp_path / "two"), *digest]) == 0
    assert "is **authentic** by whoever made this repository." in read(tmp_path / "two")[1]


def publish_sha256(folder: Path) -> str:
    """The SHA-256 of the source of a repository."""
    record = provenance((folder / "model.json").read_text())
    return str(checks_in(record)["source"]["sha256"])


def test_what_was_seen_here_may_contradict(source: Path, tmp_path: Path) -> None:
    """It vouches for nothing, and what contradicts it is not published."""
    seen = Claim("0" * 64, "the trust record (first seen here)", authority="seen")
    report = publish(source, Request(tmp_path, claims=(seen,)), forward=False)
    assert not report
    assert files(tmp_path) == {}


def test_names_of_files_are_only_text(tmp_path: Path) -> None:
    """Neither Markdown nor HTML nor YAML."""
    name = "`x`|<b>--- 'y'\n---\n[z](javascript:1).pth"
    path = small.write(tmp_path / name, "official-zip", "w8")
    assert publish(path, Request(tmp_path / "out"), forward=False)
    text = (tmp_path / "out" / "README.md").read_text()
    assert len([line for line in text.splitlines() if line == "---"]) == 2
    shown = [line for line in text.splitlines() if "javascript" in line]
    assert shown
    assert all("`'x'¦<b>--- 'y'\\n---\\n[z](javascript:1).pth`" in line for line in shown)


def test_without_onnx_it_says_how(source: Path, tmp_path: Path) -> None:
    """And does not list what is not there."""
    assert publish(source, Request(tmp_path), forward=False)
    data, text = read(tmp_path)
    assert "onnx" not in data.tags
    assert "it is not in this repository" in text
    assert not (tmp_path / "onnx").exists()
    assert publish(source, Request(tmp_path, onnx=Onnx(single_file=True)), forward=False)
    assert "onnx" in read(tmp_path)[0].tags
