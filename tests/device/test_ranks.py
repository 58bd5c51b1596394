"""Who this process is among those that train one net, and what they do together."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from processes import PATIENCE, wait_for
from rank_processes import run_ranks
from torch.distributed import HashStore

from resnet_cli.device.ranks import ALONE, LOST, LostRankError, Ranks, explained, is_loss, meet
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

CPU = torch.device("cpu")


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchrun a process is alone, whatever a cluster's own variables say; all it does is by itself."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    ALONE.connect(CPU)
    values = torch.ones(3)

    assert ALONE == Ranks.here()
    assert [True, False] == ALONE.any(True, False)
    assert "made" == ALONE.from_first(lambda: "made")
    assert values is ALONE.add(values)
    assert [1, 1, 1] == values.tolist()
    ALONE.disconnect()


def test_torchrun_says_who(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process of the third host with four is rank 9 of 12, and has the host's second GPU."""
    names = {"RANK": "9", "WORLD_SIZE": "12", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    ranks = Ranks.here()

    assert Ranks(rank=9, count=12, local=1, local_count=4) == ranks
    assert (9, 12) == ranks.share
    assert not ranks.is_first


def speak(folder: Path) -> None:
    """The body of a rank: everything that ranks do together, once."""
    ranks = Ranks.here()
    ranks.connect(CPU)
    flags = ranks.any(ranks.rank == 1, False, True)
    told = ranks.from_first(lambda: {"from": ranks.rank})
    total = ranks.add(torch.tensor([1.0, float(ranks.rank)])).tolist()
    (folder / str(ranks.rank)).write_text(str((flags, told, total)))
    ranks.disconnect()


def test_together(tmp_path: Path) -> None:
    """A flag that one has, all see; what the first makes, all have; a sum is the same on all."""
    run_ranks(3, speak, tmp_path)
    expected = str(([True, False, True], {"from": 0}, [3.0, 3.0]))

    assert [expected] * 3 == [(tmp_path / str(rank)).read_text() for rank in range(3)]


def come_in_turn(folder: Path) -> None:
    """The body of a rank that comes after those before it: the first finds what others left where they met."""
    ranks = Ranks.here()
    time.sleep(0.3 * ranks.rank)
    speak(folder)


def test_ranks_that_are_started_again(tmp_path: Path) -> None:
    """Where ranks meet lie the addresses of former ones, as after torchrun's restart; nobody calls on those."""
    for start in ("first", "second"):
        (tmp_path / start).mkdir()
        run_ranks(3, come_in_turn, tmp_path / start)

        assert 3 == len(list((tmp_path / start).iterdir()))


@pytest.fixture
def come(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[HashStore, int], Future[str]]]:
    """Lets one of three ranks come to where they meet; the name on which they agree."""
    monkeypatch.setattr("resnet_cli.device.ranks.PATIENCE", timedelta(seconds=PATIENCE))
    with ThreadPoolExecutor() as ranks:
        yield lambda store, rank: ranks.submit(meet, store, rank, 3)


def told(store: HashStore, key: str) -> str:
    """What a key holds, once it is there."""
    wait_for(lambda: store.check([key]), key)
    return store.get(key).decode()


def test_the_first_dies_while_ranks_meet(come: Callable[[HashStore, int], Future[str]]) -> None:
    """A rank that took the name of a first one that is gone takes that of its successor, and all agree."""
    store = HashStore()
    second = come(store, 1)
    store.set(f"answer/{told(store, 'asks/1')}", "gone")
    told(store, "gone/1")
    agreed = {future.result() for future in (come(store, 0), come(store, 2), second)}

    assert 1 == len(agreed)
    assert {"gone"} != agreed


def test_another_dies_while_ranks_meet(come: Callable[[HashStore, int], Future[str]]) -> None:
    """The first waits for the successor of a rank that came, and was answered, and is gone before all are there."""
    store = HashStore()
    store.set("asks/1", "gone")
    first = come(store, 0)
    store.set(f"{told(store, 'answer/gone')}/1", "gone")
    second, third = come(store, 1), come(store, 2)

    assert first.result() == second.result() == third.result()


def test_ranks_that_do_not_come(come: Callable[[HashStore, int], Future[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr("resnet_cli.device.ranks.PATIENCE", timedelta(seconds=0.1))
    with pytest.raises(RuntimeError, match=r"^not all 3 came within 0:00:00\.1"):
        come(HashStore(), 0).result()


@pytest.mark.parametrize(
    ("device", "line"),
    [
        ("mps", "torchrun: MPS is one device; several processes need CUDA devices or --device cpu"),
        ("cuda", "torchrun: 4 processes on a host with 2 CUDA devices; --nproc-per-node=2"),
    ],
)
def test_device_is_not_for_so_many(device: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More processes than devices is told by every rank of the host, so that none waits for the others."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank in range(4):
        with pytest.raises(BadInputError) as raised:
            Ranks(rank, 4, rank, 4).check(SimpleNamespace(type=device))  # type: ignore[arg-type]

        assert line == str(raised.value)
    Ranks(0, 4, 0, 2).check(SimpleNamespace(type="cuda"))  # type: ignore[arg-type]


def connect_over_nothing() -> None:
    """The body of a rank whose network has a name that no network has."""
    os.environ["GLOO_SOCKET_IFNAME"] = "nosuch0"
    with pytest.raises(BadInputError, match=r"^torchrun: its processes cannot be connected: .*nosuch0"):
        Ranks.here().connect(CPU)


def test_a_network_that_does_not_work() -> None:
    """What keeps processes from being connected is told as it is, not as an end of one of them."""
    run_ranks(2, connect_over_nothing)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LostRankError(LOST), LOST),
        (RuntimeError("[.../gloo/transport/tcp/pair.cc:545] Connection closed by peer [::1]"), LOST),
        (
            torch.distributed.DistBackendError("NCCL error in: x.cpp:3, unhandled system error\nmore"),
            "unhandled system",
        ),
        (RuntimeError("shape '[2, 3]' is invalid"), None),
        (OSError(28, "No space left on device"), None),
    ],
    ids=str,
)
def test_whose_fault_it_is(error: Exception, line: str | None) -> None:
    """An error of a connection is another rank's end or says what is wrong with it; any other is this rank's own."""
    assert (line is not None) == is_loss(error)
    if line is not None:
        assert line in explained(error)
        assert "\n" not in explained(error)
