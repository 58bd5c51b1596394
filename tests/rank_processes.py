"""Ranks of one training in processes of their own, told who they are and where they meet as torchrun tells them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from processes import PATIENCE, killed_at_last
from torch.distributed import TCPStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerProcess

CONTEXT = multiprocessing.get_context("forkserver")
HOST = "127.0.0.1"


@cache
def _store() -> TCPStore:
    """Where ranks meet: as under torchrun, one for all that are started, with what former ones left there."""
    return TCPStore(HOST, 0, is_master=True, wait_for_workers=False)


def _as_rank(number: int, count: int, port: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    names = {"RANK": number, "WORLD_SIZE": count, "LOCAL_RANK": number, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    os.environ.update(MASTER_ADDR=HOST, TORCHELASTIC_RUN_ID="a test", TORCHELASTIC_USE_AGENT_STORE="True")
    function(*arguments)


@contextlib.contextmanager
def started_ranks(count: int, function: Callable[..., None], *arguments: Any) -> Iterator[list[ForkServerProcess]]:
    """So many ranks, each of which calls the function; it is a module's own, and `Ranks.here()` tells which.

    Whatever happens they are ended afterwards, or they would meet the ranks of the next test.
    """
    CONTEXT.set_forkserver_preload(["resnet_cli.runs.execute", "torch.distributed", "torch._dynamo"])
    processes = [
        CONTEXT.Process(target=_as_rank, args=(number, count, _store().port, function, arguments), daemon=True)
        for number in range(count)
    ]
    for process in processes:
        process.start()
    with killed_at_last(*processes):
        yield processes


def run_ranks(count: int, function: Callable[..., None], *arguments: Any) -> None:
    """Runs so many ranks to their end, which must be a good one."""
    with started_ranks(count, function, *arguments) as processes:
        assert [0] * count == ended(processes)


def ended(processes: list[ForkServerProcess]) -> list[int | None]:
    """Exit codes of ranks that end by themselves; None of one that has not."""
    for process in processes:
        process.join(PATIENCE)
    return [process.exitcode for process in processes]
