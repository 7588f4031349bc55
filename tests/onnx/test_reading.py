"""ONNX files from anywhere: what they hold is told, and their weights are where they may be."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from hornet_convert.checkpoint.inert import Dict
from hornet_convert.checkpoint.protobuf import varint
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.cli import run
from hornet_convert.errors import FileRefusedError
from hornet_convert.onnx.runtime import session

Change = Callable[[onnx.ModelProto, Path], object]


def changed(path: Path, change: Change) -> None:
    """A model changed in place, as its folder may be."""
    model = onnx.load(path, load_external_data=False)
    change(model, path)
    path.write_bytes(model.SerializeToString())


def external(key: str, value: str, which: int = 0) -> Change:
    """Another place for the data of an initialiser, or for those of all (-1)."""

    def change(model: onnx.ModelProto, path: Path) -> None:
        initialisers = list(model.graph.initializer)
        for each in initialisers if which < 0 else initialisers[which : which + 1]:
            for entry in each.external_data:
                if entry.key == key:
                    entry.value = value

    return change


def elsewhere(make: Callable[[Path, Path], object]) -> Change:
    """The weights under another name, made by `make(weights, place)`."""

    def change(model: onnx.ModelProto, path: Path) -> None:
        make(path.with_suffix(".safetensors"), path.parent / "other.safetensors")
        external("location", "other.safetensors", -1)(model, path)

    return change


def in_a_constant(model: onnx.ModelProto, path: Path) -> None:
    """External data for a number in the graph itself."""
    [node] = [node for node in model.graph.node if node.name == "filter_scale"]
    tensor = node.attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "/etc/hostname"), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)


def in_a_branch(model: onnx.ModelProto, path: Path) -> None:
    """External data in a graph inside of the graph."""
    tensor = TensorProto(name="w", dims=[1], data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/hostname")
    value = helper.make_tensor_value_info("w", 1, [1])
    branch = helper.make_graph([], "branch", [], [value], [tensor])
    model.graph.node.append(
        helper.make_node("If", ["c"], ["d"], then_branch=branch, else_branch=branch)
    )


def without_data(model: onnx.ModelProto, path: Path) -> None:
    """Neither inside nor outside."""
    for each in model.graph.initializer:
        each.ClearField("external_data")
        each.ClearField("data_location")


def half_inside(model: onnx.ModelProto, path: Path) -> None:
    """One of the tensors inside."""
    each = model.graph.initializer[0]
    each.ClearField("external_data")
    each.ClearField("data_location")
    each.raw_data = bytes(4 * 8 * 3 * 4 * 4)


def not_safetensors(weights: Path, place: Path) -> None:
    """A file of the right length."""
    place.write_bytes(bytes(weights.stat().st_size))


def a_pipe(weights: Path, place: Path) -> None:
    """Something that would be waited for."""
    os.mkfifo(place)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (external("location", "../made/w.safetensors", -1), "outside of the model's folder"),
        (external("location", "/etc/hostname", -1), "outside of the model's folder"),
        (external("location", "..", -1), "outside of the model's folder"),
        (external("location", "a\\b", -1), "outside of the model's folder"),
        (external("location", "", -1), "external data in a directory"),
        (external("location", "no\0name", -1), "is not there"),
        (external("location", "absent.safetensors", -1), "is not there"),
        (external("location", "absent.safetensors"), "in several files"),
        (elsewhere(lambda weights, place: place.symlink_to(weights)), "behind a link"),
        (elsewhere(lambda weights, place: os.link(weights, place)), "behind a link"),
        (elsewhere(lambda weights, place: place.mkdir()), "external data in a directory"),
        (elsewhere(a_pipe), "external data in a named pipe"),
        (elsewhere(not_safetensors), "no safetensors file|not a checkpoint"),
        (external("offset", "0"), "at a range that is not this tensor's"),
        (external("offset", "-8"), "at a range that is not this tensor's"),
        (external("offset", "9" * 30), "at a range that is not this tensor's"),
        (external("length", "1"), "at a range that is not this tensor's"),
        (external("length", "१२"), "at a range that is not this tensor's"),
        (in_a_constant, "something other than the weights"),
        (in_a_branch, "something other than the weights"),
        (without_data, "does not have the bytes of its shape"),
        (half_inside, "in several files"),
    ],
)
def test_data_elsewhere_is_refused(
    model: Path, change: Change, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4 from each command, with what was expected."""
    changed(model, change)
    with pytest.raises(FileRefusedError, match=text):
        open_checkpoint(model)
    for command in (["verify", "--ckpt"], ["inspect"], ["compare", str(model)]):
        assert run([*command, str(model)]) == 4


def test_a_copy_of_the_weights_will_do(model: Path) -> None:
    """It is the file that counts, not its name."""
    changed(model, elsewhere(shutil.copy))
    assert run(["verify", "--ckpt", str(model), "--no-forward"]) == 0


def field(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


HEAD = b"\x08\x08"  # IR version 8
BROKEN = {
    "a field cut off": HEAD + b"\x3a\x7f",
    "a number without end": HEAD + b"\x3a" + b"\xff" * 11,
    "a group": HEAD + b"\x3b\x3c",
    "field 0": HEAD + b"\x02\x01a",
    "two graphs": HEAD + field(7, b"") + field(7, b""),
    "two of a name": HEAD + field(7, field(5, field(8, b"a")) * 2),
    "two names of one": HEAD + field(7, field(5, field(8, b"a") + field(8, b"b"))),
    "two of its data": HEAD + field(7, field(5, field(9, b"") * 2)),
    "a name that is a number": HEAD + field(7, field(5, b"\x40\x01")),
    "data that are a number": HEAD + field(7, field(5, b"\x48\x01")),
    "a graph that is a number": HEAD + b"\x38\x01",
    "no place for its data": HEAD + field(7, field(5, b"\x70\x02")),
    "no text": HEAD + field(7, field(5, field(8, b"\xff"))),
    "a long text": HEAD + field(7, field(5, field(8, b"a" * 70_000))),
    "a huge tensor": HEAD + field(7, field(5, b"\x10\x01" + (b"\x08" + varint(1 << 40)) * 9)),
    "deep": HEAD + field(7, field(1, field(5, field(6, b"")))),
}
nested = b""
for _ in range(30):
    nested = field(1, field(5, field(6, nested)))
BROKEN["deep"] = HEAD + field(7, nested)


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    """By a sentence, whatever stands in it."""
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(FileRefusedError):
        open_checkpoint(path)


def test_changed_bytes_mean_what_they_mean_to_onnx(tmp_path: Path) -> None:
    """Thousands of broken models: refused, or read as onnx reads them."""
    types = {TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.DOUBLE: 8}
    tensors = [
        helper.make_tensor(f"w{kind}", kind, [2, 3], bytes(range(6 * size)), raw=True)
        for kind, size in types.items()
    ]
    value = helper.make_tensor_value_info("w1", TensorProto.FLOAT, [2, 3])
    node = helper.make_node("Identity", ["w1"], ["y"], "n")
    model = helper.make_model(helper.make_graph([node], "g", [value], [value], tensors))
    data, path = model.SerializeToString(), tmp_path / "x.onnx"
    rng, read = random.Random(0), 0
    for _ in range(1000):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 3))):
            changed[rng.randrange(2, len(changed))] = rng.choice(
                (0, 1, 8, 0x3A, rng.randrange(256))
            )
        path.write_bytes(changed)
        try:
            checkpoint = open_checkpoint(path)
        except FileRefusedError:
            continue
        with checkpoint:
            root = checkpoint.root
            assert isinstance(root, Dict)
            ours = {name: leaf for name, leaf in root.items() if isinstance(leaf, Tensor)}
            try:
                theirs = {t.name: t for t in onnx.ModelProto.FromString(changed).graph.initializer}
            except DecodeError:
                continue  # such as a text that is not UTF-8, in a place that is not looked at
            for name, tensor in ours.items():
                assert checkpoint.read(tensor).tobytes() == theirs[str(name)].raw_data
                assert tensor.shape == tuple(theirs[str(name)].dims)
                assert tensor.dtype.itemsize == types.get(
                    theirs[str(name)].data_type, tensor.dtype.itemsize
                )
            assert len(root) == len(theirs)
            read += 1
    assert read > 100  # most changes are to names and numbers


def test_every_cut_is_refused_or_read(single: Path, tmp_path: Path) -> None:
    """No length of a model makes the reader fail in another way."""
    data, path = single.read_bytes(), tmp_path / "cut.onnx"
    for length in (*range(1, 60), *range(60, len(data), len(data) // 60)):
        path.write_bytes(data[:length])
        try:
            open_checkpoint(path).close()
        except FileRefusedError:
            continue


def test_many_fields_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may not keep the reader busy."""
    monkeypatch.setattr("hornet_convert.checkpoint.protobuf.MAX_FIELDS", 1000)
    path = tmp_path / "x.onnx"
    path.write_bytes(HEAD + field(7, b"\x50\x00" * 2000))
    with pytest.raises(FileRefusedError, match="too many parts"):
        open_checkpoint(path)


def test_no_more_is_held_than_a_graph_needs(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither of texts, nor of all that is no weight."""
    for name, text in (
        ("protobuf.MAX_TEXTS", "too long"),
        ("container_onnx.MAX_GRAPH", "too large"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"hornet_convert.checkpoint.{name}", 50_000)
            assert run(["verify", "--ckpt", str(model), "--no-forward"]) == 4
        assert text in capsys.readouterr().err


def test_weights_are_the_same_inside_and_beside(model: Path, single: Path) -> None:
    """`compare` looks through both, and at the source."""
    assert run(["compare", str(model), str(single)]) == 0
    assert run(["compare", str(single), str(model.with_suffix(".safetensors"))]) == 0


def test_inspect_says_where_the_weights_lie(
    model: Path, single: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the file beside, where they are not inside."""
    for path, beside in ((model, True), (single, False)):
        assert run(["inspect", str(path)]) == 0
        assert ("the weights lie in hornet-" in capsys.readouterr().out) == beside


def test_a_model_that_is_no_hornet_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`inspect` shows the initialisers of any model, `verify` fails."""
    inside = helper.make_tensor("w", TensorProto.FLOAT, [2, 3], bytes(24), raw=True)
    fields = helper.make_tensor("v", TensorProto.FLOAT, [2], [1.0, 2.0])
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3])
    path = tmp_path / "other.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [value], [inside, fields])), path)
    assert run(["inspect", str(path), "--tensors"]) == 0
    assert "float32" in capsys.readouterr().out
    assert run(["verify", "--ckpt", str(path)]) in (1, 4)


def op(model: onnx.ModelProto, path: Path) -> None:
    """Another operator somewhere."""
    next(node for node in model.graph.node if node.op_type == "Erf").op_type = "Tanh"


def number(model: onnx.ModelProto, path: Path) -> None:
    """Another constant."""
    [node] = [node for node in model.graph.node if node.name == "filter_scale"]
    node.attribute[0].t.raw_data = bytes(4)


def swapped(model: onnx.ModelProto, path: Path) -> None:
    """Two tensors of one shape, each with the other's data."""
    ours = {each.name: each for each in model.graph.initializer}
    item, two = (ours[f"stages.2.blocks.{n}.mlp.fc1.weight"] for n in (3, 4))
    item.name, two.name = two.name, item.name


def more(model: onnx.ModelProto, path: Path) -> None:
    """A node beside."""
    model.graph.node.append(helper.make_node("Identity", ["images"], ["copy"]))


def opset(model: onnx.ModelProto, path: Path) -> None:
    """Another set of operators, which may mean something else."""
    model.opset_import[0].version = 18


def rewired(model: onnx.ModelProto, path: Path) -> None:
    """The image as the output."""
    model.graph.node[-1].input[0] = "images"


@pytest.mark.parametrize("change", [op, number, swapped, more, opset, rewired])
@pytest.mark.parametrize("which", ["model", "single"])
def test_another_graph_fails(
    which: str, change: Change, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row `graph`, or that of the fingerprint, and exit code 1."""
    path: Path = request.getfixturevalue(which)
    assert run(["verify", "--ckpt", str(path), "--no-forward"]) == 0
    changed(path, change)
    moved = path.rename(path.with_name(path.name.rpartition("-")[0] + ".onnx"))
    assert run(["verify", "--ckpt", str(moved), "--no-forward"]) == 1
    out = capsys.readouterr().out
    assert "fail         graph" in out or (change is swapped and "fail         fingerprint" in out)


def test_without_onnx_the_graph_is_not_checked(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All else is: reading needs no library."""
    monkeypatch.setattr("hornet_convert.onnx.rebuilt.missing", lambda library: f"{library} is away")
    assert run(["verify", "--ckpt", str(model), "--no-forward", "-v"]) == 0
    out = capsys.readouterr().out
    assert "not checked  graph        because onnx is away" in out
    assert "pass         fingerprint" in out


def test_saved_again_by_another_writer_it_is_the_same(model: Path, single: Path) -> None:
    """It is the graph that counts, not its bytes."""

    def remark(model: onnx.ModelProto, path: Path) -> None:
        model.producer_version = "7"
        model.doc_string = "seen"

    for path in (model, single):
        before = path.read_bytes()
        changed(path, remark)
        assert before != path.read_bytes()
        moved = path.rename(path.with_name("model.onnx"))
        assert run(["verify", "--ckpt", str(moved), "--no-forward"]) == 0


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("stages.2.blocks.3.gamma", "stages.2.blocks.4.gamma", "is not as the definition has it"),
        ("head.fc", "head.fd", "does not hold the model's weights"),
    ],
)
def test_names_in_the_weights_file_count(
    model: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, text: str
) -> None:
    """The model says where each tensor lies; the weights file says which tensor that is."""
    weights = model.with_suffix(".safetensors")
    data = weights.read_bytes()
    data = data.replace(new.encode(), b"?" * len(new)).replace(old.encode(), new.encode())
    weights.write_bytes(data.replace(b"?" * len(new), old.encode()))
    assert run(["verify", "--ckpt", str(model), "--no-forward"]) == 1
    assert text in " ".join(capsys.readouterr().out.split())


def test_other_weights_fail(model: Path) -> None:
    """Beside the model, under the name it asks for."""
    weights = model.with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert run(["verify", "--ckpt", str(model), "--no-forward"]) == 1


def test_what_is_read_is_what_runs(model: Path, single: Path) -> None:
    """The files run as they lie."""
    for path in (model, single):
        [output] = session(str(path)).get_outputs()
        assert output.name == "logits"


def test_a_model_converts_back(single: Path, model: Path, tmp_path: Path) -> None:
    """An ONNX model is a checkpoint like any other."""
    for path in (single, model):
        out = tmp_path / path.parent.name / "back"
        command: list[Any] = ["convert", "--ckpt", path, "--out", out, "--no-forward"]
        assert run([*map(str, command)]) == 0
        [result] = out.glob("*.safetensors")
        assert run(["compare", str(result), str(path)]) == 0
