"""The nine published checkpoints: one row each, and every fact about them in that row.

Figures as published by OpenMMLab's model zoo and the authors' README; what is wrong in them is
noted in `errata` and never used as an expectation. Parameters and FLOPs are computed from the
definition in `architecture.py`, not copied from here.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hornet_convert.errors import UnknownModelError
from hornet_convert.family.architecture import Architecture
from hornet_convert.text import printable

OPENMMLAB_BASE_URL = "https://download.openmmlab.com/mmclassification/v0/hornet/"
OFFICIAL_URL = "https://cloud.tsinghua.edu.cn/f/{id}/?dl=1"

DATASETS = {"in1k": "ImageNet-1k", "in21k": "ImageNet-21k"}

PARAMETERS_TOLERANCE_M = 0.0051  # the published counts are rounded to 0.01 M

IN21K_HEAD = (
    "The ImageNet-21k head has 10459 rows (ImageNet-21K-P plus nine classes), so the file holds "
    "more parameters than the published total, which counts 1000 classes."
)
GF384_PARAMETERS = (
    "The published 201.23 M was counted with filters of 24×12 and 13×7; the half spectra of 24×24 "
    "and 12×12 are 24×13 and 12×7, which gives 201 806 824."
)


@dataclass(frozen=True)
class Published:
    """One published checkpoint.

    `sha8` is the first eight hex digits of the file's SHA-256, as its name carries them: it
    identifies a file and does not secure it. `superseded` are the digits of earlier publications
    under the same name. `official_links` are share ids, current first. Parameters in millions,
    FLOPs in 10^9 multiply-adds, accuracies in per cent.
    """

    name: str
    label: str
    authors_name: str
    dataset: str
    date: str
    sha8: str
    parameters_m: float
    flops_g: float
    top1: float | None
    top5: float | None
    official_links: tuple[str, str]
    superseded: tuple[str, ...] = ()
    flops_exact: int | None = None
    batch_config: str | None = None
    errata: tuple[str, ...] = ()

    published_classes: ClassVar[int] = 1000  # that the published parameter counts stand for

    @cached_property
    def architecture(self) -> Architecture:
        """Its architecture."""
        return Architecture.from_name(self.name)

    @property
    def stem(self) -> str:
        """File name without hash and extension, `<model>_3rdparty_<dataset>_<date>`."""
        return f"hornet-{self.name}_3rdparty_{self.dataset}_{self.date}"

    @property
    def file_name(self) -> str:
        """Published file name."""
        return f"{self.stem}-{self.sha8}.pth"

    @property
    def openmmlab_url(self) -> str:
        """Where OpenMMLab published it."""
        return OPENMMLAB_BASE_URL + self.file_name

    @property
    def official_urls(self) -> tuple[str, ...]:
        """The authors' share links, current first."""
        return tuple(OFFICIAL_URL.format(id=link) for link in self.official_links)

    @property
    def parameters_are_right(self) -> bool:
        """Whether the published parameter count is that of the definition, up to its rounding."""
        exact = self.architecture.parameters(self.published_classes)
        return abs(exact / 1e6 - self.parameters_m) <= PARAMETERS_TOLERANCE_M


MODELS: tuple[Published, ...] = (
    Published(
        "tiny", "HorNet-T", "hornet_tiny_7x7", "in1k", "20220915", "0e8eedff",
        22.41, 3.98, 82.84, 96.24, ("bac9690c72944d19aca1", "1ca970586c6043709a3f"),
        ("13316b34",), 3_976_156_352, "8xb128",
    ),
    Published(
        "tiny-gf", "HorNet-T-GF", "hornet_tiny_gf", "in1k", "20220915", "4c35a66b",
        22.99, 3.9, 82.98, 96.38, ("460e759c82324ea6bfa3", "511faad0bde94dfcaa54"),
        ("954c0361",), 3_896_472_160, "8xb128",
    ),
    Published(
        "small", "HorNet-S", "hornet_small_7x7", "in1k", "20220915", "5935f60f",
        49.53, 8.83, 83.79, 96.75, ("8ef64277da0e469ea857", "46422799db2941f7b684"),
        ("fab3bfc3",), 8_825_621_280, "8xb64",
    ),
    Published(
        "small-gf", "HorNet-S-GF", "hornet_small_gf", "in1k", "20220915", "649ca492",
        50.4, 8.71, 83.98, 96.77, ("959603ca287d4c09ad49", "8405c984bf084d2ba85a"),
        ("cd269a14",), 8_706_094_992, "8xb64",
    ),
    Published(
        "base", "HorNet-B", "hornet_base_7x7", "in1k", "20220915", "a06176bb",
        87.26, 15.59, 84.24, 96.94, ("13a748487711492e9704", "5c86cb3d655d4c17a959"),
        ("41ea3439",), 15_582_677_376, "8xb64",
    ),
    Published(
        "base-gf", "HorNet-B-GF", "hornet_base_gf", "in1k", "20220915", "82c06fa7",
        88.42, 15.42, 84.32, 96.95, ("c212d1d8a3914b47a5c1", "6c84935e63b547f383fb"),
        ("759d587c",), 15_423_308_992, "8xb64",
    ),
    Published(
        "large", "HorNet-L", "hornet_large_7x7", "in21k", "20220909", "9ccef421",
        194.54, 34.83, None, None, ("c2fc23caae084a3aa73d", "a76f7ce114ad4e9c8ffb"),
        errata=(IN21K_HEAD,),
    ),
    Published(
        "large-gf", "HorNet-L-GF", "hornet_large_gf", "in21k", "20220909", "3aea3b61",
        196.29, 34.58, None, None, ("8600206ebdfa485f98d0", "12c99a79e77341e59681"),
        errata=(IN21K_HEAD,),
    ),
    Published(
        "large-gf384", "HorNet-L-GF384", "hornet_large_gf_img384", "in21k", "20220909", "80894290",
        201.23, 101.63, None, None, ("eec48d5eca5a48d98fd2", "9253bd0d50c84ab1b71e"),
        errata=(GF384_PARAMETERS, IN21K_HEAD),
    ),
)  # fmt: skip

BY_NAME = {model.name: model for model in MODELS}

_HASH = re.compile(r"-([0-9a-f]{8,64})$")
_EXTENSION = re.compile(r"\.(pth|pt|safetensors)$")


def find(name: str) -> Published:
    """The row a user means: short name, README label, authors' name, published file stem or file.

    In a `.safetensors` file's name the hash is of its own bytes, else that of a publication.
    Raises UnknownModelError, with the nearest names as suggestions.
    """
    plain, digits = _plain(name)
    aliases = _by_alias()
    if plain not in aliases:
        near = difflib.get_close_matches(plain, list(aliases), n=3, cutoff=0.5)
        meant = " or ".join(dict.fromkeys(aliases[alias].name for alias in near))
        raise UnknownModelError(
            f"no HorNet is called {printable(name)!r}",
            expected="one of " + ", ".join(BY_NAME),
            hint=f"Did you mean {meant}?" if meant else "See `hornet-convert list`.",
        )
    model = aliases[plain]
    if digits is None or digits[:8] in (model.sha8, *model.superseded):
        return model
    before = "".join(f", or {old} of 2022-09-09" for old in model.superseded)
    raise UnknownModelError(
        f"no file of {model.label} was published with the hash {digits}",
        where=printable(name),
        expected=f"{model.sha8}{before}",
        hint=f"Leave the hash out for the current file: {model.name}.",
    )


def known(name: str) -> Published | None:
    """The row of a name, whatever hash is in it; None if there is no such row."""
    return _by_alias().get(_plain(name)[0])


def architecture_of(name: str) -> Architecture:
    """The architecture a name means: one of the nine in any spelling, or `w8-gf` and the like.

    Raises UnknownModelError.
    """
    try:
        return Architecture.from_name(name)
    except ValueError:
        return find(name).architecture


def timm_name(architecture: Architecture) -> str:
    """What timm calls a HorNet: `hornet_tiny_gf`."""
    return "hornet_" + architecture.name.replace("-", "_")


def of_timm_name(name: str) -> Architecture | None:
    """The HorNet of a name in timm's spelling, also the authors', with or without a tag."""
    plain = name.partition(".")[0]
    try:
        return Architecture.from_name(plain.removeprefix("hornet_").replace("_", "-"))
    except ValueError:
        row = known(plain)
        return None if row is None else row.architecture


def with_hash(digits: str) -> tuple[Published, bool] | None:
    """The row whose current (True) or superseded (False) publication a SHA-256 belongs to."""
    for model in MODELS:
        if digits[:8] in (model.sha8, *model.superseded):
            return model, digits[:8] == model.sha8
    return None


@functools.cache
def _by_alias() -> dict[str, Published]:
    return {_plain(alias)[0]: model for model in MODELS for alias in _aliases(model)}


def _aliases(model: Published) -> tuple[str, ...]:
    short, full = model.label.removeprefix("HorNet-"), f"hornet-{model.name}"
    data = (model.dataset, "in22k") if model.dataset == "in21k" else (model.dataset,)
    trained = [f"{full}{by}-{name}" for name in data for by in ("", "-3rdparty")]
    return (model.name, full, model.label, short, model.authors_name, model.stem, *trained)


def _plain(name: str) -> tuple[str, str | None]:
    """Spelling without case, separators and extension, and the hash of a publication."""
    lower = name.strip().lower()
    stem = _EXTENSION.sub("", lower)
    found = None if lower.endswith(".safetensors") else _HASH.search(stem)
    plain = re.sub(r"[\s_.()-]+", "", _HASH.sub("", stem))
    return plain, None if found is None else found[1]
