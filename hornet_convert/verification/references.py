"""Where references come from: the trust record, another file, the user."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import Pin
from hornet_convert.errors import MalformedError, UsageError, printable
from hornet_convert.verification.naming import listed
from hornet_convert.verification.scan import Scan, scan
from hornet_convert.verification.subject import Progress, examine, reading
from hornet_convert.verification.verdict import FULL, Reference

_DIGITS = re.compile(r"[0-9a-f]{8,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def given(digits: str) -> Reference:
    """A file's SHA-256, or the first digits of one, that the user gives.

    Raises UsageError for anything else.
    """
    plain = digits.strip().lower()
    if _DIGITS.fullmatch(plain) is None:
        raise UsageError(
            "--sha256 is no digest",
            expected="8 to 64 hex digits",
            found=printable(digits),
            hint="Give what sha256sum prints, or its first 8 digits or more.",
        )
    return Reference(plain, "--sha256")


def pinned(
    pins: Iterable[Pin], model: str | None = None, source: Source | None = None
) -> list[Reference]:
    """What the trust record knows.

    The pin of the `model` and `source` a file was just fetched from is binding; every other one is
    known of another file, which may be the same.
    """
    own = None if source is None else (model, source.name, source.location)
    references = []
    for pin in pins:
        said = f"the trust record ({pin.source}, first seen {pin.first_seen})"
        binding = pin.key == own
        references.append(Reference(pin.sha256, said, "sha256", binding, model=pin.model))
        if pin.fingerprint is not None:
            references.append(
                Reference(pin.fingerprint, said, "fingerprint", binding, model=pin.model)
            )
    return references


def against(text: str, subject: Path, progress: Progress | None = None) -> Reference:
    """What `--against` means: a digest, or a file whose weights `subject` has to hold.

    Raises
    ------
    MalformedError
        The file's weights do not match the CRCs it records itself.
    UsageError
        It is no digest and no file, it is `subject` itself, or the file holds no complete HorNet.
    HornetConvertError
        The file cannot be read as a checkpoint.
    """
    plain = text.strip().lower()
    if _DIGEST.fullmatch(plain) is not None and not Path(text).exists():
        return Reference(plain, "--against", "either")
    path = Path(text)
    if not path.exists():
        raise UsageError(
            "--against is neither a file nor a fingerprint",
            expected=f"a path, or {FULL} hex digits",
            found=printable(text),
            hint="`verify` prints the fingerprint of a file's weights.",
        )
    if subject.exists() and path.samefile(subject):
        raise UsageError(
            "--against is the file itself: that proves nothing",
            where=printable(text),
            hint="Give a file that you have from elsewhere.",
        )
    with open_checkpoint(path) as checkpoint:
        other = examine(checkpoint)
        if not other.identity.complete:
            raise UsageError(
                "--against holds no complete HorNet: it has no fingerprint",
                where=printable(text),
                hint="`hornet-convert verify` tells what is wrong with it; "
                "`hornet-convert compare` compares any two files.",
            )
        progress_of = reading(progress, "reading the reference")
        seen = scan(checkpoint, other.tensors, look_at_values=False, progress=progress_of)
        if seen.damaged:
            raise MalformedError(
                "--against is damaged: bytes do not match the CRC the file records",
                where=printable(text),
                expected="whole weights to compare with",
                found=f"CRC mismatch in {_those(other.tensors, seen)}",
                hint="Give a whole copy of it.",
            )
        digests = {name: seen.digests[key] for key, name in other.identity.names.items()}
        return Reference(
            other.fingerprint(seen),
            printable(text),
            "fingerprint",
            model=other.identity.name,
            tensors=digests,
        )


def _those(tensors: Mapping[str, Tensor], seen: Scan) -> str:
    broken = {storage for storage, _ in seen.damaged}
    return listed([printable(key) for key, tensor in tensors.items() if tensor.storage in broken])
