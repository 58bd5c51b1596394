"""Trainings that find their cores wanted have them one after the other; alone, none waits or locks anything."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.device import turns
from resnet_cli.device.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CPU = torch.device("cpu")


class Machine:
    """How long the main thread has waited for cores, and the time, as the test says."""

    def __init__(self) -> None:
        self.now = self.waited = 0.0

    def passes(self, seconds: float, *, waiting: float = 0.0) -> None:
        """So much time passes, of which so much is waited for a core."""
        self.now += seconds
        self.waited += waiting


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose clock the test moves; waiting for a lock has a real one."""
    simulated, real = Machine(), time.monotonic
    monkeypatch.setattr(turns, "_waited_for_cores", lambda: simulated.waited)
    monkeypatch.setattr(turns.time, "monotonic", lambda: simulated.now + real())
    return simulated


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def crowded(machine: Machine, folder: Path) -> Turns:
    """A training that has found out that it is not alone."""
    training = Turns(CPU, "bf16", folder=folder)
    machine.passes(2.0, waiting=1.0)
    training.take()
    return training


def test_alone_nothing_is_locked(machine: Machine, tmp_path: Path) -> None:
    """A training that waits for no core makes no file."""
    training = Turns(CPU, "bf16", folder=tmp_path)
    for _ in range(10):
        machine.passes(2.0, waiting=0.02)
        training.take()

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("waiting", [0.0, 1.0], ids=["alone", "crowded"])
@pytest.mark.parametrize(
    ("device", "threads", "is_alone"),
    [("meta", 2, True), ("cpu", 1, True), ("cpu", 2, False)],
    ids=["another device", "a single thread", "ranks"],
)
def test_who_takes_no_turns(
    device: str, threads: int, is_alone: bool, waiting: float, machine: Machine, tmp_path: Path
) -> None:
    """Who does not wait for its own threads on this machine's cores, or is waited for by other ranks, takes none."""
    torch.set_num_threads(threads)
    training = Turns(torch.device(device), "bf16", is_alone=is_alone, folder=tmp_path)
    machine.passes(2.0, waiting=waiting)
    training.take()

    assert not training.turn.is_locked


def test_two_have_the_cores_one_after_the_other(machine: Machine, tmp_path: Path) -> None:
    """Each update is one training's alone, and neither has two turns while the other waits."""
    order: list[str] = []
    alone_inside = []
    inside, both_are_here = threading.Lock(), threading.Barrier(2)

    def train(name: str) -> None:
        training = crowded(machine, tmp_path)
        training.give()
        both_are_here.wait()
        for _ in range(6):
            training.take()
            alone_inside.append(inside.acquire(blocking=False))
            order.append(name)
            time.sleep(0.05)  # the other queues meanwhile
            inside.release()
            machine.passes(turns.TURN_SECONDS)
        training.close()

    threads = [threading.Thread(target=train, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until_one_is_done = order[: min(len(order) - 1 - order[::-1].index(name) for name in ("first", "second")) + 1]

    assert [True] * 12 == alone_inside
    assert all(one != other for one, other in itertools.pairwise(until_one_is_done[1:]))


def test_a_turn_that_has_just_begun_is_kept(machine: Machine, tmp_path: Path) -> None:
    """Small updates share a turn; when it is over another can have it."""
    training = crowded(machine, tmp_path)
    training.take()
    taken = training.taken
    training.take()

    assert taken == training.taken
    machine.passes(turns.TURN_SECONDS)
    training.take()

    assert taken < training.taken
    training.give()

    assert not training.turn.is_locked


def test_whoever_is_stopped_in_its_turn_keeps_nobody(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the next one trains all the same."""
    monkeypatch.setattr(turns, "LONGEST_WAIT", 0.05)
    stopped, other = crowded(machine, tmp_path), crowded(machine, tmp_path)

    assert stopped.turn.is_locked
    assert not other.turn.is_locked


def test_turns_end_when_the_others_have_gone(machine: Machine, tmp_path: Path) -> None:
    """Without a wait for a core or a turn for some seconds, the training is alone again."""
    training = crowded(machine, tmp_path)
    training.take()

    assert training.turn.is_locked
    machine.passes(turns.CALM_SECONDS + 1)
    training.take()

    assert not training.turn.is_locked


@pytest.mark.parametrize(("precision", "sleeps"), [("fp32", True), ("bf16", False)])
def test_threads_sleep_beside_programs_that_take_no_turns(
    precision: str, sleeps: bool, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cores that are waited for in spite of turns make OpenMP's threads sleep, until they are free; not in bf16."""
    for name in turns.WAITING_POLICY:
        monkeypatch.delenv(name, raising=False)
    training = Turns(CPU, precision, folder=tmp_path)  # type: ignore[arg-type]  # one of the two
    seen = []
    for _ in range(turns.LOOKS_BEFORE_SLEEP):
        machine.passes(2.0, waiting=1.0)
        training.take()
        seen.append(training.sleep.thread is not None)

    assert [False, False, sleeps] == seen
    machine.passes(turns.CALM_SECONDS + 1)
    training.take()

    assert training.sleep.thread is None


def test_a_users_own_policy_stays(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has told OpenMP how to wait has decided; turns are taken all the same."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    training = Turns(CPU, "fp32", folder=tmp_path)
    for _ in range(5):
        machine.passes(2.0, waiting=1.0)
        training.take()

    assert training.sleep.thread is None
    assert training.turn.is_locked


def test_a_folder_that_cannot_be_written_ends_nothing(machine: Machine, tmp_path: Path) -> None:
    """Where there is no place for the locks, the training goes on without turns."""
    (tmp_path / "file").touch()
    training = crowded(machine, tmp_path / "file")

    assert not training.is_taking


@pytest.mark.parametrize(
    ("enabled", "group", "expected"),
    [("1", "/autogroup-45 nice 7", 7), ("0", "/autogroup-45 nice 7", 3), ("1", "", 3), (None, None, 3)],
    ids=["grouped", "not grouped", "no group", "another system"],
)
def test_the_niceness_is_the_one_that_decides(
    enabled: str | None, group: str | None, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Between sessions that the kernel groups it is the group's, elsewhere the process's."""
    for name, content in (("AUTOGROUPS", enabled), ("AUTOGROUP", group)):
        monkeypatch.setattr(turns, name, tmp_path / name)
        if content is not None:
            (tmp_path / name).write_text(f"{content}\n")
    monkeypatch.setattr(turns.os, "nice", lambda _: 3)

    assert expected == turns._niceness()
