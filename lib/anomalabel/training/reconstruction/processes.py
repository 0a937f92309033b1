"""Several processes that train one network, as torchrun starts them (one for each GPU)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as distributed
from torch import Tensor

from anomalabel.errors import Cancelled, ModelError

Kept = TypeVar("Kept")

LONGEST_WAIT = timedelta(days=1)
"""The first process may read images alone for hours. One that dies is noticed at once, by its closed connection."""

WENT_WELL, CANCELLED, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Processes:
    """Where this process stands among those that train together.

    Args:
        rank: its number; the first, 0, alone writes files and shows progress.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> Processes:
        """Of torch.distributed, where it is initialised; otherwise this process is alone."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """True of one process, also where there are no others."""
        return self.rank == 0

    def sum_up(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place, the same in each."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def share(self, value: Kept) -> Kept:
        """The first process's value, in each; it travels as a pickle."""
        if self.world == 1:
            return value
        carried = [value]
        distributed.broadcast_object_list(carried)
        return carried[0]

    def gather(self, value: Kept) -> list[Kept]:
        """Every process's value, by rank, in each."""
        if self.world == 1:
            return [value]
        gathered: list[Any] = [None] * self.world
        distributed.all_gather_object(gathered, value)
        return gathered

    def first_alone(self, act: Callable[[], None]) -> None:
        """Act in the first process; how it went is known to all, so that an end there is the end of each.

        Raises:
            Exception: whatever `act` raises, in the first process.
            Cancelled: in the others, where it raised that.
            ModelError: in the others, where it raised anything else.
        """
        if self.world == 1:
            act()
            return
        went = torch.tensor([FAILED])
        try:
            if self.is_first:
                act()
                went[0] = WENT_WELL
        except Cancelled:
            went[0] = CANCELLED
            raise
        finally:
            distributed.broadcast(went, 0)
        if int(went) == CANCELLED:
            raise Cancelled
        if int(went) == FAILED:
            raise ModelError("The first process of this training ended with an error.", "Do what its message says.")

    def first_result(self, ask: Callable[[], Kept]) -> Kept:
        """What `ask` answers in the first process, in each.

        Raises:
            Exception: as `first_alone`.
        """
        answers: list[Kept] = []
        self.first_alone(lambda: answers.append(ask()))
        # The others' None is replaced on its way.
        return self.share(answers[0] if answers else cast(Kept, None))


def started_by_torchrun() -> bool:
    """Whether torchrun started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs the one with this process's number on its machine, unless one was named.

    Raises:
        ModelError: there are fewer GPUs than processes.
    """
    if device.type != "cuda" or device.index is not None or not started_by_torchrun():
        return device
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= torch.cuda.device_count():
        raise ModelError(
            f"Process {number + 1} of this machine has no GPU; there are {torch.cuda.device_count()}.",
            "Give torchrun --nproc-per-node no more than that, or use --device cpu.",
        )
    return torch.device("cuda", number)


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Joins the processes that torchrun started for the length of the context; does nothing where it started none.

    Tensors in main memory travel by gloo, those on GPUs by NCCL.

    Raises:
        ModelError: the others cannot be reached.
    """
    if not started_by_torchrun() or distributed.is_initialized():
        yield Processes.here()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"The processes of this training cannot reach each other: {error}.",
            "Start them by torchrun, with a port that is free.",
        ) from error
    try:
        yield Processes.here()
    finally:
        distributed.destroy_process_group()
