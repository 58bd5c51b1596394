"""The processes that train one net together, a rank each, as torchrun starts them. Loads torch when it is needed."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

T = TypeVar("T")

# The others wait while the first makes a training set's statistics or tests a trained net over many views. A rank that
# dies is seen at once, by its closed connections and by torchrun.
PATIENCE = timedelta(days=1)


LOST = (
    "another process of this training ended; the same command goes on from the last checkpoint, "
    "as torchrun --max-restarts=N does by itself"
)


class LostRankError(Exception):
    """Another rank is gone; nothing can be done together any more."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one net together; by default it is alone.

    What the ranks do together, each must do, in the same order.

    Attributes:
        rank: This one, from 0. The first decides what is trained, and only it writes.
        count: All of them, on every host.
        local: This one among those on its host; its GPU's number.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @classmethod
    def here(cls) -> Ranks:
        """As torchrun started this process; alone, if something else did."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        return cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))

    @property
    def is_first(self) -> bool:
        """Whether it is the rank that decides and writes."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """This rank's part of every batch, from 0, and how many parts there are."""
        return self.rank, self.count

    def connect(self, device: torch.device) -> None:
        """Connects the ranks, each with a device of its own: over NCCL between GPUs, over gloo between CPUs.

        Raises:
            BadInputError: The host has fewer GPUs than ranks, or the device is not for several.
            LostRankError: The others did not come.
        """
        if self.count == 1:
            return
        import torch
        from torch import distributed

        if device.type == "mps":
            raise BadInputError("torchrun: MPS is one device; several processes need CUDA devices or --device cpu")
        if device.type == "cuda":
            if self.local >= torch.cuda.device_count():
                raise BadInputError(
                    f"torchrun: process {self.local + 1} on this host has no CUDA device of its own; there are "
                    f"{torch.cuda.device_count()}: --nproc-per-node={torch.cuda.device_count()}"
                )
            torch.cuda.set_device(self.local)
        with _losing():
            distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)

    def disconnect(self) -> None:
        """Ends the connection, once nothing is left to be done together."""
        if self.count > 1:
            from torch import distributed

            distributed.destroy_process_group()

    def any(self, *flags: bool) -> list[bool]:
        """For each of these flags, whether it is set on any rank: what is decided by clocks and signals."""
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
        """Puts the sum over all ranks in place of these values, to the same bits on each."""
        if self.count > 1:
            from torch import distributed

            with _losing():
                distributed.all_reduce(values)
        return values


ALONE = Ranks()


@contextlib.contextmanager
def _losing() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_loss(error):
            raise
        raise LostRankError(LOST) from error


def is_loss(error: Exception) -> bool:
    """Whether an error comes from a connection to another rank; in a backward pass it is torch's own."""
    if isinstance(error, LostRankError):
        return True
    from torch import distributed

    return isinstance(error, RuntimeError) and (
        isinstance(error, distributed.DistError) or any(name in str(error) for name in ("gloo", "NCCL"))
    )
