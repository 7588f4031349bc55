"""What `torch.load` makes of a `.pth` of ours, in a process of its own.

    python -m hornet_convert.model.torch_load FILE [KEY]

Only a file that this package has just written is ever given to it, with `weights_only=True`. It
prints the keys at the top that hold no tensors, and type, shape and SHA-256 of every tensor, as
JSON.
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


def main(path: str, key: str | None = None) -> None:
    """Load the file and print what is in it."""
    loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    top = [name for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    state = loaded if key is None else loaded.get(key, {})
    tensors = {n: _row(value) for n, value in state.items() if isinstance(value, torch.Tensor)}
    json.dump({"top": top, "tensors": tensors}, sys.stdout)


def _row(tensor: torch.Tensor) -> list[Any]:
    data = tensor.contiguous().flatten().view(torch.uint8).numpy().data
    dtype = str(tensor.dtype).removeprefix("torch.")
    return [dtype, list(tensor.shape), hashlib.sha256(data).hexdigest()]


if __name__ == "__main__":
    main(*sys.argv[1:])
