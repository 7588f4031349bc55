"""The report on what is in a checkpoint, HorNet or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import inspect
from hornet_convert.errors import UsageError
from tests.reader.assemble import call, items, named, storage, tensor, text, zip_file

FORMS: dict[small.Form, tuple[str, tuple[str, ...], str]] = {
    "official-zip": ("zip", ("model",), "official"),
    "official-legacy": ("legacy", ("model",), "official"),
    "openmmlab-legacy": ("legacy", ("state_dict",), "openmmlab"),
    "bare-zip": ("zip", (), "official"),
    "module-zip": ("zip", ("model",), "official"),
    "safetensors-reference": ("safetensors", (), "reference"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_hornet_in_any_form(form: small.Form, tmp_path: Path) -> None:
    """Container, wrapper, layout, model and classes, and every tensor in its block."""
    container, wrapper, layout = FORMS[form]
    path = small.write(tmp_path / "x.pth", form, "w8-gf")
    found = inspect(path)
    assert (found.container, found.wrapper, found.layout) == (container, wrapper, layout)
    assert (found.model, found.num_classes) == ("w8-gf", 10)
    assert found.complete
    assert found.problem is None
    blocks = [block.name for block in found.blocks]
    assert 2 + 3 + 18 + 2 + 3 + 2 == len(blocks) == len(set(blocks))
    assert {"stem", "head", "stages.1.downsample", "stages.2.blocks.17"} <= set(blocks)
    weights = small.arrays("w8-gf")
    assert sum(array.size for array in weights.values()) == found.parameters
    assert sum(array.nbytes for array in weights.values()) == found.nbytes
    assert {"float32": 640} == found.dtypes
    rows = {row.name: row for block in found.blocks for row in block.tensors}
    assert len(weights) == len(rows)
    assert all(row.contiguous for row in rows.values())
    assert not found.dangerous
    assert path.stat().st_size == found.size
    assert json.loads(json.dumps(found.as_json()))["model"] == "w8-gf"


def test_what_stands_beside_and_what_is_averaged(tmp_path: Path) -> None:
    """What a trainer leaves is listed, and averaged weights are reported on when asked for."""
    path = small.write(tmp_path / "x.pth", "training-zip", "w8")
    plain, averaged = inspect(path), inspect(path, ema=True)
    assert (plain.wrapper, plain.ema_wrapper) == (("model",), ("model_ema",))
    assert (averaged.wrapper, averaged.model) == (("model_ema",), "w8")
    assert averaged.is_ema > plain.is_ema
    heads = [line.partition(":")[0] for line in plain.beside]
    assert ["epoch", "args", "model_ema", "optimizer", "scaler"] == heads
    with pytest.raises(UsageError):
        inspect(small.write(tmp_path / "y.pth", "bare-zip", "w8"), ema=True)


def test_another_network(tmp_path: Path) -> None:
    """A network that is no HorNet is shown by its own blocks, views and types as they are."""
    path = tmp_path / "x.pth"
    base = torch.arange(12.0).reshape(3, 4)
    weights = {
        "conv1.weight": base,
        "layer1.0.bn1.weight": base.t(),
        "layer1.0.bn1.num_batches_tracked": torch.tensor(5),
        "layer1.1.conv.weight": base.half(),
        "encoder.layers.11.attn.bias": base[0],
        "scale": torch.ones(()),
    }
    torch.save({"state_dict": weights}, path)
    found = inspect(path)
    assert (found.layout, found.model, found.problem) == (None, None, None)
    assert not found.complete
    assert ["conv1", "layer1.0", "layer1.1", "encoder.layers.11", "scale"] == [
        block.name for block in found.blocks
    ]
    row = found.blocks[1].tensors[0]
    assert (row.dtype, row.shape, row.nbytes) == ("float32", (4, 3), 48)
    assert not row.contiguous
    assert {"float32": 4, "int64": 1, "float16": 1} == found.dtypes


def test_a_file_without_a_state_dict(tmp_path: Path) -> None:
    """What cannot be weights is said, and the tensors in it are listed all the same."""
    path = tmp_path / "x.pth"
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9, lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save({"optimizer": optimizer.state_dict(), "odd": [torch.eye(2).to_sparse()]}, path)
    found = inspect(path)
    assert "only an optimizer" in (found.problem or "")
    rows = {row.name: row for block in found.blocks for row in block.tensors}
    assert (3, 2) == rows["optimizer / state / int 0 / momentum_buffer"].shape
    assert "sparse" == rows["odd / int 0"].dtype
    torch.save(model, path)
    found = inspect(path)
    assert "torch.nn.modules.linear.Linear" in (found.problem or "")
    assert found.dangerous
    assert {"torch.nn.modules.linear.Linear"} == {n.name for n in found.names if n.danger}


def test_a_dangerous_file(tmp_path: Path) -> None:
    """The weights are shown, and next to them what pickle.load would have run."""
    path = tmp_path / "x.pth"
    weights = items((text("w\x1b[2J"), tensor(storage("0", 1), (1,), (1,))))
    body = items((text("model"), weights), (text("x"), call(named("os", "system"), text("id"))))
    path.write_bytes(zip_file(body, {"0": b"\0\0\x80?"}))
    found = inspect(path)
    assert found.dangerous
    ((name, reason),) = [(n.name, n.danger) for n in found.names if n.danger]
    assert "os.system" == name
    assert "commands" in (reason or "")
    assert ("x: the outcome of os.system(); foreign types: os.system",) == found.beside
    assert "\x1b" not in json.dumps(found.as_json())


@pytest.mark.parametrize("sound", [True, False])
def test_very_many_tensors_are_counted_but_not_all_listed(sound: bool, tmp_path: Path) -> None:
    """A few bytes a name: the list ends somewhere, the sums hold for all of them."""
    shared = tensor(storage("0", 6), (2, 3), (3, 1)) + b"q\x050"
    count = 20_007
    if sound:
        body = shared + items(*((text(f"w{i}"), b"h\x05") for i in range(count)))
    else:
        body = shared + b"](" + b"h\x05" * count + b"e"
    path = tmp_path / "x.pth"
    path.write_bytes(zip_file(body, {"0": bytes(24)}))
    found = inspect(path)
    assert sound == (found.problem is None)
    assert 20_000 == sum(len(block.tensors) for block in found.blocks)
    assert found.unlisted == 7
    assert (found.parameters, found.nbytes) == (6 * count, 24 * count)
    assert {"float32": count} == found.dtypes
    assert 7 == found.as_json()["unlisted"]
