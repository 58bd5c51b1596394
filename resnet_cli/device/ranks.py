"""The processes that train one net together, a rank each, as torchrun starts them. Loads torch when it is needed."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

from resnet_cli.errors import BadInputError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

# The others wait while the first makes a training set's statistics or tests a trained net over many views. They do so
# over gloo, which notices at once that a process is gone. NCCL, between GPUs, does not: over it ranks wait for updates
# only.
PATIENCE = timedelta(days=1)
PATIENCE_BETWEEN_GPUS = timedelta(minutes=30)


LOST = (
    "another process of this training ended; the same command continues from the last checkpoint, "
    "as torchrun --max-restarts=N does by itself"
)
SIGNS_OF_AN_END = ("closed", "reset", "broken pipe")

_between_gpus: distributed.ProcessGroup | None = None  # the process's own, as torch's default group is


class LostRankError(Exception):
    """Another rank is gone; nothing can be done together any more."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one net together; by default it is alone.

    What the ranks do together, each must do, in the same order.

    Attributes:
        rank: This one, from 0. The first decides what is trained, and only it writes.
        count: All of them, on every host.
        local: This one's number on its host, which is its GPU's number.
        local_count: The number of ranks on its host.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """As torchrun started this process; alone, if something else did."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        return cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))

    @property
    def is_first(self) -> bool:
        """Whether it is the rank that decides and writes."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """This rank's part of every batch, from 0, and how many parts there are."""
        return self.rank, self.count

    def check(self, device: torch.device) -> None:
        """Checks that each rank on this host has its own device; all of them get the same result.

        Raises:
            BadInputError: The host has fewer GPUs than ranks, or several ranks cannot share the device.
        """
        if self.count == 1:
            return
        import torch

        if device.type == "mps":
            raise BadInputError("torchrun: MPS is one device; several processes need CUDA devices or --device cpu")
        here = torch.cuda.device_count()
        if device.type == "cuda" and self.local_count > here:
            raise BadInputError(
                f"torchrun: {self.local_count} processes on a host with {here} CUDA devices; --nproc-per-node={here}"
            )

    def connect(self, device: torch.device) -> None:
        """Connects the ranks: over gloo, and between GPUs over NCCL besides.

        Raises:
            BadInputError: They do not find each other.
        """
        if self.count == 1:
            return
        import torch
        from torch import distributed
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        global _between_gpus  # noqa: PLW0603  see there
        if device.type == "cuda":
            torch.cuda.set_device(self.local)
        try:
            store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
            store = PrefixStore(meet(store, self.rank, self.count), store)
            distributed.init_process_group("gloo", store=store, rank=self.rank, world_size=self.count, timeout=PATIENCE)
            if device.type == "cuda":
                group = distributed.new_group(backend="nccl", timeout=PATIENCE_BETWEEN_GPUS)
                _between_gpus = cast("distributed.ProcessGroup", group)  # of which every rank is a member
        except RuntimeError as error:
            raise BadInputError(f"torchrun: its processes cannot be connected: {first_line(error)}") from error

    @property
    def group(self) -> distributed.ProcessGroup | None:
        """The group for tensors on devices; None for torch's default."""
        return _between_gpus

    def disconnect(self) -> None:
        """Ends the connection, once nothing is left to be done together."""
        if self.count > 1:
            from torch import distributed

            distributed.destroy_process_group()

    def any(self, *flags: bool) -> list[bool]:
        """For each of these flags, whether it is set on any rank: for decisions by clocks and signals."""
        if self.count == 1:
            return list(flags)
        import torch
        from torch import distributed

        together = torch.tensor(flags, dtype=torch.int32)
        with _losing():
            distributed.all_reduce(together, distributed.ReduceOp.MAX)
        return [bool(flag) for flag in together.tolist()]

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives on the first rank; on the others it is not called."""
        if self.count == 1:
            return make()
        import torch
        from torch import distributed

        held = [make() if self.is_first else None]
        with _losing():
            distributed.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return held[0]  # type: ignore[return-value]

    def add(self, values: torch.Tensor) -> torch.Tensor:
        """Replaces these values by their sum over all ranks, with the same bits on each."""
        if self.count > 1:
            from torch import distributed

            with _losing():
                distributed.all_reduce(values, group=self.group)
        return values


ALONE = Ranks()


def meet(store: Store, rank: int, count: int) -> str:
    """Brings the ranks of one start together; returns a name, the same on each rank, that no earlier start used.

    torchrun keeps one store through its restarts, in which torch looks for addresses under the same names each time, so
    that a rank may find the address of a process that is gone; and hosts may count restarts differently. So each rank
    asks under a name never used before, and the first rank answers with another new name until every rank that asked
    last has taken it.

    Args:
        store: Where all of them can write.
        rank: This one.
        count: All of them.

    Raises:
        RuntimeError: They did not come within `PATIENCE`, or the store is gone.
    """
    own, deadline = uuid.uuid4().hex, time.monotonic() + PATIENCE.total_seconds()
    if rank:
        store.set(f"asks/{rank}", own)
    while time.monotonic() < deadline:
        if rank:
            name = _look(store, f"answer/{own}")
            if name:
                store.set(f"{name}/{rank}", own)
                if _look(store, f"{name}/complete"):
                    return name
        else:
            asked = {other: _look(store, f"asks/{other}") for other in range(1, count)}
            for theirs in filter(None, asked.values()):
                store.set(f"answer/{theirs}", own)
            if all(theirs and theirs == _look(store, f"{own}/{other}") for other, theirs in asked.items()):
                store.set(f"{own}/complete", "yes")
                return own
        time.sleep(0.02)
    raise RuntimeError(f"not all {count} came within {PATIENCE}")


def _look(store: Store, key: str) -> str | None:
    return store.get(key).decode() if store.check([key]) else None


@contextlib.contextmanager
def _losing() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_loss(error):
            raise
        raise LostRankError(explained(error)) from error


def is_loss(error: Exception) -> bool:
    """Whether an error comes from a connection to another rank; in a backward pass it is torch's own."""
    if isinstance(error, LostRankError):
        return True
    from torch import distributed

    return isinstance(error, RuntimeError) and (
        isinstance(error, distributed.DistError) or any(name in str(error) for name in ("gloo", "NCCL"))
    )


def explained(error: Exception) -> str:
    """The loss of a rank in one line: that the rank ended, or why it cannot be reached."""
    if isinstance(error, LostRankError):
        return str(error)
    line = first_line(error)
    if any(sign in line.lower() for sign in SIGNS_OF_AN_END):
        return LOST
    return f"another process cannot be reached: {line}; the same command continues from the last checkpoint"
