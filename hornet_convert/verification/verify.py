"""`verify`: everything that can be told about a checkpoint file, without writing or a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from hornet_convert.checkpoint.reader import Checkpoint, open_checkpoint
from hornet_convert.checkpoint.state_dict import StateDict
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.conversion import result_name
from hornet_convert.numbers.statistics import weight_statistics
from hornet_convert.verification import checks, digest_checks, generations
from hornet_convert.verification.identity import Identity
from hornet_convert.verification.report import Check, Report, not_checked
from hornet_convert.verification.scan import Scan, scan
from hornet_convert.verification.subject import Progress, Subject, examine, reading
from hornet_convert.verification.trace import Probe
from hornet_convert.verification.verdict import Reference, Requirement

NO_FORWARD = "--no-forward was given"
UNSOUND = "the keys and shapes are not those of a model"


def verify(
    path: Path,
    *,
    model: str | None = None,
    references: Sequence[Reference] = (),
    require: Requirement | None = None,
    ema: bool = False,
    forward: bool = True,
    probe: Probe | None = None,
    statistics: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Check a file and report; the file is read once for all that needs its bytes.

    Parameters
    ----------
    path
        A `.pth` in any container, wrapper and layout, or a safetensors file.
    model
        What it should be; None to identify it.
    references
        What the file and its weights are known by, beside the digits its name may carry.
    require
        Fail unless the verdict is at least this.
    ema
        Take the averaged weights instead.
    forward
        Whether to make the forward check, which needs torch.
    probe
        The images of the forward check.
    statistics
        Whether to collect statistics of the weights as well.
    progress
        Told how far the reading is.

    Raises
    ------
    HornetConvertError
        The file cannot be read as a checkpoint at all.
    """
    with open_checkpoint(path) as checkpoint:
        subject = examine(checkpoint, model=model, ema=ema)
        # The pass over the bytes fills what time the computations leave the processors.
        with ThreadPoolExecutor(max_workers=1) as beside:
            passing = beside.submit(scan, checkpoint, subject.tensors, progress=reading(progress))
            if not forward:
                computed = not_checked("forward", NO_FORWARD)
            elif not subject.identity.sound:
                computed = not_checked("forward", UNSOUND)
            else:
                names = subject.by_reference_name()
                computed = forward_equivalence(subject, checkpoint, names, probe)
            seen = passing.result()
        digest, rows = static_checks(subject, seen, references, require)
        rows += [computed, not_checked("readback", "nothing was written")]
        report = describe(subject, seen, digest, rows, references)
        return with_statistics(report, subject, progress) if statistics else report


def with_statistics(report: Report, subject: Subject, progress: Progress | None) -> Report:
    """The report with the statistics of the subject's weights."""
    said = reading(progress, "statistics")
    tensors, architecture = subject.by_reference_name(), subject.identity.architecture
    if architecture is not None:  # in the order of the computation, strangers last
        order = {name: n for n, name in enumerate(architecture.shapes(1))}
        names = sorted(tensors, key=lambda name: order.get(name, len(order)))
        tensors = {name: tensors[name] for name in names}
    return replace(report, statistics=weight_statistics(subject.checkpoint, tensors, said))


def forward_equivalence(
    subject: Subject,
    target: Checkpoint,
    by_reference_name: Mapping[str, Tensor],
    probe: Probe | None = None,
) -> Check:
    """Compare what the source computes with what the reference model does with `target`'s tensors.

    The only step that loads torch.
    """
    from hornet_convert.model.check import forward_check
    from hornet_convert.model.weights import CheckpointWeights

    identity = subject.identity
    if identity.layout is None or identity.architecture is None:
        return not_checked("forward", "the model is not recognised")
    return forward_check(
        CheckpointWeights(subject.checkpoint, subject.tensors),
        identity.layout,
        CheckpointWeights(target, by_reference_name),
        identity.architecture,
        identity.num_classes,
        probe or Probe(),
    )


def static_checks(
    subject: Subject,
    seen: Scan,
    references: Sequence[Reference],
    require: Requirement | None = None,
) -> tuple[str | None, list[Check]]:
    """The fingerprint, and every check that needs neither a model nor a written file."""
    identity, state, checkpoint = subject.identity, subject.state, subject.checkpoint
    known = _known(subject, references, seen.sha256)
    broken = {storage for storage, _ in seen.damaged}
    damaged = [key for key, tensor in subject.tensors.items() if tensor.storage in broken]
    total = sum(tensor.nbytes for tensor in subject.tensors.values())
    digest = subject.fingerprint(seen) if identity.complete else None
    recorded = checkpoint.metadata.get("fingerprint")
    return digest, [
        digest_checks.checksum(seen.sha256, known),
        digest_checks.reference(
            seen.sha256,
            digest,
            identity.name,
            {name: seen.digests[key] for key, name in identity.names.items()},
            known,
            require,
        ),
        checks.container(checkpoint.container, damaged, seen.checked_bytes, total),
        checks.model(identity, subject.asked),
        checks.keys(identity),
        checks.shapes_and_dtypes(identity, state.tensors),
        checks.values(identity, seen.values, subject.untrained),
        checks.parameters(identity, state.tensors),
        checks.recorded_fingerprint(digest, recorded),
    ]


def _known(subject: Subject, references: Sequence[Reference], sha256: str) -> tuple[Reference, ...]:
    """What file and weights are known by, with what the file's name claims."""
    named = digest_checks.reference_by_name(subject.checkpoint.path.name, sha256)
    return (*references, *([named] if named else []))


def describe(
    subject: Subject,
    seen: Scan,
    digest: str | None,
    rows: Sequence[Check],
    references: Sequence[Reference] = (),
) -> Report:
    """The report of a subject and its checks, with the notes a reader should have."""
    identity, named = (
        subject.identity,
        digest_checks.reference_by_name(subject.checkpoint.path.name, seen.sha256),
    )
    shapes = {key: tensor.shape for key, tensor in subject.state.tensors.items()}
    findings = generations.recognise(
        identity, shapes, subject.untrained, seen.sha256, None if named is None else named.digits
    )
    explained, sentences = generations.explain(rows, findings)
    return Report(
        path=str(subject.checkpoint.path),
        model=identity.name,
        layout=identity.layout,
        container=subject.checkpoint.container,
        num_classes=identity.num_classes,
        sha256=seen.sha256,
        fingerprint=digest,
        checks=tuple(explained),
        references=_known(subject, references, seen.sha256),
        notes=(*sentences, *_other_weights(identity, digest, references), *_notes(subject)),
        ema=_ema(subject.state),
    )


def _other_weights(
    identity: Identity, digest: str | None, references: Sequence[Reference]
) -> list[str]:
    """That other weights of the model are known, where none that is known are these."""
    known = [
        reference
        for reference in references
        if reference.model == identity.name
        and reference.kind == "fingerprint"
        and not reference.binding
    ]
    if digest is None or any(reference.accepts(None, digest) for reference in known):
        return []
    return [f"{r.origin} knows other weights of {r.model}: fingerprint {r.digits}" for r in known]


def _ema(state: StateDict) -> str | None:
    if state.is_ema:
        return "taken"
    return "present, not taken" if state.ema_wrapper is not None else None


def _notes(subject: Subject) -> list[str]:
    state = subject.state
    notes = []
    if state.wrapper:
        notes.append(f"the weights lie under {' → '.join(state.wrapper)!r}")
    if state.prefix:
        notes.append(f"the prefix {state.prefix!r} was taken off the keys")
    if state.ema_wrapper is not None:
        where = " → ".join(state.ema_wrapper)
        taken = "were taken" if state.is_ema else "were not taken; --ema takes them"
        notes.append(f"averaged weights (EMA) lie under {where!r} and {taken}")
    notes += [f"dropped: {line}" for line in state.dropped]
    edits = result_name.history(subject.checkpoint.metadata, ())
    if edits:
        notes.append(
            f"the file says that its weights were edited ({', '.join(edits)}): they are not the "
            "published ones"
        )
    published = subject.identity.published
    if published is not None:
        notes += list(published.errata)
    return notes
