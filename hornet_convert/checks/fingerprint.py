"""One digest for the weights themselves, whatever file, container or key layout holds them.

Definition (version 1), so that anyone can recompute it:

1. name every tensor by its key in the `official` layout;
2. for each, in ascending order of the name's UTF-8 bytes, write one line
   `<name> <dtype> <shape> <sha256>` and a line feed: the dtype as the safetensors format spells it
   (`F32`), the shape as decimal sizes joined by `x` (`64x3x4x4`; empty for a scalar), and the
   SHA-256, in lower-case hex, of the tensor's dense, row-major, little-endian bytes;
3. the fingerprint is the SHA-256, in lower-case hex, of those lines in UTF-8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from hornet_convert.checkpoint.tensors import Described
from hornet_convert.family.layouts import remap


def fingerprint(tensors: Mapping[str, Described], digests: Mapping[str, str]) -> str:
    """Fingerprint of a model's tensors, given with the SHA-256 of each by reference name."""
    official = remap(tensors, "reference", "official").names
    lines = (
        f"{official[name]} {tensor.dtype.code} {'x'.join(map(str, tensor.shape))} {digests[name]}\n"
        for name, tensor in sorted(tensors.items(), key=lambda item: official[item[0]].encode())
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
