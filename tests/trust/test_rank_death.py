"""One net over several processes: one is killed, all end, and what goes on ends as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from rank_processes import ended, run_ranks, started_ranks
from small_run import Endings, leftovers, note_updates, result, small_run, train_here, wait_for_updates

from resnet_cli.device.ranks import LOST, Ranks, is_loss
from resnet_cli.runs.execute import execute, follow
from resnet_cli.runs.settings import Settings
from resnet_cli.storage.store import Store
from resnet_cli.train import checkpoint
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_cli.data.stream import TrainStream
    from resnet_cli.identity import RunSpec


def run_of(updates: int, ranks: int = 2) -> RunSpec:
    """A small run that ranks share: batch normalisation sees as many parts."""
    run = small_run(updates)
    variant = run.variant.model_copy(update={"accumulate": ranks})
    protocol = run.protocol.model_copy(update={"batch_size": 8 * ranks})
    return run.model_copy(update={"variant": variant, "protocol": protocol})


def train_as_rank(run: RunSpec, root: Path, checkpoint_seconds: float, updates: Path | None = None) -> None:
    """The body of a rank: the first executes, and may note its updates; the others follow.

    Exit codes say how it ended. Of the first 0 done, 75 stopped, 3 failed, and what it said is in a file; of others 0
    ended, 4 another rank was lost, 5 a fault of its own.
    """
    ranks, watcher = Ranks.here(), Endings()
    settings = Settings("cpu", Path("nowhere"), checkpoint_seconds=checkpoint_seconds, ranks=ranks)
    if ranks.is_first:
        if updates:
            note_updates(updates)
        report = execute([run], Store(root), settings, watcher)
        (root / "said").write_text("\n".join(watcher.messages))
        code = 75 if report.stopped_by else 3 * report.count("failed")
    else:
        try:
            follow(settings)
            code = 0
        except Exception as error:  # noqa: BLE001  what it is decides the code
            code = 4 if is_loss(error) else 5
    os._exit(code)  # as the command does: torch would wait for the rank that is gone


def break_as_second(run: RunSpec, root: Path) -> None:
    """The same, but the second rank has a fault at its fifth update."""
    update = EagerStep.update

    def broken(step: EagerStep, stream: TrainStream, iteration: int, rate: float) -> tuple[Tensor, Tensor]:
        if iteration == 5 and not Ranks.here().is_first:
            raise RuntimeError("broken")
        return update(step, stream, iteration, rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EagerStep, "update", broken)
        train_as_rank(run, root, 0)


@pytest.mark.parametrize(
    ("kills", "updates"),
    [pytest.param(6, 60, marks=pytest.mark.long), pytest.param(20, 400, marks=pytest.mark.slow)],
    ids=["6 kills", "20 kills"],
)
def test_a_rank_killed_again_and_again(kills: int, updates: int, tmp_path: Path) -> None:
    """Kill one of three ranks at random moments: the others end, and the end is the uninterrupted one's.

    None is left waiting; the first says in one line what happened. Three, because the order of a sum of two does not
    matter. Long: three processes are started for each kill. Seen to fail when only the first takes its momentum up
    again, and when the first update's gradients lie in other buckets than the next one's.
    """
    run, chance = run_of(updates, ranks=3), random.Random(152)  # noqa: S311  when to kill, no secret
    root, store = tmp_path / "killed", Store(tmp_path / "killed")
    reached = set()
    for number in range(kills):
        victim, begun = number % 3, tmp_path / f"updates-{number}"
        with started_ranks(3, train_as_rank, run, root, 0, begun) as processes:
            wait_for_updates(begun, chance.randint(2, updates // kills // 2), processes[0])
            time.sleep(chance.uniform(0, 0.02))
            processes[victim].kill()

            expected: list[int | None] = [3, 4, 4]
            expected[victim] = -signal.SIGKILL
            assert expected == ended(processes)
        if victim:
            assert LOST == (root / "said").read_text()
            assert ("failed", LOST) == (store.status(run).state, store.status(run).message)
        state, _ = checkpoint.load(store.folder(run))
        reached.add(state.iteration if state else 0)
    run_ranks(3, train_as_rank, run, root, 0)
    run_ranks(3, train_as_rank, run, tmp_path / "undisturbed", 30)

    assert result(run, tmp_path / "undisturbed") == result(run, root)
    assert [] == leftovers(run, root)
    assert len(reached) > kills / 2  # the kills came at many places


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_signal_to_one_rank_stops_all(rank: int, tmp_path: Path) -> None:
    """Whichever rank is told to stop, all stop at the same update, all is saved, and what goes on ends the same."""
    run, root, begun = run_of(60), tmp_path / "stopped", tmp_path / "updates"
    with started_ranks(2, train_as_rank, run, root, 1e9, begun) as processes:
        wait_for_updates(begun, 5, processes[0])
        processes[rank].terminate()

        assert [75, 0] == ended(processes)
    assert "interrupted" == Store(root).status(run).state
    run_ranks(2, train_as_rank, run, root, 1e9)
    run_ranks(2, train_as_rank, run, tmp_path / "undisturbed", 1e9)

    assert result(run, tmp_path / "undisturbed") == result(run, root)


def test_goes_on_in_one_process(tmp_path: Path) -> None:
    """A run that two ranks began goes on in one process, which takes the batch in two parts: the run is the same."""
    run, moved, alone = run_of(40), Store(tmp_path / "moved"), Store(tmp_path / "alone")
    with started_ranks(2, train_as_rank, run, moved.root, 1e9, tmp_path / "updates") as processes:
        wait_for_updates(tmp_path / "updates", 5, processes[0])
        processes[0].terminate()

        assert [75, 0] == ended(processes)
    begun = moved.status(run).iteration
    assert ("done", "") == train_here(run, moved.root)
    assert ("done", "") == train_here(run, alone.root)

    assert 0 < begun < 40
    assert moved.environment(run)["ranks"] == 2
    assert "ranks" not in moved.environment(run)["resumed"][-1]
    pd.testing.assert_frame_equal(alone.train_log(run).head(begun), moved.train_log(run).head(begun), rtol=1e-3)


def test_a_fault_of_one_rank_ends_all(tmp_path: Path) -> None:
    """A rank with a fault of its own says so; the other is not left waiting, and what it has is there."""
    run, store = run_of(40), Store(tmp_path)

    with started_ranks(2, break_as_second, run, tmp_path) as processes:
        assert [3, 5] == ended(processes)
    assert LOST == (tmp_path / "said").read_text()
    assert [1, 2, 3, 4] == store.train_log(run)["iteration"].tolist()
