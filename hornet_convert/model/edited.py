"""What a conversion's edits do to a model, by other code than the conversion's.

Of the source's weights rows are taken and numbers rounded by torch; a filter of another size is
left to the forward pass, which resizes it itself. How far rounding moves the outputs is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checks.identity import CLASSIFIER
from hornet_convert.conversion.expected import Contents
from hornet_convert.conversion.readback import Wanted
from hornet_convert.family.architecture import Architecture
from hornet_convert.model.equivalence import hasten, memory_errors
from hornet_convert.model.load import model_from_weights, neutral_norm
from hornet_convert.model.weights import CheckpointWeights
from hornet_convert.report.progress import Passing

IMAGES: Final = 4
TOP: Final = 5

Tensors = Mapping[str, torch.Tensor]


class EditedWeights(CheckpointWeights):
    """A checkpoint's weights under its own keys, its classifier and its precision edited.

    Filters keep their size. Each tensor is read when it is asked for.
    """

    def __init__(self, checkpoint: Checkpoint, asked: Wanted) -> None:
        self._edits = {row.key: row for row in asked.result.tensors.values() if not row.resized}
        left_out = set(CLASSIFIER) if asked.result.num_classes is None else set()
        rows = asked.source.tensors.values()
        super().__init__(checkpoint, {r.key: r.source for r in rows if r.name not in left_out})

    def __getitem__(self, key: str) -> torch.Tensor:
        """One tensor, edited."""
        tensor, edit = super().__getitem__(key), self._edits.get(key)
        if edit is None:
            return tensor
        if edit.rows is not None:
            tensor = tensor.index_select(0, torch.tensor(edit.rows))
        return rounded(tensor, edit.dtype.torch)


def rounded(tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    """The nearest numbers of another type, ties to even.

    torch goes from float64 to 16 bits by way of float32, which rounds twice. Where float32 is not
    exact, its neighbour with an odd last bit is taken, from which rounding again is rounding once.
    """
    target: torch.dtype = getattr(torch, dtype)
    if tensor.dtype == torch.float64 and target.itemsize == 2:
        single = tensor.float()
        even = single.view(torch.int32) % 2 == 0
        direction = torch.where(tensor > single, torch.inf, -torch.inf).float()
        other = torch.nextafter(single, direction)
        single = torch.where((single.double() != tensor) & even, other, single)
        return single.to(target)
    return tensor.to(target)


@dataclass(frozen=True)
class Drift:
    """How far rounded weights move the outputs from those of the source's own weights.

    `largest` and `rms` are differences relative to the largest absolute value of an output, over
    all images; `output` is logits or features. `top1_same` counts the images whose first class is
    the same, `top5_shared` the classes that both have among their first five, of `top5_of`; None
    without a classifier. `computed_in` is the precision of the arithmetic, on both sides.
    """

    dtype: str
    computed_in: str
    images: int
    image_size: int
    seed: int
    output: str
    largest: float
    rms: float
    top1_same: int | None = None
    top5_shared: int | None = None
    top5_of: int | None = None

    @property
    def finite(self) -> bool:
        """Whether both sides gave numbers."""
        return math.isfinite(self.largest) and math.isfinite(self.rms)

    def to_json(self) -> dict[str, Any]:
        """The measurement as a JSON object; what is not finite is null."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    @property
    def sentence(self) -> str:
        """The measurement in words."""
        if not self.finite:
            return (
                f"rounded to {self.dtype}: the {self.output} of {self.images} seeded images, "
                f"computed in {self.computed_in}, are not finite, or zero"
            )
        agreement = ""
        if self.top5_of is not None:
            agreement = (
                f"; the first class is the same for {self.top1_same} of {self.images}, "
                f"{self.top5_shared} of {self.top5_of} of the first five are shared"
            )
        return (
            f"rounded to {self.dtype}: on {self.images} seeded {self.image_size}×{self.image_size} "
            f"images the {self.output} move by up to {self.largest:.1e} of the largest "
            f"(rms {self.rms:.1e}){agreement}. Computed in {self.computed_in}; computing in "
            f"{self.dtype} moves them further"
        )


@memory_errors()
def measure_drift(
    source: Tensors, target: Tensors, asked: Wanted, progress: Passing | None = None
) -> Drift:
    """Run the reference model with the source's weights and with the result's, and compare.

    Both on the same images, of the result's resolution, where the source's filters are resized by
    the model. In float32, or in float64 where the result is float32.
    """
    result, to = asked.result, asked.result.rounded
    if to is None:
        raise ValueError("nothing was rounded")
    dtype = torch.float64 if to == "float32" else torch.float32
    size, seed = Architecture.from_name(result.model).resolution, 0
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(IMAGES, 3, size, size, generator=generator).to(dtype)
    mine = {row.name: key for key, row in asked.source.tensors.items()}
    told = progress or (lambda done, total: None)
    before = _outputs(source, mine, asked.source, result, images)
    told(1, 2)
    if result.rows is not None:
        before = before[:, list(result.rows)]
    after = _outputs(target, {name: name for name in target}, result, result, images)
    told(2, 2)
    difference = (after - before).double() / before.abs().max().double()
    top: dict[str, int] = {}
    if result.num_classes is not None:
        count = min(TOP, result.num_classes)
        ours, theirs = after.topk(count).indices, before.topk(count).indices
        shared = (ours[:, :, None] == theirs[:, None, :]).sum()
        top = {
            "top1_same": int((ours[:, 0] == theirs[:, 0]).sum()),
            "top5_shared": int(shared),
            "top5_of": IMAGES * count,
        }
    return Drift(
        dtype=to,
        computed_in=str(dtype).removeprefix("torch."),
        images=IMAGES,
        image_size=size,
        seed=seed,
        output="features" if result.num_classes is None else "logits",
        largest=difference.abs().max().item(),
        rms=difference.square().mean().sqrt().item(),
        **top,
    )


def _outputs(
    weights: Tensors,
    keys: Mapping[str, str],
    contents: Contents,
    result: Contents,
    images: torch.Tensor,
) -> torch.Tensor:
    """Logits (N, classes), or features (N, C) if the result has no classifier.

    `keys` are those of the weights by reference name. Each tensor is asked for when it is cast, so
    that no two copies of all are held. Without a final norm in the result both sides get the same
    neutral one.
    """
    architecture = Architecture.from_name(contents.model)
    num_classes = None if result.num_classes is None else contents.num_classes
    wanted = [name for name in keys if num_classes is not None or name not in CLASSIFIER]
    tensors = {name: weights[keys[name]].to(images.dtype) for name in wanted}
    if result.layout == "backbone":
        tensors |= neutral_norm(architecture, images.dtype)
    model = model_from_weights(architecture, num_classes, tensors, dtype=images.dtype)
    hasten(model)
    with torch.inference_mode():
        return torch.cat([model(image[None]) for image in images])
