"""The nine HorNets for timm: importing this module registers them.

    import hornet_convert.timm
    model = timm.create_model("hornet_tiny_gf.in1k", pretrained=True)

Every name makes a `HorNet`. Published weights come by way of this package: fetched, checked and
converted the first time, then kept in its cache, or in timm's `cache_dir` if that is given. A
`file` that `pretrained_cfg` or its overlay name instead is read as `load_state_dict` reads it, in
any container and layout; what comes by another of timm's ways, in any layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    load_pretrained,
    register_model,
    resolve_pretrained_cfg,
)
from torch import nn

from hornet_convert.api.fetch import Download
from hornet_convert.api.pretrained import pretrained as fetched
from hornet_convert.checks.identity import CLASSIFIER
from hornet_convert.download.cache import Cache
from hornet_convert.family import zoo
from hornet_convert.family.layouts import detect, remap
from hornet_convert.family.pretrained_cfg import pretrained_cfg as published_cfg
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.load import load_state_dict

__all__: list[str] = []  # timm adds the names
default_cfgs: dict[str, Any] = {}  # timm looks here


class TimmHorNet(HorNet):
    """A HorNet that reads files by way of this package when timm loads them into it."""

    def load_pretrained(self, path: str) -> None:
        """Load a checkpoint of any container and layout, fitted to classes and channels by timm."""
        cfg = {**self.pretrained_cfg, "state_dict": dict(load_state_dict(path))}
        load_pretrained(self, cfg, num_classes=self.num_classes, in_chans=self.in_chans)


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """The weights under the names of a HorNet, in whichever of the three layouts they came.

    What has no meaning in the layout keeps its name, so that loading it strictly says so.
    """
    for wrapper in ("state_dict", "model"):
        state_dict = state_dict.get(wrapper, state_dict)
    names = remap(state_dict, detect(state_dict) or "reference", "reference").names
    return {names.get(key, key): tensor for key, tensor in state_dict.items()}


def register(row: zoo.Published) -> None:
    """Make a published model known to timm, under its name there and its dataset as the tag."""
    name = zoo.timm_name(row.architecture)
    cfg = {**published_cfg(row.architecture), "url": row.openmmlab_url}
    default_cfgs.update(generate_default_cfgs({f"{name}.{row.dataset}": cfg}))

    def entry_point(pretrained: bool = False, **options: Any) -> nn.Module:
        return _build(row, name, pretrained, **options)

    entry_point.__name__ = entry_point.__qualname__ = name
    entry_point.__doc__ = f"{row.label}: a `HorNet`; arguments as of `timm.create_model`."
    globals()[name] = register_model(entry_point)


def _build(
    row: zoo.Published,
    name: str,
    pretrained: bool,
    *,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> nn.Module:
    """What timm calls to make a model; `options` are those of `HorNet` and of timm's builder."""
    overlay = dict(pretrained_cfg_overlay or {})
    cfg = resolve_pretrained_cfg(name, pretrained_cfg, overlay)
    elsewhere = cfg.state_dict or cfg.hf_hub_id or cfg.source or cfg.url != row.openmmlab_url
    file = cfg.file
    if pretrained and not file and not elsewhere:
        file = str(fetched(row, Download(Cache.at(cache_dir))))
    if pretrained and file and not (cfg.state_dict or cfg.source):
        head = load_state_dict(file).get(CLASSIFIER[0])
        found = {"file": file, "custom_load": True, "num_classes": 0 if head is None else len(head)}
        overlay = found | overlay
    made: nn.Module = build_model_with_cfg(
        partial(TimmHorNet, row.architecture),
        name,
        pretrained,
        pretrained_cfg=pretrained_cfg,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": (0, 1, 2, 3), "flatten_sequential": True},
        cache_dir=cache_dir,
        **options,
    )
    return made


for _row in zoo.MODELS:
    register(_row)
