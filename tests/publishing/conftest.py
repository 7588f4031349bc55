"""Repositories made of small HorNets: of one that nobody published, and of one of the nine."""

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import small
from hornet_convert.api.publish import publish
from hornet_convert.conversion.request import Onnx, Request
from hornet_convert.family import zoo
from hornet_convert.family.architecture import Architecture
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with filters for 64 pixels, which nobody published."""
    return small.write(tmp_path_factory.mktemp("source") / "mine.pth", "official-zip", "w8-gf64")


@pytest.fixture(scope="session")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder made of it, with an ONNX model, everything proven."""
    out = tmp_path_factory.mktemp("made") / "folder"
    report = publish(source, Request(out, onnx=Onnx(single_file=True)))
    assert report, report.checks
    assert str(out) == report.output
    return out


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> zoo.Published:
    """A small model that counts as one of the nine, in a mirror at `tmp_path / "mirror"`."""
    row = small.published(tmp_path / "mirror", "openmmlab-legacy", "w8")
    row = replace(row, parameters_m=Architecture.from_name("w8").parameters(1000) / 1e6)
    monkeypatch.setattr(zoo, "MODELS", (row,))
    monkeypatch.setattr(zoo, "BY_NAME", {"w8": row})
    monkeypatch.setattr(zoo, "_by_alias", lambda: {"w8": row})
    return row
