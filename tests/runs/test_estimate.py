from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from paper_tasks import CIFAR10, IMAGENET

from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs.estimate import bytes_needed, duration, measured_speed, seconds_left
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage import run_folder
from resnet_cli.storage.run_folder import Status

if TYPE_CHECKING:
    from resnet_cli.names import Precision
    from resnet_cli.storage.store import Store

MACS_8 = 442_368 + 14_155_776 - 2_359_296 + 640  # ResNet-8's multiply-adds an image
MACS_20 = 442_368 + 3 * 14_155_776 - 2_359_296 + 640


def spec(net: str = "resnet-8", *, iterations: int = 1_000, seed: int = 0, precision: Precision = "fp32") -> RunSpec:
    """A run of `iterations` updates of ten images."""
    protocol = Protocol(batch_size=10, iterations=iterations)
    return RunSpec.of(Net.model_validate(net), Variant(precision=precision), protocol, seed)


def reach(store: Store, run: RunSpec, iteration: int, seconds: float, state: run_folder.State = "running") -> RunSpec:
    """Writes how far a run is; a fifth of its time went into evaluation."""
    status = Status(
        state=state,
        iteration=iteration,
        iterations=run.protocol.iterations,
        train_seconds=0.8 * seconds,
        evaluate_seconds=0.2 * seconds,
    )
    run_folder.write_status(store.create_folder(run), status)
    return run


def test_work() -> None:
    """A run's work is the multiply-adds of all its images."""
    assert 1_000 * 10 * MACS_8 == CIFAR10.work(spec())
    assert 1_000 * 10 * MACS_20 == CIFAR10.work(spec("plain-20"))


def test_work_on_small_images() -> None:
    """An image of half the side takes a quarter of the convolutions' multiply-adds, and all of the classifier's."""
    small = RunSpec.of(
        Net.model_validate("resnet-8"), Variant(dataset="shapes-16"), Protocol(batch_size=10, iterations=1_000), 0
    )

    assert 1_000 * 10 * ((MACS_8 - 640) // 4 + 640) == small.task.work(small)


def test_no_speed_yet(store: Store) -> None:
    """Without a run of this precision, or with the first updates of one only, the speed is not known."""
    assert measured_speed(store, Variant()) is None

    reach(store, spec(), 49, 10.0)
    reach(store, spec(seed=1), 500, 0.0)
    reach(store, spec(precision="bf16"), 500, 10.0)
    smoke = RunSpec.of(Net.model_validate("resnet-8"), Variant(dataset="synthetic", tiny=True), Protocol(), 0)
    reach(store, smoke, 8, 100.0)
    together = reach(store, spec(seed=2), 500, 10.0)  # by eight processes, which says nothing of one
    (store.folder(together) / run_folder.ENVIRONMENT).write_text('{"ranks": 8}')

    assert measured_speed(store, Variant()) is None


def test_speed_is_that_of_the_longest_run(store: Store) -> None:
    """The speed is that of the run with the most work behind it, the time of evaluation included."""
    reach(store, spec(seed=0), 100, 1.0)
    reach(store, spec(seed=1), 500, 10.0)
    reach(store, spec("resnet-20", seed=0), 200, 20.0)  # as many updates would be less work than ResNet-8's 500
    reach(store, spec(precision="bf16"), 900, 1.0)

    fp32, bf16 = (measured_speed(store, Variant(precision=precision)) for precision in ("fp32", "bf16"))

    assert fp32
    assert pytest.approx(200 * 10 * MACS_20 / 20.0) == fp32.speed
    assert "200 updates of resnet-20 on this machine, fp32" == fp32.basis
    assert bf16
    assert pytest.approx(900 * 10 * MACS_8 / 1.0) == bf16.speed


def test_imagenets_nets_have_a_speed_of_their_own(store: Store) -> None:
    """Large nets compute faster per multiply-add than small ones: each benchmark is judged by its own runs.

    An update may take seconds there, so half a minute of updates is enough.
    """
    folder = Variant(dataset="folder", source="flowers-01234567")
    few = RunSpec.of(IMAGENET.net("resnet-50"), folder, IMAGENET.protocol, 0)
    reach(store, spec(), 100, 1.0)
    reach(store, few, 6, 60.0)
    measured = measured_speed(store, Variant(dataset="imagenet"))

    assert 600_000 * 256 * 3_857_973_248 == few.task.work(few)
    assert measured
    assert pytest.approx(6 * 256 * 3_857_973_248 / 60.0) == measured.speed
    assert "6 updates of resnet-50-B on this machine, fp32" == measured.basis


def test_work_of_small_photographs_is_small() -> None:
    """A smoke run's photographs of 32 pixels are a forty-ninth of the work of those of 224."""
    smoke = Variant(dataset="synthetic-photos", tiny=True)
    run = RunSpec.of(IMAGENET.net("resnet-50"), smoke, IMAGENET.protocol, 0)

    assert 8 * 16 * (3_857_973_248 // 49) == run.task.work(run)


def test_seconds_left(store: Store) -> None:
    """Left is the work of what is not done, of runs that have begun the rest."""
    runs = [spec(seed=0), spec(seed=1), spec(seed=2), spec("resnet-20")]
    reach(store, runs[0], 1_000, 1.0, "done")
    reach(store, runs[1], 250, 1.0, "interrupted")
    expected = (0.75 + 1) * 1_000 * 10 * MACS_8 + 1_000 * 10 * MACS_20

    assert pytest.approx(expected / 1e9) == seconds_left(runs, store, 1e9)
    assert 0 == seconds_left(runs[:1], store, 1e9)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (40.4, "40 s"),
        (89.4, "89 s"),
        (12 * 60, "12 min"),
        (89 * 60, "89 min"),
        (90 * 60, "1.5 h"),
        (3.5 * 3600, "3.5 h"),
        (35.9 * 3600, "35.9 h"),
        (36 * 3600, "1.5 days"),
        (2.1 * 86400, "2.1 days"),
        (729 * 86400, "729.0 days"),
        (3.5 * 365.25 * 86400, "3.5 years"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    """A time is told as people tell it."""
    assert words == duration(seconds)


def test_bytes_on_disk() -> None:
    """Each run leaves weights, logits and rows; as many as train at once, the largest, have three checkpoints each."""
    small, large = spec("resnet-8"), spec("resnet-20")
    left = {run: 4 * CIFAR10.parameters(run.net) + 200_000 + 60_000 for run in (small, large)}

    assert left[small] + 24 * CIFAR10.parameters(small.net) == bytes_needed([small])
    assert sum(left.values()) + 24 * CIFAR10.parameters(large.net) == bytes_needed([small, large])
    assert sum(left.values()) + 24 * sum(CIFAR10.parameters(run.net) for run in left) == bytes_needed(list(left), 4)
    assert 0 == bytes_needed([])
