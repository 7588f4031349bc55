"""Models by name, as timm gives them: fresh, or with the published weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, overload

from hornet_convert.api.fetch import Download
from hornet_convert.api.pretrained import pretrained as fetched
from hornet_convert.bars import Bars
from hornet_convert.download.cache import Cache
from hornet_convert.download.sources import SourceChoice
from hornet_convert.family import zoo
from hornet_convert.family.architecture import LAYER_SCALE_INIT
from hornet_convert.model.features import FeatureMaps
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.layers import Device
from hornet_convert.model.load import OWN, DType, Own, fresh_model, load_for_training

CLASSES = 1000  # of a fresh model, if nothing is said
STAGES = (0, 1, 2, 3)


@overload
def create_model(
    name: str,
    num_classes: int | Own | None = ...,
    *,
    pretrained: bool = ...,
    features_only: Literal[False] = ...,
    out_indices: Sequence[int] = ...,
    seed: int | None = ...,
    drop_path: float = ...,
    layer_scale_init: float = ...,
    device: Device = ...,
    dtype: DType | None = ...,
    cache: str | os.PathLike[str] | None = ...,
    mirror: str | os.PathLike[str] | None = ...,
    source: SourceChoice = ...,
    offline: bool = ...,
    refetch: bool = ...,
    progress: bool = ...,
) -> HorNet: ...


@overload
def create_model(
    name: str,
    num_classes: int | Own | None = ...,
    *,
    pretrained: bool = ...,
    features_only: Literal[True],
    out_indices: Sequence[int] = ...,
    seed: int | None = ...,
    drop_path: float = ...,
    layer_scale_init: float = ...,
    device: Device = ...,
    dtype: DType | None = ...,
    cache: str | os.PathLike[str] | None = ...,
    mirror: str | os.PathLike[str] | None = ...,
    source: SourceChoice = ...,
    offline: bool = ...,
    refetch: bool = ...,
    progress: bool = ...,
) -> FeatureMaps: ...


def create_model(
    name: str,
    num_classes: int | Own | None = OWN,
    *,
    pretrained: bool = False,
    features_only: bool = False,
    out_indices: Sequence[int] = STAGES,
    seed: int | None = None,
    drop_path: float = 0.0,
    layer_scale_init: float = LAYER_SCALE_INIT,
    device: Device = None,
    dtype: DType | None = None,
    cache: str | os.PathLike[str] | None = None,
    mirror: str | os.PathLike[str] | None = None,
    source: SourceChoice = "auto",
    offline: bool = False,
    refetch: bool = False,
    progress: bool = True,
) -> HorNet | FeatureMaps:
    """Build a HorNet, in training mode.

    Parameters
    ----------
    name
        A published model by any of its names; without `pretrained` also an architecture such as
        `w16-gf` (width 16).
    num_classes
        Outputs of the classifier. None or 0 for none: the model then returns pooled features.
        "own", the default: the checkpoint's classifier as it is, and 1000 for a fresh model. A
        pretrained model with another number than the checkpoint's gets a freshly initialised
        classifier.
    pretrained
        Take the published weights: fetched, checked and converted the first time, then kept in the
        cache.
    features_only
        Give a `FeatureMaps`: it returns the list of the maps after the stages in `out_indices`, and
        its `feature_info` tells their channels and strides.
    seed
        Makes initial weights depend on this number alone, not on torch's global state, the device
        or the dtype.
    drop_path, layer_scale_init, device, dtype
        See `HorNet`, whose `drop_path_rate` is `drop_path` here. Weights that are pretrained bring
        their own layer scales.
    cache, mirror, source, offline, refetch
        For `pretrained`: the cache's folder if not the usual one, a URL or directory that has the
        files if not that in HORNET_CONVERT_MIRROR, the only source to ask ("mirror", "openmmlab",
        "official"), whether the network is off limits, as with HORNET_CONVERT_OFFLINE=1, whether to
        fetch again what is cached.
    progress
        Show on stderr how fetching and converting go: bars on a terminal, else a few lines. Nothing
        is shown of what is in the cache.

    Raises
    ------
    UnknownModelError
        If there is no such HorNet.
    CheckFailedError
        A check of the published checkpoint failed.
    HornetConvertError
        No source of it can be reached, or it cannot be kept.
    ValueError
        A number makes no sense.
    """
    classes = None if features_only else num_classes
    if not pretrained:
        model = fresh_model(
            name,
            CLASSES if classes == OWN else classes or None,
            seed=seed,
            drop_path=drop_path,
            layer_scale_init=layer_scale_init,
            device=device,
            dtype=dtype,
        )
    else:
        settings = Download(
            Cache.at(cache),
            None if mirror is None else (os.fspath(mirror),),
            source,
            offline=offline,
            refetch=refetch,
            quiet=not progress,
        )
        with Bars() as bars:
            path = fetched(zoo.find(name), settings, events=bars.download, progress=bars.conversion)
        model = load_for_training(
            path, classes, seed=seed, drop_path=drop_path, device=device, dtype=dtype
        )
    return FeatureMaps(model, out_indices) if features_only else model
