"""Reading a written result back: what stands on the disk is what was meant to be written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hornet_convert.checkpoint.reader import Checkpoint
from hornet_convert.checkpoint.tensors import Tensor
from hornet_convert.conversion.plan import Plan
from hornet_convert.conversion.pth_writer import ROOT
from hornet_convert.verification.naming import listed
from hornet_convert.verification.report import Check, failed, passed
from hornet_convert.verification.scan import Scan

View = dict[str, tuple[str, tuple[int, ...]]]


def read_back(
    plan: Plan,
    digests: Mapping[str, str],
    written: Checkpoint,
    tensors: Mapping[str, Tensor],
    back: Scan,
) -> Check:
    """Compare the written file with the plan, tensor by tensor, as two readers see it.

    Names, dtypes and shapes are compared as our reader gives them, and of a safetensors file as the
    safetensors library does; of a `.pth` the standard library's zip reader has to find every
    storage. The bytes are compared by the SHA-256 of each tensor, taken as they were made and again
    as the file system returns them.

    Parameters
    ----------
    plan
        What should stand there.
    digests
        SHA-256 of each tensor as it was written, by key of the result.
    written, tensors, back
        The result opened again, the state dict in it, and a pass over it.
    """
    wanted = {key: (part.dtype.code, part.shape) for key, part in plan.parts.items()}
    ours = {name: (tensor.dtype.code, tensor.shape) for name, tensor in tensors.items()}
    for found in (ours, _library_view(written)):
        if found is not None and found != wanted:
            names = found.keys() | wanted
            wrong = sorted(name for name in names if found.get(name) != wanted.get(name))
            return failed("readback", f"names, dtypes or shapes differ: {listed(wrong)}")
    if written.container == "zip" and (missing := _not_in_archive(written.path, plan)):
        return failed("readback", f"another zip reader does not find: {listed(missing)}")
    if back.damaged:
        return failed("readback", f"{len(back.damaged)} CRCs do not match the bytes written")
    changed = sorted(key for key, digest in digests.items() if back.digests.get(key) != digest)
    if changed:
        return failed("readback", f"bytes differ from what was written: {listed(changed)}")
    edited = sum(part.edited for part in plan.parts.values())
    copied = len(wanted) - edited
    said = f"{len(wanted)} tensors reopened and equal, bit for bit"
    if edited:
        said += f": {copied} to the source, {edited} to what was made of it"
    return passed("readback", said)


def _library_view(written: Checkpoint) -> View | None:
    """Dtype and shape by name, as the safetensors library reads the file."""
    if written.container != "safetensors":
        return None
    from safetensors import safe_open

    with safe_open(str(written.path), framework="numpy") as library:
        slices = {name: library.get_slice(name) for name in library.offset_keys()}
        return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}


def _not_in_archive(path: Path, plan: Plan) -> list[str]:
    """Keys whose storage the standard library does not find, with its size, in a zip archive."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {row.filename: row.file_size for row in archive.infolist()}
    except zipfile.BadZipFile as error:
        return [str(error)]
    return [
        key
        for number, (key, part) in enumerate(plan.parts.items())
        if sizes.get(f"{ROOT}/data/{number}") != part.nbytes
    ]
