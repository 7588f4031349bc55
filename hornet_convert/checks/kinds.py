"""Kinds of file that are met again and again, each known by sight and said in a sentence. Pure.

Superseded publications, filters of OpenMMLab's wrong sizes, other heads, models that were never
trained, backbones of detectors and segmenters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hornet_convert.checks.findings import Findings
from hornet_convert.family import zoo
from hornet_convert.family.architecture import DEPTHS, LAYER_SCALE_INIT, infer
from hornet_convert.family.layouts import translate
from hornet_convert.report.check import Check
from hornet_convert.text import listed, printable, split_block

# Rows that a head of the training data may have; ImageNet-21k: facts in zoo.IN21K_HEAD, and all.
HEAD_ROWS: Mapping[str, tuple[int, ...]] = {"in1k": (1000,), "in21k": (10459, 21841)}

# By stage, the spectra of large-gf384 in OpenMMLab's model definition (see zoo.GF384_PARAMETERS).
WRONG_SPECTRA: Mapping[int, tuple[int, int]] = {2: (24, 12), 3: (13, 7)}

_BACKBONE = "backbone."
_STAGE_NORM = re.compile(r"norm[0-2]\.(?:weight|bias)")  # norm3 is also OpenMMLab's final norm


def recognise(findings: Findings) -> dict[str, str]:
    """What is recognised: a sentence by the code of the check that it explains, if that failed."""
    found = {code: kind(findings) for code, kind in KINDS.items()}
    return {code: sentence for code, sentence in found.items() if sentence is not None}


def explained(
    rows: Sequence[Check], recognised: Mapping[str, str]
) -> tuple[list[Check], list[str]]:
    """The checks, those that failed with what explains them, and the sentences that are left."""
    failed = {row.code for row in rows if row.status == "fail"} & recognised.keys()
    checks = [
        replace(row, detail=f"{recognised[row.code]} In detail: {row.detail}")
        if row.code in failed
        else row
        for row in rows
    ]
    return checks, [sentence for code, sentence in recognised.items() if code not in failed]


def _superseded(findings: Findings) -> str | None:
    identity, named = findings.file.identity, findings.named
    known, what = zoo.with_hash(findings.seen.sha256), "This is"
    if known is not None and known[0].name != identity.name:
        return (
            f"The SHA-256 begins like that of {known[0].label}, and the file holds "
            f"{identity.name or 'something else'}: eight digits can be matched on purpose."
        )
    if known is None and named is not None:
        known, what = zoo.with_hash(named.digest), "By its name this is"
    if known is None or known[1]:
        return None
    row = known[0]
    return (
        f"{what} OpenMMLab's publication of {row.label} of 2022-09-09, superseded by that of "
        f"2022-09-15 ({row.sha8}): `hornet-convert fetch {row.name}` gets the current one."
    )


def _wrong_filters(findings: Findings) -> str | None:
    wrong = [
        name
        for name, (_, found) in findings.file.identity.misshapen.items()
        if name.endswith(".complex_weight")
        and len(found) == 4
        and found[1:3] == WRONG_SPECTRA.get(int(name.split(".")[1]))
    ]
    if not wrong:
        return None
    return (
        f"{len(wrong)} filters have the sizes 24×12 and 13×7 of OpenMMLab's large-gf384 "
        "definition; the half spectra at 384 pixels are 24×13 and 12×7. The file was saved from "
        "that definition, which takes the published filters only by leaving its own at random: "
        "`hornet-convert fetch large-gf384` gets the right ones."
    )


def _other_head(findings: Findings) -> str | None:
    row, rows = findings.file.identity.published, findings.file.identity.num_classes
    if row is None or rows is None or rows in HEAD_ROWS[row.dataset]:
        return None
    usual = " or ".join(map(str, HEAD_ROWS[row.dataset]))
    return (
        f"The head has {rows} classes, that of the published {row.label} {usual}: a fine-tuned "
        "model or another head. If only the backbone is wanted, `convert --head none` drops it."
    )


def _untrained(findings: Findings) -> str | None:
    untrained, row = findings.file.untrained, findings.file.identity.published
    if not untrained:
        return None
    if len(untrained) == 2 * sum(DEPTHS):
        fetch = f", or `hornet-convert fetch {row.name}`" if row else ""
        return (
            f"No layer scale has left its initial {LAYER_SCALE_INIT:g}: the model was saved before "
            f"training, or before its weights were loaded into it. Load them and save again{fetch}."
        )
    blocks = list(dict.fromkeys(split_block(name)[0] for name in untrained))
    return (
        f"Layer scales of {listed(blocks)} have their initial {LAYER_SCALE_INIT:g}, others have "
        "not: these blocks were not given their weights, as loading with strict=False lets happen. "
        "Load with strict=True and save again."
    )


def _backbone(findings: Findings) -> str | None:
    tensors = findings.file.state.tensors
    bare = {key.removeprefix(_BACKBONE): tensor.shape for key, tensor in tensors.items()}
    # The authors' spelling, or OpenMMLab's.
    names = {
        key: translate(key, "official", "reference")
        or translate(_BACKBONE + key, "openmmlab", "reference")
        for key in bare
    }
    reference = {name: bare[key] for key, name in names.items() if name is not None}
    if not any(map(_STAGE_NORM.fullmatch, bare)) or len(reference) * 2 < len(bare):
        return None
    architecture = infer(reference)
    row = None if architecture is None else zoo.BY_NAME.get(architecture.name)
    beside = sorted({printable(k.split(".")[0]) for k in tensors if not k.startswith(_BACKBONE)})
    within = any(key.startswith(_BACKBONE) for key in tensors)
    parts = f", beside {listed(beside)}" if within and beside else ""
    model = f" of {row.label}" if row else ""
    fetch = f"; `hornet-convert fetch {row.name}` gets one" if row else ""
    return (
        f"This is the backbone{model} of a detector or segmenter (a norm after each stage, no "
        f"classifier{parts}). It belongs to that network and is no classification checkpoint"
        f"{fetch}."
    )


KINDS: Mapping[str, Callable[[Findings], str | None]] = {
    "checksum": _superseded,
    "tensors": _wrong_filters,
    "model": _other_head,
    "values": _untrained,
    "keys": _backbone,
}
