"""The filter in the Fourier domain as products with constant matrices: no DFT operator is needed.

Both transforms are orthonormal and go one axis at a time, columns first. Maps are channels last, so
that every product has all channels at once; complex numbers are an axis of two. What is sorted
before or after a product is sorted in its constant.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hornet_convert.onnx.nodes import Nodes

Matrix = NDArray[Any]


def filtered(nodes: Nodes, name: str, x: str, weight: str, side: int, channels: int) -> str:
    """Maps (N, side, side, channels), each channel's half spectrum multiplied by its `weight`.

    `weight` is (channels, side, side // 2 + 1, 2). Channels last again.
    """
    half = side // 2 + 1
    inside = half * channels  # of a row of the spectrum

    def product(part: str, matrix: Matrix, right: str) -> str:
        constant = nodes.numbers(f"fourier/{side}/{part}", matrix)
        return nodes.add("MatMul", f"{name}/{part}", constant, right)

    rows = rows_forward(side)
    y = product("columns", columns_forward(side), x)
    y = nodes.reshape(f"{name}/complex", y, -1, 2 * side, inside)
    # The spectrum, and i times the spectrum: the sum of both, weighted, is the complex product.
    y = product("rows", np.concatenate([rows, [*-rows[side:], *rows[:side]]]), y)
    y = nodes.reshape(f"{name}/spectra", y, -1, 4, side, inside)
    spectrum, turned = nodes.parts(f"{name}/turned", y, (2, 2), axis=1)
    w = nodes.add("Transpose", f"{name}/weight", weight, perm=(3, 1, 2, 0))
    w = nodes.reshape(f"{name}/weights", w, 2, side, inside)
    real, imaginary = nodes.parts(f"{name}/parts", w, (1, 1), axis=0)
    y = nodes.add(
        "Add",
        f"{name}/product",
        nodes.add("Mul", f"{name}/real", spectrum, real),
        nodes.add("Mul", f"{name}/imaginary", turned, imaginary),
    )
    y = nodes.reshape(f"{name}/filtered", y, -1, 2 * side, inside)
    y = product("rows_back", rows.T, y)
    y = nodes.reshape(f"{name}/back", y, -1, side, 2 * half, channels)
    return product("columns_back", columns_back(side), y)


def columns_forward(side: int) -> Matrix:
    """From a row of pixels to its half spectrum: (real parts, imaginary parts) × pixels."""
    cos, sin = (wave[: side // 2 + 1] for wave in _waves(side))
    return np.concatenate([cos, -sin])


def rows_forward(side: int) -> Matrix:
    """From a column of complex numbers to its spectrum.

    (real parts, imaginary parts) × (real and imaginary part of the first, of the second, …); its
    transpose is the way back.
    """
    cos, sin = _waves(side)
    real, imaginary = np.stack([cos, sin], -1), np.stack([-sin, cos], -1)
    return np.concatenate([real.reshape(side, -1), imaginary.reshape(side, -1)])


def columns_back(side: int) -> Matrix:
    """From the half spectrum of a row, (real parts, imaginary parts), to its pixels.

    A frequency stands for its conjugate, too, where that is not in the half itself.
    """
    cos, sin = (wave[: side // 2 + 1].T for wave in _waves(side))
    counts = np.full(side // 2 + 1, 2.0)
    counts[0] = 1
    if side % 2 == 0:
        counts[-1] = 1
    return np.concatenate([counts * cos, -counts * sin], 1)


def _waves(side: int) -> tuple[Matrix, Matrix]:
    """Cosines and sines of 2π · frequency · position / side, divided by √side.

    Reduced to one turn before, and rounded far below float32, so that every machine has the same.
    """
    angles = np.outer(np.arange(side), np.arange(side)) % side * (2 * math.pi / side)
    cos, sin = (np.round(wave / math.sqrt(side), 12) for wave in (np.cos(angles), np.sin(angles)))
    return cos, sin
