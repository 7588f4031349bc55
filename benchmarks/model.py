"""What the model costs, in one process: `python -m benchmarks.model forward|engines|load ROUNDS`.

Forward passes take turns with naive ones and with a float32 matrix product, and on ONNX Runtime
with those on torch; loading takes turns with what it replaces. Prints JSON: for each piece its
name, the seconds by who did it, and the limits.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import safetensors.torch
import torch

from benchmarks.naive import Naive
from benchmarks.turns import OURS
from hornet_convert import create_model, load_model
from hornet_convert.images.onnx_engine import OnnxEngine
from hornet_convert.images.torch_engine import TorchEngine

MODELS = ("tiny", "base", "tiny-gf")
LARGE = "large-gf384"
BATCHES = (1, 4)
ENGINE_BATCHES = (1, 8)
SIDE = 2048
CLOSE = 1e-4  # the two forwards have to be the same function

Measured = tuple[str, dict[str, list[float]], dict[str, float]]


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


def forward(name: str, batch: int, rounds: int) -> Measured:
    """A model, its naive definition, and its multiply-adds at the rate of a matrix product."""
    model = create_model(name, seed=0, layer_scale_init=0.5).eval()
    naive = Naive(model.architecture, model.state_dict())
    images = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    matrix = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    floor = "floor: its matrix products"
    with torch.inference_mode():
        expected, found = naive(images), model(images)
        if float((found - expected).abs().max() / expected.abs().max()) > CLOSE:
            raise SystemExit(f"{name}: the naive definition computes something else")
        pieces: dict[str, Callable[[], object]] = {
            OURS: lambda: model(images),
            "naive": lambda: naive(images),
            floor: lambda: matrix @ matrix,
        }
        seconds = take_turns(pieces, rounds)
    products = batch * model.architecture.flops() / SIDE**3
    seconds[floor] = [products * each for each in seconds[floor]]
    return f"forward {name}, batch {batch}", seconds, {"naive": 0.95, floor: 1 / 0.6}


def engines(name: str, batch: int, rounds: int) -> Measured:
    """A model on torch and, as its ONNX graph, on ONNX Runtime, with as many threads."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        fresh = create_model(name, seed=0, layer_scale_init=0.5).eval()
        safetensors.torch.save_file(fresh.state_dict(), path)
        model, graph = load_model(path), OnnxEngine(path)
    pixels = torch.randint(256, (batch, 224, 224, 3), generator=torch.Generator().manual_seed(0))
    images = pixels.to(torch.uint8).numpy()
    on_torch = TorchEngine(model, torch.device("cpu"))
    expected, found = on_torch.logits(images), graph.logits(images)
    if abs(expected - found).max() / abs(expected).max() > CLOSE:
        raise SystemExit(f"{name}: ONNX Runtime computes something else")
    pieces = {OURS: lambda: graph.logits(images), "torch": lambda: on_torch.logits(images)}
    what = f"engines {name}, batch {batch}, ONNX Runtime"
    return what, take_turns(pieces, rounds), {"torch": 1.0}


def load(rounds: int) -> Iterator[Measured]:
    """The largest model from safetensors, and the usual way to the same."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        safetensors.torch.save_file(create_model(LARGE, seed=0).state_dict(), path)

        def usual() -> None:
            create_model(LARGE).load_state_dict(safetensors.torch.load_file(path))

        def touched() -> None:
            for parameter in load_model(path).parameters():
                parameter.detach().view(-1)[::1024].sum()

        who = "random init, load_state_dict"
        for what, piece in (
            (f"load {LARGE}", lambda: load_model(path)),
            (f"load {LARGE}, every page touched", touched),
        ):
            yield what, take_turns({OURS: piece, who: usual}, rounds), {who: 0.25}


def main(what: str, rounds: int) -> None:
    """Measure one kind of piece."""
    many: dict[str, Callable[[], Iterator[Measured]]] = {
        "forward": lambda: (forward(name, n, rounds) for name in MODELS for n in BATCHES),
        "engines": lambda: (engines(name, n, rounds) for name in MODELS for n in ENGINE_BATCHES),
        "load": lambda: load(max(3, rounds // 3)),
    }
    print(json.dumps(list(many[what]())))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
