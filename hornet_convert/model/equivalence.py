"""Forward equivalence: the source's weights and the remapped ones compute the same function.

Two computations that share no code, `plain.py` over the source's own keys and the reference model
with the target's tensors, run on the same image in float64. Each goes on from its own activations.
They run side by side and meet after every part, so that of each only one part's weights are in
memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from hornet_convert.errors import CheckFailedError, printable
from hornet_convert.family.architecture import DEPTHS, Architecture
from hornet_convert.family.layouts import Layout
from hornet_convert.model import plain
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.memory import is_out_of_memory, memory_errors

TOLERANCE = 1e-9

# What damaged weights make the computations raise: a missing tensor, shapes that do not fit.
_FAILURES = (KeyError, IndexError, ValueError, RuntimeError)


@dataclass(frozen=True)
class Deviation:
    """How far apart the two outputs of one part of the network are.

    `module` is its name in the reference model, `absolute` the largest absolute difference,
    `largest` the largest absolute value in the source's output.
    """

    module: str
    absolute: float
    largest: float

    @property
    def relative(self) -> float:
        """Difference relative to the largest value; infinite where that says nothing.

        That is the case for NaN and infinities, and for an output that is zero everywhere.
        """
        if not math.isfinite(self.absolute) or not math.isfinite(self.largest) or not self.largest:
            return math.inf
        return self.absolute / self.largest

    @property
    def stage(self) -> int | None:
        """Stage 0 to 3; None for the stem and the head."""
        return int(self.module.split(".")[1]) if self.module.startswith("stages.") else None


@dataclass(frozen=True)
class Equivalence:
    """Outcome of the comparison, part by part in the order of the computation.

    `float32` is, if it was asked for, the deviation of the reference model's output in float32 from
    its output in float64: what a user of the model will see.
    """

    deviations: tuple[Deviation, ...]
    image_size: tuple[int, int]
    seed: int
    batch: int
    float32: Deviation | None = None
    tolerance: float = TOLERANCE

    @property
    def output(self) -> Deviation:
        """The last part: the logits, or without a classifier the features."""
        return self.deviations[-1]

    @property
    def stages(self) -> tuple[Deviation, ...]:
        """The last block of each stage."""
        last = {part.stage: part for part in self.deviations if part.stage is not None}
        return tuple(last.values())

    @property
    def first_diverging(self) -> str | None:
        """Name of the first part that deviates by more than the tolerance."""
        return next(
            (part.module for part in self.deviations if not part.relative <= self.tolerance), None
        )

    @property
    def passed(self) -> bool:
        """Whether no part deviates by more than the tolerance, and float32 gives numbers too."""
        finite = self.float32 is None or math.isfinite(self.float32.relative)
        return bool(self.deviations) and self.first_diverging is None and finite


@memory_errors()
def compare_forward(
    source: Mapping[str, Tensor],
    layout: Layout,
    target: Mapping[str, Tensor],
    architecture: Architecture,
    num_classes: int | None,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    batch: int = 1,
    float32: bool = False,
) -> Equivalence:
    """Run the source's and the target's weights on one seeded image and compare.

    Parameters
    ----------
    source, layout
        The weights as they came, by key of their own layout. May load tensors when asked for them.
    target
        The remapped weights, by name of the reference layout. May be lazy too; the two are asked
        at the same time, from two threads.
    architecture, num_classes
        What the target is; `num_classes` None without a classifier. A source without final norm,
        such as a detection backbone, is compared up to the last stage.
    image_size
        Height and width in pixels, 32 or more; one number for a square; None for the resolution of
        the architecture.
    seed, batch
        Of the image, and how many.
    float32
        Also measure how far the reference model in float32 is from itself in float64.

    Raises
    ------
    CheckFailedError
        If one of the computations cannot be done: a tensor is missing or of the wrong shape, or
        the source has other parts than the architecture.
    MemoryError
        If memory runs out, which is no fault of the weights.
    """
    size = architecture.resolution if image_size is None else image_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, height, width, generator=generator)
    deviations: list[Deviation] = []
    with (
        torch.no_grad(),
        _Ahead(plain.steps(source, layout, image)) as steps,
        ThreadPoolExecutor(max_workers=1) as beside,  # fills the time one side waits for the other
    ):
        single = beside.submit(_run, target, architecture, num_classes, image) if float32 else None

        def compare(part: str, output: Tensor) -> None:
            expected = steps.next(part)
            if expected is None or expected.name != part:
                raise _different_parts(part, expected)
            deviations.append(_deviation(part, expected.output, output))

        exact = _run(target, architecture, num_classes, image.double(), compare)
        rest = steps.next("the end")
        if rest is not None and not (num_classes is None and rest.name.startswith("head.")):
            raise _different_parts("nothing more", rest)
        rounded = None if single is None else single.result()
    return Equivalence(
        deviations=tuple(deviations),
        image_size=(height, width),
        seed=seed,
        batch=batch,
        float32=None if rounded is None else _deviation(deviations[-1].module, exact, rounded),
    )


def _deviation(part: str, expected: Tensor, output: Tensor) -> Deviation:
    if expected.shape != output.shape:
        raise CheckFailedError(
            "source and model give outputs of different shapes",
            where=part,
            expected=f"shape {tuple(expected.shape)}",
            found=f"shape {tuple(output.shape)}",
        )
    difference = (expected - output).abs().max().item()  # max passes NaN on
    return Deviation(part, difference, expected.abs().max().item())


class _Ahead:
    """Computes the next of the source's steps in a thread of its own, while this one goes on.

    Each side has half of the processors: on few of them that is faster than all for each in turn,
    and does not suffer when other processes use them too.
    """

    def __init__(self, steps: Iterator[plain.Step]) -> None:
        self._steps = steps
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> _Ahead:
        torch.set_num_threads(max(1, self._threads // 2))
        self._pending = self._pool.submit(self._advance)
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()
        torch.set_num_threads(self._threads)

    def next(self, part: str) -> plain.Step | None:
        """The step that was computed last, None after the end; `part` is for the message."""
        try:
            step = self._pending.result()
        except _FAILURES as failure:
            raise _cannot("the source", part, failure) from failure
        if step is not None:
            self._pending = self._pool.submit(self._advance)
        return step

    @torch.no_grad()
    def _advance(self) -> plain.Step | None:
        return next(self._steps, None)


@torch.no_grad()
def _run(
    weights: Mapping[str, Tensor],
    architecture: Architecture,
    num_classes: int | None,
    image: Tensor,
    on_output: Callable[[str, Tensor], None] = lambda part, output: None,
) -> Tensor:
    """The reference model's output, in the image's dtype.

    Its own `forward` runs; each part gets its weights before and gives them up after its turn.
    """
    model = HorNet(architecture, num_classes, device="meta", dtype=image.dtype).eval()
    # Without a final norm (as in a backbone) the last map is all there is.
    forward = model if num_classes or "head.norm.weight" in set(weights) else model.forward_features
    parts = {part: model.get_submodule(part) for part in _parts(num_classes)}
    largest = max(sum(p.numel() for p in part.parameters()) for part in parts.values())
    buffer = torch.empty(largest, dtype=image.dtype)
    running = "the stem"

    def load(part: str, module: nn.Module, args: object) -> None:
        nonlocal running
        running = part
        state, start = {}, 0
        for name in module.state_dict():
            weight = weights[f"{part}.{name}"]
            if weight.dtype != image.dtype:
                space = buffer[start : start + weight.numel()]
                weight = space.view(weight.shape).copy_(weight)
                start += weight.numel()
            state[name] = weight
        module.load_state_dict(state, assign=True)

    def release(part: str, module: nn.Module, args: object, output: Tensor) -> None:
        module.to_empty(device="meta")
        on_output(part, output)

    for part, module in parts.items():
        module.register_forward_pre_hook(partial(load, part))
        module.register_forward_hook(partial(release, part))
    try:
        result: Tensor = forward(image)
    except _FAILURES as failure:
        raise _cannot("the reference model", running, failure) from failure
    return result


def _parts(num_classes: int | None) -> Iterator[str]:
    """Names of the modules that are compared, in the order they run."""
    yield "stem"
    for stage, depth in enumerate(DEPTHS):
        if stage:
            yield f"stages.{stage}.downsample"
        for block in range(depth):
            yield f"stages.{stage}.blocks.{block}"
    yield "head.norm"
    if num_classes is not None:
        yield "head.fc"


def _cannot(side: str, part: str, failure: Exception) -> Exception:
    if is_out_of_memory(failure):
        return MemoryError(str(failure))
    missing = isinstance(failure, KeyError)
    return CheckFailedError(
        f"the forward pass of {side} cannot be computed",
        where=part,
        expected="tensors that fit together",
        found=("no tensor " if missing else "") + printable(str(failure), limit=500),
        hint="See the checks of keys and shapes.",
    )


def _different_parts(part: str, step: plain.Step | None) -> CheckFailedError:
    return CheckFailedError(
        "the source has other parts than the architecture",
        expected=part,
        found="nothing more" if step is None else step.name,
        hint="See the checks of keys and of the model.",
    )
