"""A page of every kind, made by the commands themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fixtures import small
from hornet_convert.cli import asked, run
from hornet_convert.family import zoo
from hornet_convert.images.predict import predict
from hornet_convert.model.load import load_model
from tests.usage.pictures import picture

PAGES = (
    *("good", "missing", "refused", "several", "different", "equal", "not-compared", "fetch"),
    *("predict", "eval", "wild"),
)


def write_files(folder: Path) -> None:
    """The checkpoints and images that the commands are given."""
    small.write(folder / "in.pth", "openmmlab-legacy", "w8-gf", num_classes=1000)
    weights = small.tensors("w8-gf", num_classes=1000)
    torch.save({key: w for key, w in weights.items() if ".2." not in key}, folder / "missing.pth")
    weights["head.bias"] += 1
    weights["head.weight"] = weights["head.weight"][:, :9]
    weights.pop("stages.0.0.gamma1")
    torch.save(weights, folder / "other.pth")
    (folder / "page.pth").write_text("<!doctype html><title>Quota exceeded</title>")
    (folder / "images").mkdir()
    picture(0, (400, 200)).save(folder / "images" / "a wide one.jpg")
    exif = (turned := picture(1, (400, 200))).getexif()
    exif[0x112] = 6  # to be turned by a quarter
    turned.save(folder / "images" / "portrait.jpg", exif=exif)
    whole = (folder / "images" / "a wide one.jpg").read_bytes()
    (folder / "images" / "cut.jpg").write_bytes(whole[:1500])


def write_list(folder: Path) -> None:
    """A val.txt with the first, second and seventh choices of the model for three images."""
    names = [f"an image {n}.png" for n in range(4)]
    for number, name in enumerate(names):
        picture(number).save(folder / name)
    found = predict(load_model(folder / "in.pth"), [str(folder / name) for name in names], top=7)
    rows = [
        f"{name} {result.predictions[rank].number}"
        for name, result, rank in zip(names, found, (0, 1, 6, 1), strict=True)
    ]
    (folder / "val.txt").write_text("\n".join([*rows, rows[1], "gone.png 5"]))


def write_all(folder: Path) -> dict[str, Path]:
    """Run every command with --report in `folder`; the pages by name."""
    write_files(folder)
    write_list(folder)
    model = folder / "in.pth"
    quick = ["--no-forward"]
    row = small.published(folder / "mirror", "official-zip", "w8")
    source = ["--source", "mirror", "--mirror", str(folder / "mirror")]
    cache = ["--cache", str(folder / "cache"), "--out", str(folder / "out")]
    ckpt = ["--ckpt", str(model)]
    commands: dict[str, tuple[int, list[object]]] = {
        "good": (0, ["verify", model, "--image-size", "64"]),
        "missing": (1, ["verify", folder / "missing.pth"]),
        "refused": (4, ["verify", folder / "page.pth"]),
        "several": (1, ["verify", model, folder / "missing.pth", folder / "page.pth", *quick]),
        "different": (1, ["compare", model, folder / "other.pth"]),
        "equal": (0, ["compare", model, model]),
        "not-compared": (4, ["compare", model, folder / "page.pth"]),
        "fetch": (3, ["fetch", "w8", "small", *source, *cache, *quick]),
        "predict": (0, ["predict", folder / "images", *ckpt]),
        "eval": (0, ["eval", folder / "val.txt", *ckpt, "--csv", folder / "list.csv"]),
    }
    pages = {name: folder / f"{name}.html" for name in commands}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asked, "chosen", lambda names, every: [row, zoo.find("small")])
        for name, (code, command) in commands.items():
            assert run([*map(str, command), "-q", "--report", str(pages[name])]) == code
    return pages
