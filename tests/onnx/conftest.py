"""Small HorNets converted to ONNX, once for all tests here."""

import shutil
from pathlib import Path

import pytest

from fixtures import small
from hornet_convert.api.checkpoints import convert
from hornet_convert.conversion.request import Onnx, Request


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with filters for 64 pixels."""
    return small.write(tmp_path_factory.mktemp("source") / "w8-gf64.pth", "official-zip", "w8-gf64")


@pytest.fixture(scope="session")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Its ONNX models: beside its weights, and (True) with the weights inside."""
    models = {}
    for single_file in (False, True):
        out = tmp_path_factory.mktemp("single" if single_file else "made")
        report = convert(source, Request(out, onnx=Onnx(single_file=single_file)), forward=False)
        assert report.output is not None
        models[single_file] = Path(report.output)
    return models


@pytest.fixture
def model(made: dict[bool, Path], tmp_path: Path) -> Path:
    """Its ONNX model beside its weights, in a folder of its own."""
    return Path(shutil.copytree(made[False].parent, tmp_path / "made")) / made[False].name


@pytest.fixture
def single(made: dict[bool, Path], tmp_path: Path) -> Path:
    """Its ONNX model with the weights inside."""
    return Path(shutil.copytree(made[True].parent, tmp_path / "single")) / made[True].name
