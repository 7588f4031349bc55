"""Opening a checkpoint: what is read for it, and what comes of the open file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from hornet_convert.checkpoint.inert import Dict
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict

CONTAINERS = ("zip", "legacy", "safetensors")


def write(path: Path, container: str, weights: dict[str, torch.Tensor]) -> None:
    """Save tensors in a container."""
    if container == "safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=container == "zip")


@pytest.mark.parametrize("container", CONTAINERS)
def test_opening_reads_no_tensors(
    container: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 32 MiB of weights, opening reads the pickle or header and the directory only."""
    write(path, container, {f"layer.{i}": torch.zeros(1 << 20) for i in range(8)})
    read = []
    real = os.preadv

    def counted(fd: int, buffers: list[memoryview], offset: int) -> int:
        read.append(sum(map(len, buffers)))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", counted)
    with open_checkpoint(path) as checkpoint:
        tensors = select_state_dict(checkpoint.root).tensors
        assert sum(read) < 300_000
        read.clear()
        assert 4 << 20 == checkpoint.read(tensors["layer.5"]).nbytes
        assert [4 << 20] == read


@pytest.mark.parametrize("container", CONTAINERS)
def test_opening_imports_nothing_heavy(container: str, path: Path) -> None:
    """Neither numpy nor torch nor a library of the container is loaded to read its table."""
    write(path, container, {"w": torch.ones(3)})
    code = (
        "import sys\n"
        "from hornet_convert.checkpoint.reader import open_checkpoint\n"
        "from hornet_convert.checkpoint.state_dict import select_state_dict\n"
        "with open_checkpoint(sys.argv[1]) as c:\n"
        "    assert list(select_state_dict(c.root).tensors) == ['w']\n"
        "heavy = {'numpy', 'torch', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_an_open_checkpoint_offers(container: str, path: Path) -> None:
    """Path, container, size, the open file, the tree, and tensors until it is closed."""
    values = torch.arange(6.0).reshape(2, 3)
    write(path, container, {"w": values})
    with open_checkpoint(str(path)) as checkpoint:
        assert (path, container) == (checkpoint.path, checkpoint.container)
        assert path.stat().st_size == checkpoint.size
        assert isinstance(checkpoint.root, Dict)
        found = checkpoint.read(select_state_dict(checkpoint.root).tensors["w"])
        assert (np.dtype(np.uint8), (24,)) == (found.dtype, found.shape)
        assert values.numpy().tobytes() == found.tobytes()
        found[0] = 1  # a copy of its own, writable
        assert not checkpoint.file.closed
    assert checkpoint.file.closed


def test_the_file_read_is_the_file_checked(path: Path) -> None:
    """A file replaced under the same name while it is open does not get in between."""
    other = path.with_name("y.pth")
    torch.save({"w": torch.ones(4)}, path)
    torch.save({"w": torch.zeros(4)}, other)
    with open_checkpoint(path) as checkpoint:
        other.replace(path)
        found = checkpoint.read(select_state_dict(checkpoint.root).tensors["w"])
    assert torch.ones(4).numpy().tobytes() == found.tobytes()


def test_memory_of_opening_is_that_of_the_table(path: Path) -> None:
    """A child with 24 MiB of address space to spare opens 2001 tensors and reads the large one."""
    with path.open("wb") as file:
        torch.save(
            {f"w{i}": torch.zeros(2) for i in range(2000)} | {"big": torch.zeros(1 << 20)}, file
        )
    code = (
        "import resource, sys, numpy\n"
        "from pathlib import Path\n"
        "from hornet_convert.checkpoint.reader import open_checkpoint\n"
        "from hornet_convert.checkpoint.state_dict import select_state_dict\n"
        "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
        "limit = pages * resource.getpagesize() + (24 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "with open_checkpoint(sys.argv[1]) as c:\n"
        "    print(c.read(select_state_dict(c.root).tensors['big']).nbytes)\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to know how much memory the interpreter takes")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert (0, f"{4 << 20}\n", "") == (done.returncode, done.stdout, done.stderr)
