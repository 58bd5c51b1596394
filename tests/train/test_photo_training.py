"""Trainings on photographs: the plateau rule, resume, workers, and a net that memorises what it sees."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from paper_tasks import IMAGENET

from resnet_cli.data import PhotoDataset
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import Photos, Plateau
from resnet_cli.storage import run_folder
from resnet_cli.tasks import open_dataset
from resnet_cli.tasks.imagenet.folder import source_of
from resnet_cli.train import checkpoint
from resnet_cli.train.loop import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMOKE = Variant(dataset="synthetic-photos", tiny=True)
UPDATES = 12
# Windows of two updates. An improvement of 30 points does not come, so the second window and each after it is a
# plateau; it would seem to come if half of a window's errors were forgotten.
PROTOCOL = IMAGENET.protocol.model_copy(
    update={
        "batch_size": 12,
        "iterations": UPDATES,
        "plateau": Plateau(window=2, patience=1, improvement=30, drops=2),
        "photos": IMAGENET.protocol.tiny().photos,
    }
)
RUN = RunSpec(net=IMAGENET.net("resnet-18"), variant=SMOKE, protocol=PROTOCOL, seed=1)


def opened(tmp_path: Path, workers: int = 0) -> PhotoDataset:
    """The embedded photographs: 64 to train on, in batches that reach across epochs."""
    dataset = open_dataset(SMOKE, tmp_path, protocol=PROTOCOL, workers=workers)
    assert isinstance(dataset, PhotoDataset)
    return dataset


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> PhotoDataset:
    """The embedded photographs, read in the training's own thread."""
    return opened(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uninterrupted(
    photographs: PhotoDataset, train_in: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the run, trained in one go."""
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    train_in(RUN, folder, dataset=photographs)
    return folder


def contents(folder: Path) -> list[bytes]:
    """What must not depend on how often a run was interrupted, or on who read its photographs."""
    names = (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS)
    return [(folder / name).read_bytes() for name in names]


def test_the_rate_drops_when_the_error_plateaus(uninterrupted: Path) -> None:
    """A tenth from the update after each plateau on, twice and no more."""
    log = pd.read_csv(uninterrupted / run_folder.TRAIN_CSV)

    assert [0.1] * 4 + [0.01] * 4 + [0.001] * 4 == log.lr.tolist()
    assert [6, 11, 12] == pd.read_csv(uninterrupted / run_folder.EVAL_CSV).iteration.tolist()


@pytest.mark.parametrize("cut", [3, 4, 5, 8])
def test_resume_is_exact(
    cut: int, uninterrupted: Path, photographs: PhotoDataset, train_in: Callable[..., None], tmp_path: Path
) -> None:
    """Stopped within a window, at its end, at a drop, or mid-epoch, and run again: the same bytes.

    Seen to fail when the windows' errors, the sum within a window, or the drops are left out of the checkpoint.
    """
    train_in(RUN, tmp_path, stop_at=cut, dataset=photographs)
    state, _ = checkpoint.load(tmp_path)
    train_in(RUN, tmp_path, dataset=photographs)

    assert state
    assert cut == state.iteration
    assert contents(uninterrupted) == contents(tmp_path)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_nothing(
    workers: int, uninterrupted: Path, train_in: Callable[..., None], tmp_path: Path
) -> None:
    """Two or four threads that read photographs give the bytes that none gives."""
    train_in(RUN, tmp_path / "run", dataset=opened(tmp_path, workers))

    assert contents(uninterrupted) == contents(tmp_path / "run")


def test_an_image_that_cannot_be_read_ends_the_training(
    photographs: PhotoDataset, tmp_path: Path, train_in: Callable[..., None]
) -> None:
    """A truncated photograph in the middle of an epoch is named; what was trained before can be resumed."""
    files = list(photographs.train.files)
    files[40] = files[40][:100]
    broken = replace(photographs, train=replace(photographs.train, files=files))
    with pytest.raises(BadInputError, match="photograph 40: "):
        train_in(RUN, tmp_path, dataset=broken)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["plain-18", "resnet-18"])
def test_a_net_memorises_100_photographs(net: str, photograph_root: Path, tmp_path: Path) -> None:
    """The overfitting check: 100 real photographs, through the whole pipeline, are learned by heart.

    The net knows every one of them, and hardly errs on random crops in changed colours.
    """
    photos = Photos(crop=64, shorter_side=(73, 80))
    variant = Variant(dataset="folder", source=source_of(photograph_root))
    protocol = IMAGENET.protocol.model_copy(
        update={"batch_size": 50, "iterations": 600, "plateau": None, "milestones": (450,), "photos": photos}
    )
    run = RunSpec(net=IMAGENET.net(net), variant=variant, protocol=protocol, seed=0)
    dataset = open_dataset(
        variant,
        tmp_path,
        protocol=IMAGENET.protocol.model_copy(update={"photos": photos}),
        dataset_root=photograph_root,
        workers=2,
    )
    train(run, tmp_path, dataset, report=lambda status: None, should_stop=lambda: False)  # noqa: ARG005
    log = pd.read_csv(tmp_path / run_folder.TRAIN_CSV)

    assert log.train_error[-20:].mean() < 3
    assert 0 == pd.read_csv(tmp_path / run_folder.EVAL_CSV).test_error.iloc[-1]
