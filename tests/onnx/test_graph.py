"""The graph: built from the definition, the same everywhere, and in what old runtimes know."""

import hashlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fixtures import seeded, small
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor, dense_strides
from hornet_convert.family.architecture import DEPTHS, Architecture
from hornet_convert.onnx import fourier
from hornet_convert.onnx.model import hornet_model


def described(name: str, num_classes: int | None = 10, code: str = "F32") -> dict[str, Tensor]:
    """The weights of a model, nowhere yet."""
    shapes = Architecture.from_name(name).shapes(num_classes)
    return {
        key: Tensor(DTYPES[code], shape, dense_strides(shape), 0, Storage(0, 0))
        for key, shape in shapes.items()
    }


def built(name: str, num_classes: int | None = 10, *, features: bool = False) -> onnx.ModelProto:
    """A model of small random weights, inside."""
    model = hornet_model(
        Architecture.from_name(name), num_classes, described(name, num_classes), features=features
    )
    weights = small.arrays(name, "reference", num_classes=num_classes)
    for initialiser in model.graph.initializer:
        initialiser.raw_data = weights[initialiser.name].tobytes()
    return model


@pytest.mark.parametrize("side", [2, 4, 7, 14, 24])
def test_the_constant_matrices_are_the_fourier_transforms(side: int) -> None:
    """One axis at a time, orthonormal, there and back."""
    x = seeded.normal("map", (side, side))
    half = side // 2 + 1
    y = fourier.columns_forward(side) @ x.T  # (2 · half, rows)
    stacked = y.reshape(2, half, side).transpose(2, 0, 1).reshape(2 * side, half)
    spectrum = fourier.rows_forward(side) @ stacked
    expected = np.fft.rfft2(x, norm="ortho")
    np.testing.assert_allclose(spectrum[:side] + 1j * spectrum[side:], expected, atol=1e-10)
    back = (fourier.rows_forward(side).T @ spectrum).reshape(side, 2 * half)
    np.testing.assert_allclose(fourier.columns_back(side) @ back.T, x.T, atol=1e-9)


@pytest.mark.parametrize("name", ["w8", "w8-gf64"])
@pytest.mark.parametrize("features", [False, True])
def test_the_graph_is_valid_and_old(name: str, features: bool) -> None:
    """The full check of onnx passes, in the default domain at opset 17 and IR version 8."""
    model = built(name, features=features)
    onnx.checker.check_model(model, full_check=True)
    [opset] = model.opset_import
    assert ("", 17, 8) == (opset.domain, opset.version, model.ir_version)
    assert {"DFT", "STFT"}.isdisjoint(node.op_type for node in model.graph.node)
    assert all(node.domain == "" for node in model.graph.node)


def test_every_weight_is_an_initialiser_under_its_reference_name() -> None:
    """And every other number is a constant of the graph."""
    model = built("w8-gf64")
    shapes = Architecture.from_name("w8-gf64").shapes(10)
    assert list(shapes) == [each.name for each in model.graph.initializer]
    for each in model.graph.initializer:
        assert np.prod(shapes[each.name]) == numpy_helper.to_array(each).size
    names = {node.name for node in model.graph.node}
    layers = {name.rpartition(".")[0] for name in shapes if name.endswith(".weight")}
    assert layers <= names


def test_the_graph_is_the_same_every_time_and_needs_no_torch() -> None:
    """Byte for byte, in another process with another hash seed."""
    code = (
        "import sys, hashlib\n"
        "import hornet_convert.onnx.make, hornet_convert.onnx.rebuilt\n"
        "import hornet_convert.onnx.runtime\n"
        "from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor\n"
        "from hornet_convert.family.architecture import Architecture\n"
        "from hornet_convert.onnx.model import hornet_model\n"
        "tiny = Architecture.from_name('w8-gf64')\n"
        "shapes, f32, no = tiny.shapes(10), DTYPES['F32'], Storage(0, 0)\n"
        "told = {name: Tensor(f32, s, s, 0, no) for name, s in shapes.items()}\n"
        "model = hornet_model(tiny, 10, told).SerializeToString(deterministic=True)\n"
        "assert 'torch' not in sys.modules\n"
        "print(hashlib.sha256(model).hexdigest())\n"
    )
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(filter(None, sys.path))}
    other = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    here = hornet_model(Architecture.from_name("w8-gf64"), 10, described("w8-gf64"))
    assert hashlib.sha256(here.SerializeToString(deterministic=True)).hexdigest() in other.stdout


def test_sides_are_dynamic_only_without_filters() -> None:
    """The batch always is."""

    def sizes(name: str) -> list[object]:
        [images] = built(name).graph.input
        return [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim]

    assert sizes("w8") == ["batch", 3, "height", "width"]
    assert sizes("w8-gf64") == ["batch", 3, 64, 64]


@pytest.mark.parametrize(
    ("num_classes", "features", "outputs"),
    [
        (10, False, {"logits": [10]}),
        (None, False, {"features": [64]}),
        (10, True, {f"stages.{s}": [8 << s, 16 >> s, 16 >> s] for s in range(4)}),
    ],
)
def test_outputs(num_classes: int | None, features: bool, outputs: dict[str, list[int]]) -> None:
    """Logits; pooled features without a classifier; the four maps where they are asked for."""
    graph = built("w8-gf64", num_classes, features=features).graph
    found = {
        out.name: [d.dim_value for d in out.type.tensor_type.shape.dim][1:] for out in graph.output
    }
    assert outputs == found
    assert len([node for node in graph.node if node.op_type == "Erf"]) == sum(DEPTHS)
