"""What a plain pickle.load would run, judged by name."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from hornet_convert.checkpoint.danger import danger
from hornet_convert.checkpoint.reader import open_checkpoint
from tests.reader.assemble import call, named, row, text, zip_file

DANGEROUS = [
    ("os.system", "commands"),
    ("posix.system", "commands"),
    ("subprocess.Popen", "commands"),
    ("builtins.eval", "code"),
    ("builtins.setattr", "code"),
    ("__builtin__.exec", "code"),
    ("importlib.import_module", "imports"),
    ("torch.load", "unpickles"),
    ("torch.storage._load_from_bytes", "unpickles"),
    ("torch.hub.load", "downloads"),
    ("numpy.testing._private.utils.runstring", "code"),
    ("numpy.f2py.crackfortran.getincludes", "code"),
    ("functools.partial", "calls"),
    ("operator.methodcaller", "calls"),
    ("pathlib.Path.write_text", "files"),
    ("torch.serialization.os.system", "commands"),
    ("collections.abc.sys.modules", "reaches"),
    ("copyreg.extension.5", "only the program"),
    ("marshal.loads", "code"),
    ("shutil.rmtree", "files"),
    ("socket.create_connection", "network"),
    ("mmengine.registry.Registry", "'mmengine'"),
    ("hornet.HorNet", "'hornet'"),
    ("torch.nn.modules.linear.Linear", "'torch'"),
    ("torch._utils._import_dotted_name", "'torch'"),
    ("collections.namedtuple", "'collections'"),
]


@pytest.mark.parametrize(("name", "word"), DANGEROUS, ids=[name for name, _ in DANGEROUS])
@pytest.mark.parametrize("way", ["called", "built", "named"])
def test_dangerous_and_unknown_names(name: str, word: str, way: str) -> None:
    """Known means are named; of everything unknown it is said that nothing is known."""
    ((found, reason),) = danger({"collections.OrderedDict": "called", name: way})
    assert name == found
    assert word in reason
    assert {"called": "called", "built": "instance", "named": "imported"}[way] in reason


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_trainers_save_is_harmless(legacy: bool, tmp_path: Path) -> None:
    """Weights of every kind, arguments, dates, paths, numpy scalars and arrays need no warning."""
    weights = torch.nn.Conv2d(2, 2, 2).state_dict()
    saved = {
        "model": weights | {"half": torch.ones(2).half(), "u": torch.zeros(2).to(torch.uint16)},
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("x")),
        "when": datetime.datetime(2022, 9, 15, tzinfo=datetime.UTC),
        "scalar": np.float64(1),
        "array": np.zeros(3, np.float32),
        "random": np.random.RandomState(0),
        "others": [{1}, frozenset({2}), 1j, torch.Size([1]), torch.float16, torch.device("cpu")],
        "counted": [collections.Counter("a"), collections.defaultdict(list), collections.deque()],
        "odd": [torch.eye(2).to_sparse(), torch.zeros(2, device="meta")],
    }
    path = tmp_path / "x.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    with open_checkpoint(path) as checkpoint:
        assert [] == danger(checkpoint.globals_used)
        assert "called" == checkpoint.globals_used["torch._utils._rebuild_tensor_v2"]
        assert "named" == checkpoint.globals_used["torch.FloatStorage"]
        assert "built" == checkpoint.globals_used["argparse.Namespace"]


class HistoryBuffer:
    """What mmengine keeps of a number in the log; pickled with the methods it can be asked for."""

    def __init__(self) -> None:
        self._log_history = np.array([0.5, 0.25])

    def __getstate__(self) -> dict[str, object]:
        methods = {"min": HistoryBuffer.min, "mean": HistoryBuffer.mean}
        return vars(self) | {"statistics_methods": methods}

    def min(self) -> float:
        return float(self._log_history.min())

    def mean(self) -> float:
        return float(self._log_history.mean())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_mmengine_saves_in_training_is_harmless(
    legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message hub names methods of a class, which old protocols write as calls of getattr."""
    place = "mmengine.logging.history_buffer"
    for name in ("mmengine", "mmengine.logging", place):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules[place], "HistoryBuffer", HistoryBuffer, raising=False)
    monkeypatch.setattr(HistoryBuffer, "__module__", place)
    for name in ("min", "mean"):
        monkeypatch.setattr(vars(HistoryBuffer)[name], "__module__", place)
    saved = {
        "meta": {"mmengine_version": "0.10.7", "dataset_meta": {"classes": ("cat", "dog")}},
        "state_dict": torch.nn.Linear(2, 2).state_dict(),
        "message_hub": {
            "log_scalars": collections.OrderedDict(loss=HistoryBuffer(), lr=HistoryBuffer()),
            "runtime_info": {"best_score": np.float32(1), "version": torch.__version__},
        },
    }
    path = tmp_path / "x.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    with open_checkpoint(path) as checkpoint:
        assert f"{place}.HistoryBuffer.min" in checkpoint.globals_used
        assert [] == danger(checkpoint.globals_used)


GETATTR = named("builtins", "getattr")


@pytest.mark.parametrize(
    "body",
    [
        call(GETATTR, named("argparse", "Namespace"), text("__init__")),
        call(GETATTR, call(named("argparse", "Namespace")), text("__init__")),
        call(GETATTR, named("argparse", "Namespace"), row(text("x"))),
        b"(" + named("argparse", "Namespace") + text("x") + b"ibuiltins\ngetattr\n",
        call(
            named("torch._tensor", "_rebuild_from_type_v2"),
            GETATTR,
            named("torch", "Tensor"),
            row(named("argparse", "Namespace"), text("__init__")),
            b"N",
        ),
    ],
)
def test_other_uses_of_getattr_are_dangerous(body: bytes, tmp_path: Path) -> None:
    """Only the public names in the table are harmless, named by getattr and directly."""
    path = tmp_path / "x.pth"
    path.write_bytes(zip_file(body + b"0N", {}))
    with open_checkpoint(path) as checkpoint:
        assert danger(checkpoint.globals_used)
