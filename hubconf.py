"""The nine for `torch.hub`, from this folder or from the repository that holds it.

model = torch.hub.load("path/to/hornet-convert", "hornet_tiny_gf", pretrained=True, source="local")
"""

from collections.abc import Callable as _Callable
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from hornet_convert.family import zoo as _zoo

if _TYPE_CHECKING:
    from hornet_convert import HorNet as _HorNet

dependencies = [
    "torch", "msgspec", "numpy", "platformdirs", "requests", "safetensors", "tqdm",
    "urllib3",
]  # fmt: skip


def _entry(row: _zoo.Published) -> _Callable[..., "_HorNet"]:
    def entry(pretrained: bool = False, progress: bool = True, **options: _Any) -> "_HorNet":
        from hornet_convert import create_model

        model: _HorNet = create_model(row.name, pretrained=pretrained, progress=progress, **options)
        return model

    entry.__name__ = entry.__qualname__ = _zoo.timm_name(row.architecture)
    entry.__doc__ = f"""{row.label}, for images of {row.architecture.resolution} pixels a side.

    `pretrained` takes the weights trained on {_zoo.DATASETS[row.dataset]}: fetched, checked and
    converted the first time, then kept in the cache; `progress` shows how that goes on stderr. All
    other arguments are those of `hornet_convert.create_model`: num_classes, features_only, device,
    dtype, mirror, cache and so on.
    """
    return entry


for _row in _zoo.MODELS:
    globals()[_zoo.timm_name(_row.architecture)] = _entry(_row)
