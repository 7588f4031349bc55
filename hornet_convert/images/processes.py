"""Several processes that share a piece of work, as `torchrun` starts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from hornet_convert.errors import EXIT_UNABLE, HornetConvertError, UsageError
from hornet_convert.text import printable

if TYPE_CHECKING:
    import torch.distributed as dist

JOINING = timedelta(minutes=10)
WORKING = timedelta(days=7)  # processes may be of very different speed

T = TypeVar("T")


class ProcessGroupError(HornetConvertError):
    """The processes cannot work together, or one of them has gone."""

    code = "process-group"
    exit_code = EXIT_UNABLE


@dataclass(frozen=True)
class Processes:
    """Those that share the work: the number of this one, how many, its number on this machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    group: dist.ProcessGroup | None = None

    def gather(self, part: T) -> list[T]:
        """What each process gives, in the order of their numbers; for all of them.

        Raises ProcessGroupError if one of them has gone.
        """
        if self.group is None:
            return [part]
        import torch.distributed as dist

        parts = [part] * self.count
        try:
            dist.all_gather_object(parts, part, group=self.group)
        except RuntimeError as error:
            raise ProcessGroupError(
                "another process has ended before its work was done",
                found=printable(str(error).splitlines()[0]),
                hint="See what it wrote, and start all of them again.",
            ) from error
        return parts


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
    import torch.distributed as dist  # several processes need it, whatever computes

    try:
        dist.init_process_group("gloo", rank=rank, world_size=count, timeout=JOINING)
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
            f"{name} is not a valid number",
            found=printable(text),
            hint="Start the processes with torchrun, or unset it.",
        )
    return int(text)
