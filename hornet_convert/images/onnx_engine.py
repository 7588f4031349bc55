"""Models run by ONNX Runtime: the graph of any checkpoint, built as it is read. No torch."""

from __future__ import annotations

import os

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor, dense_strides
from hornet_convert.checks.complete import architecture_of
from hornet_convert.checks.model_file import examine
from hornet_convert.errors import UsageError
from hornet_convert.images.engine import Engine, Logits, Pixels
from hornet_convert.images.preprocess import normalise
from hornet_convert.numbers.elements import numbers
from hornet_convert.onnx.libraries import require


def require_onnxruntime(device: str | None = None) -> None:
    """Raise UsageError if the libraries are missing, or for a device that is not the CPU."""
    require("onnx")
    require("onnxruntime")
    if device not in (None, "cpu"):
        raise UsageError(
            "ONNX Runtime computes on the CPU here",
            found=f"device {device}",
            hint="Leave the device out, or use torch.",
        )


class OnnxEngine(Engine):
    """The HorNet in a checkpoint of any container and layout, its weights in float32.

    `key`, `ema` and `prefix` choose among several sets of weights. Raises CheckFailedError if it is
    no complete HorNet with a final norm; else what `open_checkpoint` raises.
    """

    name = "onnxruntime"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | None = None,
        ema: bool = False,
        prefix: str | None = None,
    ) -> None:
        require_onnxruntime()
        from hornet_convert.onnx.model import hornet_model
        from hornet_convert.onnx.runtime import session

        with open_checkpoint(path) as checkpoint:
            file = examine(checkpoint, key=key, ema=ema, prefix=prefix)
            self.architecture = architecture_of(file)
            self.num_classes = file.identity.num_classes
            self.classes()
            tensors = file.by_reference_name
            model = hornet_model(
                self.architecture,
                self.num_classes,
                {name: _in_float32(tensor) for name, tensor in tensors.items()},
                location="weights",  # of no file: they are given to the session
            )
            weights = {}
            for each in model.graph.initializer:
                tensor = tensors[each.name]
                values = numbers(checkpoint.read(tensor), tensor.dtype).astype("<f4")
                weights[each.name] = values.reshape(tuple(each.dims))
        self.any_size = self.architecture.filter_resolution is None
        self._session = session(model.SerializeToString(), weights=weights)

    def logits(self, pixels: Pixels) -> Logits:
        """Logits (N, classes) in float32."""
        logits: Logits = self._session.run(None, {"images": normalise(pixels)})[0]
        return logits


def _in_float32(tensor: Tensor) -> Tensor:
    """A tensor of the same shape that lies nowhere."""
    shape = tensor.shape
    return Tensor(DTYPES["F32"], shape, dense_strides(shape), 0, Storage(0, 0))
