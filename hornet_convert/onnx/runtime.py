"""A model file run by ONNX Runtime: the proof that it computes what it should."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hornet_convert.onnx.graph import INPUT
from hornet_convert.onnx.libraries import missing
from hornet_convert.report.check import Check, failed, not_checked, passed
from hornet_convert.text import printable

TOLERANCE: Final = 2e-6

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """Images (N, 3, H, W) in float32, and what each output should be, by its name, in float64."""

    images: NDArray[np.float32]
    expected: Arrays


def runtime_check(path: Path, cases: Sequence[Case]) -> Check:
    """The row of a model file: checked whole by onnx, then run on the cases and compared.

    With ONNX Runtime's optimisations and without, on the CPU. Every output has to be within 2e-6 of
    the largest value expected.
    """
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return failed("runtime", f"onnx's checker refuses the model: {printable(str(error), 400)}")
    if because := missing("onnxruntime"):
        return not_checked("runtime", f"{because} (onnx's own checker has passed the model)")
    worst = {}
    for optimised in (False, True):
        try:
            running = session(str(path), optimised=optimised)
            deviations = [_deviation(running, case) for case in cases]
        except Exception as error:  # ONNX Runtime has its own for everything, without a common root
            text = printable(str(error), 400)
            return failed("runtime", f"ONNX Runtime cannot run the model: {text}")
        worst["optimised" if optimised else "as it is"] = max(deviations)
    import onnxruntime

    shapes = " and ".join("×".join(map(str, case.images.shape)) for case in cases)
    told = ", ".join(f"{mode} {deviation:.1e}" for mode, deviation in worst.items())
    text = (
        f"passed by onnx's full check; ONNX Runtime {onnxruntime.__version__}, seeded images "
        f"{shapes}, largest relative deviation from float64: {told} (allowed {TOLERANCE:.0e})"
    )
    close = all(deviation <= TOLERANCE for deviation in worst.values())  # not so for NaN
    return (passed if close else failed)("runtime", text)


def _deviation(running: Any, case: Case) -> float:
    """The largest deviation of an output, relative to the largest value expected."""
    found = running.run(list(case.expected), {INPUT: case.images})
    deviations = [0.0]
    for output, expected in zip(found, case.expected.values(), strict=True):
        if output.shape != expected.shape:
            raise ValueError(f"an output of shape {output.shape}, not {expected.shape}")
        deviations.append(float(abs(output - expected).max() / abs(expected).max()))
    return float(np.max(deviations))  # passes NaN on


def session(model: str | bytes, *, optimised: bool = True, weights: Arrays | None = None) -> Any:
    """A session of ONNX Runtime on the CPU that says nothing but errors.

    `model` is a path or the model itself; `weights` take the place of external data by name.
    OMP_NUM_THREADS is how many threads it has, as for torch; by default one for each core.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
        options.intra_op_num_threads = int(threads)
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    )
    if weights is not None:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
