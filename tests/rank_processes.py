"""Ranks of one training in processes of their own, told who they are and where they meet as torchrun tells them."""

from __future__ import annotations

import multiprocessing
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed import TCPStore

if TYPE_CHECKING:
    from collections.abc import Callable
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


def start_ranks(count: int, function: Callable[..., None], *arguments: Any) -> list[ForkServerProcess]:
    """Starts so many ranks, each of which calls the function; it is a module's own, and `Ranks.here()` tells which."""
    CONTEXT.set_forkserver_preload(["resnet_cli.runs.execute", "torch.distributed", "torch._dynamo"])
    processes = [
        CONTEXT.Process(target=_as_rank, args=(number, count, _store().port, function, arguments), daemon=True)
        for number in range(count)
    ]
    for process in processes:
        process.start()
    return processes


def run_ranks(count: int, function: Callable[..., None], *arguments: Any) -> None:
    """Runs so many ranks to their end, which must be a good one."""
    processes = start_ranks(count, function, *arguments)

    assert [0] * count == ended(processes, seconds=120)


def ended(processes: list[ForkServerProcess], seconds: int = 60) -> list[int | None]:
    """Exit codes of ranks that end by themselves; None of one that has not, which is then ended."""
    for process in processes:
        process.join(seconds)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()  # or it would meet the ranks of the next test
        process.join()
    return codes
