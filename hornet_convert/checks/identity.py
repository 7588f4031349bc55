"""Which HorNet a state dict is, in which layout, and what is wrong with its keys and shapes.

Pure: works on names, dtypes and shapes alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.family import architecture, layouts, zoo
from hornet_convert.family.architecture import Architecture, Shape
from hornet_convert.family.layouts import Layout

CLASSIFIER = ("head.fc.weight", "head.fc.bias")
STAGE_NORM = re.compile(r"(?:backbone\.)?norm[0-3]\.(?:weight|bias)")
FINAL_NORM = ("head.norm.weight", "head.norm.bias")


@dataclass(frozen=True)
class Identity:
    """What a state dict is.

    `names` maps the source's keys to reference names; `num_classes` is read off the classifier,
    None if there is none; `missing` are reference names; `unknown` and `doubled` are source keys;
    `misshapen` has (expected shape, found shape) by reference name. `stage_norms` are source keys
    of the norms that detectors have after each stage, which are in no classification checkpoint.
    """

    layout: Layout | None = None
    architecture: Architecture | None = None
    num_classes: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    doubled: tuple[tuple[str, ...], ...] = ()
    misshapen: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)
    stage_norms: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """Short name of the model, `tiny-gf` or `w8`."""
        return None if self.architecture is None else self.architecture.name

    @property
    def published(self) -> zoo.Published | None:
        """The row of the nine with this architecture, if it is one of them."""
        return zoo.BY_NAME.get(self.name or "")

    @property
    def backbone(self) -> bool:
        """Whether it is all but classifier and final norm: what detectors load."""
        headless = self.num_classes is None and set(self.missing) == set(FINAL_NORM)
        return self.layout is not None and headless

    @property
    def complete(self) -> bool:
        """Whether the keys are exactly the model's, or those of a backbone."""
        missing = self.missing and not self.backbone
        return not (missing or self.unknown or self.doubled) and self.architecture is not None

    @property
    def sound(self) -> bool:
        """Whether keys and shapes are exactly the model's."""
        return self.complete and not self.misshapen


def identify(tensors: Mapping[str, Tensor], expected: Architecture | None = None) -> Identity:
    """Identify a state dict from its own keys and shapes.

    `expected`, where the user said which model it is, is used if the shapes do not tell.
    """
    layout = layouts.detect(tensors)
    if layout is None:
        return Identity(architecture=expected, unknown=tuple(tensors))
    mapping = layouts.remap(tensors, layout, "reference")
    if not any(".gnconv." in name for name in mapping.names.values()):
        return Identity(architecture=expected, unknown=tuple(tensors))  # a ConvNeXt has such stages
    shapes = {name: tensors[key].shape for key, name in mapping.names.items()}
    guess = architecture.infer(shapes) or expected
    # Rows of the classifier, from its weight or, without one, its bias.
    num_classes = next((shapes[name][0] for name in CLASSIFIER if shapes.get(name)), None)
    final = set(FINAL_NORM) & set(mapping.names.values())
    norms: tuple[str, ...] = ()
    if layout == "openmmlab" or not final:
        norms = tuple(filter(STAGE_NORM.fullmatch, mapping.unknown))
    unknown = tuple(key for key in mapping.unknown if key not in norms)
    told = Identity(
        layout, guess, num_classes, mapping.names, (), unknown, mapping.collisions,
        stage_norms=norms,
    )  # fmt: skip
    if guess is None:
        return told
    # A classifier of no rows is one of a wrong shape: it should have one row at least.
    wanted = guess.shapes(None if num_classes is None else max(num_classes, 1))
    strangers = tuple(key for key, name in mapping.names.items() if name not in wanted)
    return replace(
        told,
        missing=tuple(name for name in wanted if name not in shapes),
        unknown=unknown + strangers,
        misshapen={
            name: (wanted[name], shape)
            for name, shape in shapes.items()
            if shape != wanted.get(name, shape)
        },
    )
