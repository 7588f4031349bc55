"""Several processes that share a piece of work, as `torchrun` starts them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from hornet_convert.errors import EXIT_UNREACHABLE, HornetConvertError, UsageError, printable

JOINING = timedelta(minutes=10)
WORKING = timedelta(days=7)  # processes may be of very different speed


class ProcessGroupError(HornetConvertError):
    """The processes cannot work together, or one of them has gone."""

    code = "process-group"
    exit_code = EXIT_UNREACHABLE


@dataclass(frozen=True)
class Processes:
    """Those that share the work: the number of this one, how many, its number on this machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    group: dist.ProcessGroup | None = None

    def gather(self, document: Any) -> list[Any]:
        """What each process gives, a JSON value, in the order of their numbers; for all of them.

        Raises ProcessGroupError if one of them has gone.
        """
        if self.group is None:
            return [document]
        data = torch.frombuffer(bytearray(json.dumps(document).encode()), dtype=torch.uint8)
        try:
            sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
            dist.all_gather(sizes, torch.tensor([len(data)]), group=self.group)
            longest = max(int(size) for size in sizes)
            padded = torch.cat([data, data.new_zeros(longest - len(data))])
            parts = [torch.empty_like(padded) for _ in range(self.count)]
            dist.all_gather(parts, padded, group=self.group)
        except RuntimeError as error:
            raise ProcessGroupError(
                "another process has ended before its work was done",
                found=printable(str(error).splitlines()[0]),
                hint="See what it wrote, and start all of them again.",
            ) from error
        return [
            json.loads(part[: int(size)].numpy().tobytes())
            for size, part in zip(sizes, parts, strict=True)
        ]


@contextlib.contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
    """Join the processes that RANK and WORLD_SIZE speak of; alone if there are no others.

    Raises UsageError if these variables make no sense, ProcessGroupError if the others do not come.
    """
    rank, count, local = (
        _number(environment, name, default)
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    if count == 1:
        yield Processes()
        return
    if not 0 <= rank < count:
        raise UsageError(
            "RANK and WORLD_SIZE do not fit together",
            found=f"RANK {rank}, WORLD_SIZE {count}",
            hint="Start the processes with torchrun.",
        )
    try:
        dist.init_process_group(
            "gloo",
            init_method="env://",
            rank=rank,
            world_size=count,
            timeout=JOINING,
        )
        group = dist.new_group(timeout=WORKING, backend="gloo")
    except (ValueError, RuntimeError) as error:
        raise ProcessGroupError(
            f"process {rank} of {count} could not join the others",
            found=printable(str(error).splitlines()[0]),
            hint="Start the processes with torchrun, or unset WORLD_SIZE to work alone.",
        ) from error
    try:
        yield Processes(rank, count, local, group)
    finally:
        dist.destroy_process_group()


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip() or str(default)
    if not text.isascii() or not text.isdigit() or (name == "WORLD_SIZE" and int(text) == 0):
        raise UsageError(
            f"{name} is no number of processes",
            found=printable(text),
            hint="Start the processes with torchrun, or unset it.",
        )
    return int(text)
