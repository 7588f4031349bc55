"""What `torch.load` makes of a `.pth` of ours, in a process of its own.

    python -m hornet_convert.model.torch_load FILE [KEY]

Only a file that this package has just written is ever given to it, with `weights_only=True`. It
prints as JSON what `Loaded` says.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from hornet_convert.conversion.readback import Loaded


def loaded_apart(path: Path, key: str | None) -> Loaded | str:
    """What the new process loads, the tensors from under `key`; a sentence if it refuses."""
    command = [sys.executable, "-m", __name__, str(path), *([key] if key else [])]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with {done.returncode}"
    loaded: Loaded = json.loads(done.stdout)
    return loaded


def contents(path: Path, key: str | None = None) -> Loaded:
    """What `torch.load` makes of the file, here and now."""
    loaded: Any = torch.load(path, weights_only=True, mmap=True)
    top = [name for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    state = loaded if key is None else loaded.get(key, {})
    tensors = {n: row(value) for n, value in state.items() if isinstance(value, torch.Tensor)}
    meta = loaded["meta"] if "meta" in top else None
    return {"top": top, "kind": type(state).__name__, "tensors": tensors, "meta": meta}


def row(tensor: torch.Tensor) -> dict[str, Any]:
    """What a tensor is, and the SHA-256 of its dense bytes."""
    data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data
    return {
        "class": type(tensor).__name__,
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "strides": list(tensor.stride()),
        "storage": [tensor.storage_offset(), tensor.untyped_storage().nbytes()],
        "device": str(tensor.device),
        "requires_grad": tensor.requires_grad,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


if __name__ == "__main__":
    json.dump(contents(Path(sys.argv[1]), *sys.argv[2:]), sys.stdout)
