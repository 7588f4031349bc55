"""Kinds of file that are met again and again, each known by sight and said in a sentence. Pure.

Superseded publications, filters of OpenMMLab's wrong sizes, other heads, models that were never
trained, backbones of detectors and segmenters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hornet_convert.errors import printable
from hornet_convert.family import zoo
from hornet_convert.family.architecture import DEPTHS, LAYER_SCALE_INIT, Shape, infer
from hornet_convert.family.layouts import Layout, translate
from hornet_convert.verification.identity import Identity
from hornet_convert.verification.naming import listed, split_block
from hornet_convert.verification.report import Check

# Rows that a head of the training data may have; ImageNet-21k: facts in zoo.IN21K_HEAD, and all.
HEAD_ROWS: Mapping[str, tuple[int, ...]] = {"in1k": (1000,), "in21k": (10459, 21841)}

# By stage, the spectra of large-gf384 in OpenMMLab's model definition (see zoo.GF384_PARAMETERS).
WRONG_SPECTRA: Mapping[int, tuple[int, int]] = {2: (24, 12), 3: (13, 7)}

_BACKBONE = "backbone."
_STAGE_NORM = re.compile(r"norm[0-2]\.(?:weight|bias)")  # norm3 is also OpenMMLab's final norm


@dataclass(frozen=True)
class Finding:
    """One sentence on what a file is, and the code of the check that it explains, if it failed."""

    check: str
    sentence: str


def recognise(
    identity: Identity,
    shapes: Mapping[str, Shape],
    untrained: Sequence[str],
    sha256: str,
    named: str | None,
) -> tuple[Finding, ...]:
    """Everything that is recognised in a file.

    Parameters
    ----------
    identity
        What its state dict was found to be.
    shapes
        Of all its tensors, by source key.
    untrained
        Reference names of the layer scales that have their initial value.
    sha256
        Of the file.
    named
        The digits in the file's name, None without.
    """
    found = (
        _superseded(identity, sha256, named),
        _wrong_filters(identity),
        _other_head(identity),
        _untrained(identity, untrained),
        _backbone(shapes),
    )
    return tuple(finding for finding in found if finding is not None)


def explain(rows: Sequence[Check], findings: Sequence[Finding]) -> tuple[list[Check], list[str]]:
    """The checks, those that failed with what explains them, and the sentences that are left."""
    explained: list[Check] = []
    used: set[Finding] = set()
    for row in rows:
        own = [finding for finding in findings if finding.check == row.code]
        if row.status == "fail" and own:
            sentences = " ".join(finding.sentence for finding in own)
            row = replace(row, detail=f"{sentences} In detail: {row.detail}")
            used.update(own)
        explained.append(row)
    return explained, [finding.sentence for finding in findings if finding not in used]


def _superseded(identity: Identity, sha256: str, named: str | None) -> Finding | None:
    by_hash, by_name = zoo.with_hash(sha256), zoo.with_hash(named or "")
    if by_hash is not None and by_hash[0].name != identity.name:
        return Finding(
            "checksum",
            f"The SHA-256 begins like that of {by_hash[0].label}, and the file holds "
            f"{identity.name or 'something else'}: eight digits can be matched on purpose.",
        )
    known, what = (by_hash, "This is") if by_hash is not None else (by_name, "By its name this is")
    if known is None or known[1]:
        return None
    row = known[0]
    return Finding(
        "checksum",
        f"{what} OpenMMLab's publication of {row.label} of 2022-09-09, superseded by that of "
        f"2022-09-15 ({row.sha8}): `hornet-convert fetch {row.name}` gets the current one.",
    )


def _wrong_filters(identity: Identity) -> Finding | None:
    wrong = [
        tensor.name
        for tensor in identity.misshapen
        if tensor.name.endswith(".complex_weight")
        and len(tensor.found) == 4
        and tensor.found[1:3] == WRONG_SPECTRA.get(int(tensor.name.split(".")[1]))
    ]
    if not wrong:
        return None
    return Finding(
        "tensors",
        f"{len(wrong)} filters have the sizes 24×12 and 13×7 of OpenMMLab's large-gf384 "
        "definition; the half spectra at 384 pixels are 24×13 and 12×7. The file was saved from "
        "that definition, which takes the published filters only by leaving its own at random: "
        "`hornet-convert fetch large-gf384` gets the right ones.",
    )


def _other_head(identity: Identity) -> Finding | None:
    row, rows = identity.published, identity.num_classes
    if row is None or rows is None or rows in HEAD_ROWS[row.dataset]:
        return None
    usual = " or ".join(map(str, HEAD_ROWS[row.dataset]))
    return Finding(
        "model",
        f"The head has {rows} classes, that of the published {row.label} {usual}: a fine-tuned "
        "model or another head. If only the backbone is wanted, `convert --head none` drops it.",
    )


def _untrained(identity: Identity, untrained: Sequence[str]) -> Finding | None:
    if not untrained:
        return None
    value = f"{LAYER_SCALE_INIT:g}"
    if len(untrained) == 2 * sum(DEPTHS):
        row = identity.published
        fetch = f", or `hornet-convert fetch {row.name}`" if row else ""
        return Finding(
            "values",
            f"No layer scale has left its initial {value}: the model was saved before training, or "
            f"before its weights were loaded into it. Load them and save again{fetch}.",
        )
    blocks = list(dict.fromkeys(split_block(name)[0] for name in untrained))
    return Finding(
        "values",
        f"Layer scales of {listed(blocks)} have their initial {value}, others have not: these "
        "blocks were not given their weights, as loading with strict=False lets happen. Load with "
        "strict=True and save again.",
    )


def _backbone(shapes: Mapping[str, Shape]) -> Finding | None:
    bare = {key.removeprefix(_BACKBONE): shape for key, shape in shapes.items()}
    norms = [key for key in bare if _STAGE_NORM.fullmatch(key)]
    reference = {name: bare[key] for key in bare for name in _names(key)}
    if not norms or len(reference) * 2 < len(bare):
        return None
    architecture = infer(reference)
    row = None if architecture is None else zoo.BY_NAME.get(architecture.name)
    beside = sorted(
        {key.split(".")[0] for key in shapes if not key.startswith(_BACKBONE)}
        if any(key.startswith(_BACKBONE) for key in shapes)
        else set()
    )
    parts = f", beside {listed([printable(part) for part in beside])}" if beside else ""
    model = f" of {row.label}" if row else ""
    fetch = f"; `hornet-convert fetch {row.name}` gets one" if row else ""
    return Finding(
        "keys",
        f"This is the backbone{model} of a detector or segmenter (a norm after each stage, no "
        f"classifier{parts}). It belongs to that network and is no classification checkpoint"
        f"{fetch}.",
    )


def _names(bare: str) -> Iterator[str]:
    """Reference name of a key without `backbone.`, in the authors' spelling or in OpenMMLab's."""
    spellings: tuple[tuple[str, Layout], ...] = (
        (bare, "official"),
        (_BACKBONE + bare, "openmmlab"),
    )
    for key, layout in spellings:
        name = translate(key, layout, "reference")
        if name is not None:
            yield name
            return
