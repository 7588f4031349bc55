"""Forward equivalence: the source's weights and the remapped ones compute the same function.

Two computations that share no code, `plain.py` over the source's own keys and the reference model
with the target's tensors, run on the same image in float64. Each goes on from its own activations.
They run side by side, the source's a few parts ahead at most; of each only one part's weights are
in memory at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from hornet_convert.errors import CheckFailedError
from hornet_convert.family.architecture import DEPTHS, Architecture
from hornet_convert.family.layouts import Layout
from hornet_convert.model import plain
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.layers import Mlp, channels_first, channels_last
from hornet_convert.report.progress import Passing
from hornet_convert.report.trace import Deviation, Trace
from hornet_convert.text import printable

# What damaged weights make the computations raise: a missing tensor, shapes that do not fit.
_FAILURES = (KeyError, IndexError, ValueError, RuntimeError)

# torch reports the processor's memory by a bare RuntimeError; the words are its allocator's.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory")

# Parts that the source's computation may be ahead: one side's parts take longer here, the other's
# there, and neither waits.
AHEAD = 4

# Numbers of a hidden layer computed at once: they stay in the cache.
HIDDEN_AT_ONCE = 1 << 20


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError where torch reports that memory ran out; for `with` and as a decorator."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise


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
    progress: Passing | None = None,
) -> Trace:
    """Run the source's and the target's weights on one seeded image and compare.

    `source` are the weights as they came, by key of their own `layout`; `target` the remapped ones,
    by name of the reference layout. Both may load tensors when asked for them, and are asked at the
    same time, from two threads. `architecture` and `num_classes`, None without a classifier, are
    the target's; a source without final norm, such as a detection backbone, is compared up to the
    last stage. `image_size` is height and width in pixels, 32 or more, or one number for a square;
    None for the resolution of the architecture. `float32` asks also how far the reference model in
    float32 is from itself in float64. `progress` is told how many parts of the network are done.

    Raises CheckFailedError if one of the computations cannot be done (a tensor is missing or of the
    wrong shape, the source has other parts than the architecture), MemoryError if memory runs out,
    which is no fault of the weights.
    """
    size = architecture.resolution if image_size is None else image_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, height, width, generator=generator)
    deviations, count = list[Deviation](), len(list(_parts(num_classes)))
    with (
        torch.no_grad(),
        _Ahead(plain.steps(source, layout, image)) as steps,
        ThreadPoolExecutor(max_workers=1) as beside,  # fills the time one side waits for the other
    ):
        run = partial(run_by_parts, target, architecture, num_classes)
        single = beside.submit(run, image) if float32 else None

        def compare(part: str, output: Tensor) -> None:
            expected = steps.next(part)
            if expected is None or expected.name != part:
                raise _different_parts(part, expected)
            deviations.append(_deviation(part, expected.output, output))
            if progress is not None:
                progress(len(deviations), count)

        exact = run(image.double(), compare)
        rest = steps.next("the end")
        if rest is not None and not (num_classes is None and rest.name.startswith("head.")):
            raise _different_parts("nothing more", rest)
        rounded = None if single is None else single.result()
    return Trace(
        parts=tuple(deviations),
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
    """Computes the source's next steps in a thread of its own, while this one goes on.

    Each side has half of the processors: on few of them that is faster than all for each in turn,
    and does not suffer when other processes use them too. Nor does one have all while the other
    waits: that costs more, in threads that wait for each other at the end of every operation.
    """

    def __init__(self, steps: Iterator[plain.Step]) -> None:
        self._steps = steps
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> _Ahead:
        torch.set_num_threads(max(1, self._threads // 2))
        self._pending = deque(self._pool.submit(self._advance) for _ in range(AHEAD))
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._threads)

    def next(self, part: str) -> plain.Step | None:
        """The step that was computed last, None after the end; `part` is for the message."""
        try:
            step = self._pending.popleft().result()
        except _FAILURES as failure:
            raise _cannot("the source", part, failure) from failure
        self._pending.append(self._pool.submit(self._advance))
        return step

    @torch.no_grad()
    def _advance(self) -> plain.Step | None:
        return next(self._steps, None)


@torch.no_grad()
def run_by_parts(
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
    hasten(model)
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


def hasten(model: nn.Module) -> None:
    """Let a model compute the same faster, on a CPU and without gradients.

    The hidden layers of large maps are computed in pieces. In float64 a depthwise convolution is a
    sum of shifted maps: oneDNN knows no float64, and what runs in its place is slow.
    """
    for module in model.modules():
        if isinstance(module, Mlp):
            _replace_forward(module, _in_pieces)
        elif isinstance(module, nn.Conv2d) and module.groups > 1:
            _replace_forward(module, _shifted)


def _replace_forward(module: nn.Module, forward: Callable[..., Tensor]) -> None:
    module.forward = partial(forward, module, module.forward)


def _in_pieces(module: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """An MLP (N, C, H, W) to the same shape, some pixels at a time."""
    pixels = channels_first(channels_last(x).reshape(1, -1, 1, x.shape[1]))
    hidden = module.get_parameter("fc1.bias").numel()
    pieces = torch.split(pixels, max(1, HIDDEN_AT_ONCE // hidden), dim=2)
    y = torch.cat([channels_last(forward(piece)) for piece in pieces], dim=1)
    return channels_first(y.view(x.shape[0], *x.shape[2:], x.shape[1]))


def _shifted(module: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A depthwise k × k convolution, padded to keep the size, as k² shifted and weighted maps."""
    weight, bias = module.get_parameter("weight"), dict(module.named_parameters()).get("bias")
    if x.dtype != torch.float64:
        return forward(x)
    size = weight.shape[-1]
    height, width = x.shape[-2:]
    padded = functional.pad(channels_last(x), (0, 0, size // 2, size // 2, size // 2, size // 2))
    kernel = weight[:, 0].permute(1, 2, 0).contiguous()
    y = torch.zeros_like(channels_last(x), memory_format=torch.contiguous_format)
    if bias is not None:
        y += bias
    for row in range(size):
        for column in range(size):
            shifted = padded[:, row : row + height, column : column + width]
            y.addcmul_(shifted, kernel[row, column])
    return channels_first(y)


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
