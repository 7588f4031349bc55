"""What a HorNet is made of: every tensor's name and shape, the parameters, the FLOPs.

Pure arithmetic on the definition (Rao et al., "HorNet", NeurIPS 2022, arXiv 2207.14284, section 3
and table 6). Names are those of the `reference` layout; `layouts.py` translates them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

DEPTHS = (2, 3, 18, 2)
ORDERS = (2, 3, 4, 5)
MLP_RATIO = 4
LAYER_SCALE_INIT = 1e-6
NATIVE_RESOLUTION = 224
WIDTHS = {"tiny": 64, "small": 96, "base": 128, "large": 192}

Shape = tuple[int, ...]

_NAME = re.compile(
    r"(?P<size>tiny|small|base|large|w(?P<width>[1-9]\d{0,4}))(?P<gf>-gf(?P<res>\d+)?)?"
)


@dataclass(frozen=True)
class Architecture:
    """One member of the family.

    `width` is the channels C of the first stage, a multiple of 4; the stages have C, 2C, 4C and 8C.
    `filter_resolution` is the side of the image, in pixels, that the global-local filters are sized
    for; None for a plain model, whose filters are 7×7 depthwise convolutions everywhere.
    """

    width: int
    filter_resolution: int | None = None

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4:
            raise ValueError(f"width must be a positive multiple of 4, not {self.width}")
        if self.filter_resolution is not None and self.filter_resolution < 32:
            raise ValueError(f"filter resolution must be 32 or more, not {self.filter_resolution}")

    @classmethod
    def from_name(cls, name: str) -> Architecture:
        """Parse `<size>[-gf[<resolution>]]`; the size is tiny, small, base, large or `w<width>`.

        Raises ValueError for anything else.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"not the name of a HorNet: {name!r}")
        width = int(match["width"]) if match["width"] else WIDTHS[match["size"]]
        return cls(width, int(match["res"] or NATIVE_RESOLUTION) if match["gf"] else None)

    @property
    def name(self) -> str:
        """Short name: `tiny`, `large-gf384`, `w8-gf`."""
        sizes = {width: size for size, width in WIDTHS.items()}
        size = sizes.get(self.width, f"w{self.width}")
        if self.filter_resolution is None:
            return size
        suffix = "" if self.filter_resolution == NATIVE_RESOLUTION else str(self.filter_resolution)
        return f"{size}-gf{suffix}"

    @property
    def resolution(self) -> int:
        """Side in pixels of the square image the model is meant for."""
        return self.filter_resolution or NATIVE_RESOLUTION

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four stages."""
        return tuple(self.width << stage for stage in range(4))

    def filter_shape(self, stage: int) -> tuple[int, int] | None:
        """(h, w) of the half spectrum that a stage's global-local filter holds; None if plain."""
        if self.filter_resolution is None or stage < 2:
            return None
        side = self.filter_resolution // (4 << stage)
        return side, side // 2 + 1

    def openmmlab_arch(self) -> str | None:
        """The `arch` that mmpretrain's HorNet has to be given; None where one of its names will do.

        Its "large-gf384" is made for other filters, (24, 12) and (13, 7), and no other name is for
        images of another size than 224.
        """
        if self.filter_resolution in (None, NATIVE_RESOLUTION) and self.width in WIDTHS.values():
            return None
        spectra = (self.filter_shape(stage) for stage in range(4))
        filters = [
            f"dict(type='GF', h={found[0]}, w={found[1]})"
            if found
            else "dict(type='DW', kernel_size=7)"
            for found in spectra
        ]
        return (
            f"dict(base_dim={self.width}, depths={list(DEPTHS)}, orders={list(ORDERS)}, "
            f"dw_cfg=[{', '.join(filters)}])"
        )

    def shapes(self, num_classes: int | None) -> dict[str, Shape]:
        """Every tensor of the model in the reference layout, in the order of the computation.

        `num_classes` None leaves out the classifier `head.fc`.
        """
        shapes: dict[str, Shape] = {}

        def affine(name: str, *weight: int) -> None:
            shapes[f"{name}.weight"] = weight
            shapes[f"{name}.bias"] = weight[:1]

        affine("stem.0", self.width, 3, 4, 4)
        affine("stem.1", self.width)
        for stage, dim in enumerate(self.widths):
            if stage:
                affine(f"stages.{stage}.downsample.0", dim // 2)
                affine(f"stages.{stage}.downsample.1", dim, dim // 2, 2, 2)
            for block in range(DEPTHS[stage]):
                prefix = f"stages.{stage}.blocks.{block}"
                shapes[f"{prefix}.gamma1"] = (dim,)
                shapes[f"{prefix}.gamma2"] = (dim,)
                affine(f"{prefix}.norm1", dim)
                affine(f"{prefix}.gnconv.proj_in", 2 * dim, dim, 1, 1)
                parts = order_widths(dim, ORDERS[stage])
                spectrum = self.filter_shape(stage)
                dwconv = f"{prefix}.gnconv.dwconv"
                if spectrum is None:
                    affine(dwconv, sum(parts), 1, 7, 7)
                else:
                    half = sum(parts) // 2
                    affine(f"{dwconv}.pre_norm", 2 * half)
                    shapes[f"{dwconv}.dw.weight"] = (half, 1, 3, 3)
                    shapes[f"{dwconv}.complex_weight"] = (half, *spectrum, 2)
                    affine(f"{dwconv}.post_norm", 2 * half)
                for k in range(len(parts) - 1):
                    affine(f"{prefix}.gnconv.pws.{k}", parts[k + 1], parts[k], 1, 1)
                affine(f"{prefix}.gnconv.proj_out", dim, dim, 1, 1)
                affine(f"{prefix}.norm2", dim)
                affine(f"{prefix}.mlp.fc1", MLP_RATIO * dim, dim)
                affine(f"{prefix}.mlp.fc2", dim, MLP_RATIO * dim)
        affine("head.norm", self.widths[-1])
        if num_classes is not None:
            affine("head.fc", num_classes, self.widths[-1])
        return shapes

    def parameters(self, num_classes: int | None) -> int:
        """Exact number of parameters; a filter's real and imaginary parts count one each."""
        return sum(math.prod(shape) for shape in self.shapes(num_classes).values())

    def flops(self) -> int:
        """Multiply-adds for one image at `resolution`, by the rule of the published figures.

        Counted: every convolution and linear layer but the classifier, and 5 per element of each
        block's second LayerNorm. Not counted: the Fourier transforms and every other norm.
        """
        total = 0
        for name, shape in self.shapes(None).items():
            stage = int(name.split(".")[1]) if name.startswith("stages.") else 0
            pixels = (self.resolution // (4 << stage)) ** 2
            if name.endswith(".norm2.weight"):
                total += 5 * pixels * shape[0]
            elif len(shape) > 1 and not name.endswith("complex_weight"):
                total += pixels * math.prod(shape)
        return total


def order_widths(dim: int, order: int) -> tuple[int, ...]:
    """Channels d_0..d_{n-1} that a gnConv of order n multiplies: d_k = d / 2^(n-1-k)."""
    return tuple(dim >> (order - 1 - k) for k in range(order))


def infer(shapes: Mapping[str, Shape]) -> Architecture | None:
    """The architecture a state dict's shapes (reference names) point to, or None.

    Reads the width off the first tensor that shows it and the filter size off any filter, so that a
    few missing or wrong tensors do not hide what the rest is.
    """
    widths, sides = Counter[int](), Counter[int]()
    for name, shape in shapes.items():
        stage = int(name.split(".")[1]) if name.startswith("stages.") else 0
        if name.endswith((".gamma1", ".norm1.weight")) and len(shape) == 1:
            if stage < 4 and shape[0] % (1 << stage) == 0:
                widths[shape[0] >> stage] += 1
        elif name == "stem.0.weight" and len(shape) == 4:
            widths[shape[0]] += 1
        elif name.endswith(".complex_weight") and len(shape) == 4:
            sides[shape[1] * (4 << stage)] += 1
    ((width, _),) = widths.most_common(1) or [(0, 0)]
    side = max(sides, key=lambda side: (sides[side], side), default=None)
    if width < 4 or width % 4 or (side is not None and side < 32):
        return None
    return Architecture(width, side)
