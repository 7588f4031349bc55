"""What the model costs beside its definition written naively: part of `make bench`.

Forward passes take turns with the naive ones, with a float32 matrix product, and on ONNX Runtime
with those on torch; loading takes turns with what it replaces. Ratios are the medians of ratios
within a turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import safetensors.torch
import torch
from torch import Tensor

from benchmarks.conversion import Ratio, conclude
from benchmarks.naive import Naive
from hornet_convert import create_model, load_model
from hornet_convert.family import zoo
from hornet_convert.images.onnx_engine import OnnxEngine
from hornet_convert.images.torch_engine import TorchEngine

MODELS = ("tiny", "base", "tiny-gf")
LARGE = "large-gf384"
BATCHES = (1, 4)
ENGINE_BATCHES = (1, 8)
SIDE = 2048
CLOSE = 1e-4  # the two forwards have to be the same function


def take_turns(pieces: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round; one round before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in pieces}
    for number in range(rounds + 1):
        for name, piece in pieces.items():
            begun = time.perf_counter()
            piece()
            if number:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Median of the ratios of the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def forward(name: str, batch: int, rounds: int) -> tuple[dict[str, list[float]], list[Ratio]]:
    """A model, its naive definition and a matrix product."""
    model = create_model(name, seed=0, layer_scale_init=0.5).eval()
    naive = Naive(model.architecture, model.state_dict())
    images = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    matrix = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = naive(images), model(images)
        if float((found - expected).abs().max() / expected.abs().max()) > CLOSE:
            raise SystemExit(f"{name}: the naive definition computes something else")
        work: dict[str, Callable[[], Tensor]] = {
            f"forward, {name}, batch {batch}": lambda: model(images),
            f"naive forward, {name}, batch {batch}": lambda: naive(images),
            f"matrix product {SIDE}, beside {name}, batch {batch}": lambda: matrix @ matrix,
        }
        seconds = take_turns(work, rounds)
    ours, theirs, product = seconds.values()
    multiply_adds = batch * model.architecture.flops() / SIDE**3
    what = f"{name}, batch {batch}"
    efficiency = multiply_adds * ratio(product, ours)
    return seconds, [
        Ratio(f"wall, {what} / naive", ratio(ours, theirs), 0.95, False),
        Ratio(f"multiply-adds a second, {what} / matrix product", efficiency, 0.60, True),
    ]


def engines(name: str, batch: int, rounds: int) -> tuple[dict[str, list[float]], list[Ratio]]:
    """A model on torch and, as its ONNX graph, on ONNX Runtime, with as many threads."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        fresh = create_model(name, seed=0, layer_scale_init=0.5).eval()
        safetensors.torch.save_file(fresh.state_dict(), path)
        model, graph = load_model(path), OnnxEngine(path)
    pixels = torch.randint(256, (batch, 224, 224, 3), generator=torch.Generator().manual_seed(0))
    images = pixels.to(torch.uint8)
    on_torch = TorchEngine(model, torch.device("cpu"))
    item, two = on_torch.logits(images.numpy()), graph.logits(images.numpy())
    if abs(item - two).max() / abs(item).max() > CLOSE:
        raise SystemExit(f"{name}: ONNX Runtime computes something else")
    what = f"{name}, batch {batch}"
    seconds = take_turns(
        {
            f"torch, {what}": lambda: on_torch.logits(images.numpy()),
            f"ONNX Runtime, {what}": lambda: graph.logits(images.numpy()),
        },
        rounds,
    )
    theirs, ours = seconds.values()
    return seconds, [Ratio(f"wall, {what}, ONNX Runtime / torch", ratio(ours, theirs), 1.0, False)]


def loading(rounds: int) -> tuple[dict[str, list[float]], list[Ratio]]:
    """The largest model from safetensors, and the usual way to the same."""
    row = zoo.find(LARGE)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        fresh = create_model(LARGE, seed=0)
        safetensors.torch.save_file(fresh.state_dict(), path)
        del fresh

        def usual() -> None:
            model = create_model(row.name)
            model.load_state_dict(safetensors.torch.load_file(path))

        def touched() -> None:
            for parameter in load_model(path).parameters():
                parameter.detach().view(-1)[::1024].sum()

        seconds = take_turns(
            {
                f"load_model, {LARGE}": lambda: load_model(path),
                f"load_model and touch every page, {LARGE}": touched,
                f"random init, load_state_dict, {LARGE}": usual,
            },
            rounds,
        )
    ours, read, theirs = seconds.values()
    return seconds, [
        Ratio(
            "wall, load_model / (random init + load_state_dict)", ratio(ours, theirs), 0.25, False
        ),
        Ratio("the same, every page touched", ratio(read, theirs), 0.25, False),
    ]


def main() -> int:
    """Measure, print, write; 1 if a limit was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=MODELS, help="models of the forward passes")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, default=Path("bench-model.json"))
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    claims: list[Ratio] = []
    for found, made in (
        *(forward(name, n, arguments.rounds) for name in arguments.names for n in BATCHES),
        *(engines(name, n, arguments.rounds) for name in arguments.names for n in ENGINE_BATCHES),
        loading(max(3, arguments.rounds // 3)),
    ):
        seconds |= found
        claims += made
    for name, each in seconds.items():
        print(f"{statistics.median(each):8.3f} s  {name}")
    facts = {
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "onnxruntime": version("onnxruntime"),
        "rounds": arguments.rounds,
        "seconds": seconds,
    }
    return conclude(claims, facts, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
