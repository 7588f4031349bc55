"""The checks: each is one function from findings to a row of the verdict. Pure.

Its name is its code, the first line of its docstring the sentence that says what it checks. To add
one, write it and list it in `CHECKS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from hornet_convert.checkpoint.metadata import ours
from hornet_convert.checks.findings import Findings
from hornet_convert.family import zoo
from hornet_convert.family.architecture import LAYER_SCALE_INIT
from hornet_convert.report.check import Check, failed, not_checked, passed
from hornet_convert.report.claims import Claim, contradicted
from hornet_convert.report.verdict import Verdict, judge
from hornet_convert.text import by_block, counted, listed, printable

OTHERS: Final = {
    ".pwconv1.": "ConvNeXt",
    "relative_position_bias_table": "Swin Transformer",
    ".attn.qkv.": "Vision Transformer",
    "layer1.0.conv1.": "ResNet",
}
"""Part of the names in checkpoints of other families, and whose it is."""

NOTHING_KNOWN: Final = "nothing apart from the file says what it should be"


def checksum(findings: Findings) -> Check:
    """The file's SHA-256 is the one it is known by."""
    return checksum_row(findings.seen.sha256, findings.claims)


def checksum_row(sha256: str, claims: Sequence[Claim]) -> Check:
    """The row of a file with this SHA-256, of which `claims` say what it should be."""
    of_file = [claim for claim in claims if claim.kind == "sha256"]
    wrong = contradicted(sha256, None, of_file)
    if wrong:
        detail = "; ".join(f"{claim.origin} says {printable(claim.digest)}" for claim in wrong)
        return failed("checksum", f"{detail}; the file's SHA-256 is {sha256}")
    agreeing = [
        claim.origin + ("" if claim.is_full else f" ({len(claim.digest)} digits)")
        for claim in of_file
        if claim.accepts(sha256)
    ]
    if agreeing:
        return passed("checksum", f"SHA-256 {sha256}, according to {' and '.join(agreeing)}")
    because = f"nothing says what it should be; the file's SHA-256 is {sha256}"
    return not_checked("checksum", because)


def reference(findings: Findings) -> Check:
    """The file or its weights are those that something apart from the file knows."""
    sha256, computed = findings.seen.sha256, findings.fingerprint
    # Claims about the file alone are the checksum's to refuse.
    of_weights = [claim for claim in findings.claims if claim.kind != "sha256"]
    wrong = contradicted(sha256, computed, of_weights)
    if wrong:
        return failed("reference", "; ".join(_differs(claim, findings) for claim in wrong))
    agreeing = [claim for claim in findings.claims if claim.accepts(sha256, computed)]
    verdict = judge(False, sha256, computed, findings.file.identity.name, agreeing)
    if not verdict.reaches(findings.require):
        detail = f"{findings.require} is required, and the file is {_agrees(verdict)}"
        if findings.require == "authentic":
            detail += "; only a whole digest from elsewhere can make it that: --sha256, --against, "
            detail += "or `hornet-convert pins merge`"
        return failed("reference", detail)
    return reference_row(verdict)


def reference_row(verdict: Verdict | None) -> Check:
    """The row of a file with a verdict that nothing contradicts, and that is high enough."""
    if verdict is None or verdict.claim is None:
        return not_checked("reference", NOTHING_KNOWN)
    return passed("reference", _agrees(verdict))


def container(findings: Findings) -> Check:
    """The container is whole: every part lies where it says and matches its CRC."""
    kind, covered = findings.file.checkpoint.container, findings.seen.checked_bytes
    if findings.seen.damaged:
        names = listed(findings.seen.damaged)
        return failed("container", f"CRC mismatch, bytes have changed: {names}")
    if kind == "zip" and covered:
        return passed("container", f"zip, well-formed; CRC right for {covered:,} bytes of weights")
    if not findings.file.tensors:
        return not_checked("container", f"none of the tensors in this {kind} file is a HorNet's")
    what = "an ONNX" if kind == "onnx" else f"a {kind}"
    because = f"{what} file is well-formed but records no CRC of its weights"
    return not_checked("container", because)


def model(findings: Findings) -> Check:
    """The key layout and the model are recognised."""
    identity, asked = findings.file.identity, findings.file.asked
    if identity.layout is None:
        keys = identity.unknown
        alike = next((name for part, name in OTHERS.items() if any(part in k for k in keys)), None)
        named = f", named like those of a {alike}" if alike else ""
        found = listed([printable(key) for key in keys], most=3)
        found = f"{counted(len(keys), 'tensor')}{named}: {found}" if keys else "no tensors"
        return failed("model", f"not a HorNet; the file holds {found}")
    if identity.architecture is None:
        return failed(
            "model",
            f"keys in {identity.layout} layout, but the width cannot be told from the shapes",
        )
    name = identity.architecture.name
    if asked is not None and asked != name:
        return failed("model", f"the file holds {name}, not {asked}")
    row = identity.published
    what = f"{row.label} ({name})" if row else f"{name}, a HorNet that is not one of the nine"
    classes = "no classifier" if identity.num_classes is None else f"{identity.num_classes} classes"
    as_asked = ", as asked for" if asked else ""
    return passed("model", f"{what}{as_asked}, {identity.layout} layout, {classes}")


def keys(findings: Findings) -> Check:
    """Every expected tensor occurs once; there are no others."""
    identity = findings.file.identity
    if identity.layout is None or identity.architecture is None:
        return not_checked("keys", "the model is not recognised")
    problems = []
    if identity.missing and not identity.backbone:
        problems.append(f"{len(identity.missing)} missing: {by_block(identity.missing)}")
    if identity.unknown:
        extra = by_block([printable(key) for key in identity.unknown])
        problems.append(f"{len(identity.unknown)} not of this model: {extra}")
    if identity.doubled:
        groups = listed([" = ".join(map(printable, group)) for group in identity.doubled])
        problems.append(f"{len(identity.doubled)} given twice: {groups}")
    if problems:
        return failed("keys", "; ".join(problems))
    without = "" if identity.num_classes is not None else "; there is no classifier (head.fc)"
    if identity.backbone:
        without += " and no final norm (head.norm): a backbone for detection or segmentation"
    return passed("keys", f"all {len(identity.names)} present, no others{without}")


def tensors(findings: Findings) -> Check:
    """Every tensor has the shape the definition gives it and a floating-point type."""
    identity, found = findings.file.identity, findings.file.tensors
    if identity.layout is None or identity.architecture is None:
        return not_checked("tensors", "the model is not recognised")
    problems = []
    if identity.misshapen:
        rows = [
            f"{name} is {_shape(given)}, should be {_shape(expected)}"
            for name, (expected, given) in identity.misshapen.items()
        ]
        problems.append(f"{len(rows)} of the wrong shape: {listed(rows, '; ')}")
    strange = [key for key, tensor in found.items() if tensor.dtype.kind != "float"]
    if strange:
        rows = [f"{printable(key)} is {found[key].dtype.torch}" for key in strange]
        problems.append(f"{len(rows)} not floating-point: {listed(rows)}")
    if problems:
        return failed("tensors", "; ".join(problems))
    dtypes = sorted({tensor.dtype.torch for tensor in found.values()})
    return passed("tensors", f"{len(found)} of the right shape, {', '.join(dtypes)}")


def values(findings: Findings) -> Check:
    """Every tensor is finite, no weight is all zero, and the layer scales have been trained."""
    seen, names = findings.seen.values, findings.file.identity.names
    if not seen:
        return not_checked("values", "there are no tensors of a HorNet")
    zero = [names[key] for key, value in seen.items() if value.zero]
    wrong = {
        "with NaN or infinity": [names[key] for key, value in seen.items() if not value.finite],
        "all zero": [name for name in zero if not name.endswith(".bias")],
        f"layer scales still at their initial {LAYER_SCALE_INIT:g} (not trained)": (
            findings.file.untrained
        ),
    }
    problems = [f"{len(bad)} {what}: {by_block(bad)}" for what, bad in wrong.items() if bad]
    if findings.overflow is not None:
        problems.append(findings.overflow)
    if problems:
        return failed("values", "; ".join(problems))
    biases = "1 bias is" if len(zero) == 1 else f"{len(zero)} biases are"
    also = f" ({biases}: {by_block(zero)})" if zero else ""
    detail = f"{len(seen)} tensors finite, no weight all zero{also}, layer scales trained"
    return passed("values", detail)


def parameters(findings: Findings) -> Check:
    """The number of parameters agrees with the published figure."""
    identity, row = findings.file.identity, findings.file.identity.published
    if identity.architecture is None or not identity.complete:
        return not_checked("parameters", "the keys are not those of a model")
    total = sum(tensor.numel for tensor in findings.file.tensors.values())
    if row is None:
        because = f"{identity.name} is not published; the file holds {total:,}"
        return not_checked("parameters", because)
    shapes = identity.architecture.shapes(identity.num_classes)
    defined = sum(math.prod(shapes[name]) for name in identity.names.values())
    published = identity.architecture.parameters(row.published_classes)
    at_published = total - defined + published
    detail = f"{total:,} in the file"
    if identity.num_classes != row.published_classes:
        detail += f", {at_published:,} with {row.published_classes} classes"
    if not row.parameters_are_right and at_published == published:
        detail += f"; the published {row.parameters_m} M is an erratum: {row.errata[0]}"
        return passed("parameters", detail)
    agrees = abs(at_published / 1e6 - row.parameters_m) <= zoo.PARAMETERS_TOLERANCE_M
    return (passed if agrees else failed)(
        "parameters", f"{detail}; published: {row.parameters_m} M"
    )


def fingerprint(findings: Findings) -> Check:
    """The weights have the fingerprint the file records for itself."""
    computed = findings.fingerprint
    recorded = ours(findings.file.checkpoint.metadata).get("fingerprint")
    if computed is None:
        return not_checked("fingerprint", "the keys are not those of a model")
    if recorded is None:
        return not_checked("fingerprint", f"the file records none; computed: {computed}")
    if recorded != computed:
        told = f"the file records {printable(recorded)}, the weights have {computed}"
        return failed("fingerprint", told)
    return passed("fingerprint", f"{computed}, as the file records")


def forward(findings: Findings) -> Check | None:
    """The reference model computes with the remapped weights what the source computes."""
    return findings.forward


def readback(findings: Findings) -> Check | None:
    """The written file, opened again, holds every tensor bit for bit."""
    return findings.readback


def graph(findings: Findings) -> Check | None:
    """The graph of an ONNX file is HorNet's, each initialiser the tensor of its name."""
    return findings.graph


CHECKS: Final[tuple[Callable[[Findings], Check | None], ...]] = (
    checksum,
    reference,
    container,
    model,
    keys,
    tensors,
    values,
    parameters,
    fingerprint,
    forward,
    readback,
    graph,
)

SENTENCES: Final = {
    **{check.__name__: (check.__doc__ or "").partition("\n")[0] for check in CHECKS},
    "runtime": "ONNX Runtime computes with a written model what the second computation does.",
}
"""What each check says, by its code; `runtime` is made of an ONNX model that was just written."""


def run_checks(findings: Findings) -> list[Check]:
    """Every row of the verdict; one without an object, such as a file to read back, is left out."""
    return [row for check in CHECKS if (row := check(findings)) is not None]


def _agrees(verdict: Verdict) -> str:
    known = verdict.claim
    if known is None:
        return f"at most {verdict.word}: {NOTHING_KNOWN}"
    what = {
        "sha256": "the file has the SHA-256",
        "fingerprint": "the weights have the fingerprint",
        "either": "file or weights have the digest",
    }[known.kind]
    few = "" if known.is_full else f" ({len(known.digest)} digits identify, and prove nothing)"
    return f"{verdict.word}: {what} {known.digest}, according to {known.origin}{few}"


def _differs(known: Claim, findings: Findings) -> str:
    digests, computed = findings.digests, findings.fingerprint or "no fingerprint"
    detail = f"{known.origin} says {known.digest}, the weights have {computed}"
    if not known.tensors:
        return detail
    names = [name for name in digests if known.tensors.get(name) != digests[name]]
    names += [name for name in known.tensors if name not in digests]
    if len(names) == len(digests.keys() | known.tensors):
        return f"{detail}; every tensor differs"
    differ = "1 tensor differs" if len(names) == 1 else f"{len(names)} tensors differ"
    return f"{detail}; {differ}: {by_block(names)}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a scalar"
