"""What each process of test_parallel.py does: the same training step, alone and shared.

torchrun --nproc-per-node 2 -m tests.libraries.parallel
"""

import copy
import os
import sys
import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from hornet_convert import create_model
from hornet_convert.model import hornet

hornet.DEPTHS = (1, 1, 1, 1)  # type: ignore[attr-defined]
torch.set_num_threads(1)


def compare(way: str) -> None:
    """Compare logits, gradients and weights after a step with those of the whole batch alone."""
    rank, world = dist.get_rank(), dist.get_world_size()
    alone = create_model("w8-gf", 5, seed=0, layer_scale_init=0.5)
    images = torch.randn(2 * world, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    mine = images[rank::world]
    shared: nn.Module = copy.deepcopy(alone)
    if way == "ddp":
        shared = DistributedDataParallel(shared)
    else:
        linear = [each for each in shared.modules() if isinstance(each, nn.Linear)]
        assert len(linear) == 9
        for layer in (*linear, shared):
            fully_shard(layer)
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (alone, shared)]
    expected = alone(images)
    expected.square().mean().backward()
    found = shared(mine)
    found.square().mean().backward()
    torch.testing.assert_close(found, expected[rank::world])
    for net, optimizer in zip((alone, shared), optimizers, strict=True):
        for parameter in net.parameters():
            assert parameter.grad is not None
        optimizer.step()
    for item, other in zip(alone.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(whole(other.grad), whole(item.grad), rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(whole(other), whole(item))
    sys.stdout.write(f"{way} agrees, {rank}\n")  # in one piece: two processes write
    sys.stdout.flush()


def whole(tensor: Tensor | None) -> Tensor:
    """A tensor, all of it, of which each process has a part."""
    assert tensor is not None
    gathered: Tensor = getattr(tensor, "full_tensor", lambda: tensor)()
    return gathered.detach()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo")
    for each in ("ddp", "fsdp"):
        compare(each)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # the threads of gloo may abort a process that ends in the usual way
