"""Two processes train one model: by DDP, and by FSDP2 with every linear layer sharded by itself."""

import subprocess
import sys


def test_shared_training_is_the_same() -> None:
    """Logits, gradients and weights after a step are those of one process with the whole batch."""
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.libraries.parallel"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert 0 == done.returncode, done.stderr[-3000:]
    expected = [f"{way} agrees, {rank}" for way in ("ddp", "fsdp") for rank in (0, 1)]
    assert expected == sorted(done.stdout.splitlines())
