"""A task that the program has never heard of: two moons, nets of one or two layers, an accuracy that should rise."""
# ruff: noqa: D102  the methods are those of `Task`, `Data` and `Stream`

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.cli.main import _exit_code
from resnet_cli.data.stream import Epochs, epoch_order
from resnet_cli.nets.complexity import Layer
from resnet_cli.report.pictures import draw_picture
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage.store import Store
from resnet_cli.tasks import TASKS
from resnet_cli.tasks.metric import Metric
from resnet_cli.tasks.picture import Picture
from resnet_cli.tasks.task import Scores, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from resnet_cli.identity import RunSpec, Variant

WIDTH = 16
EXPERIMENT = """
title = "Two moons. Does a second layer help?"
question = "Do two layers tell two moons apart better than one?"
section = "none"
dataset = "moons"

[[runs]]
nets = ["mlp-1", "mlp-2"]
seeds = 3

[[rows]]
label = "one layer"
net = "mlp-1"
values = { test_accuracy = 88.0 }

[[rows]]
label = "two layers"
net = "mlp-2"
values = { test_accuracy = 99.0 }

[[claims]]
kind = "better"
text = "two layers are better than one"
left = "mlp-2"
right = "mlp-1"

[[claims]]
kind = "within"
text = "two layers are nearly always right"
net = "mlp-2"
value = 99
tolerance = 5

[figure]
title = "Two moons"
y_max = 100.0

[[figure.panels]]
title = "curves"

[[figure.panels]]
title = "depth"
kind = "depth"
"""


def moons(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points (count, 2) of two half circles with some noise, and which each is of, (count,)."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    angle = math.pi * random.random(count)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.where(labels, -1, 1)[:, None]
    points += np.where(labels[:, None], [[1.0, 0.5]], 0.0) + 0.1 * random.standard_normal((count, 2))
    return torch.from_numpy(points.astype(np.float32)), torch.from_numpy(labels)


@dataclass(frozen=True)
class MoonData:
    """Training and test points."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    name: str = "moons"
    checksum: str = "made from seeds"
    classes: tuple[str, ...] = ("upper", "lower")

    @property
    def device(self) -> torch.device:
        return self.train[0].device

    @property
    def train_labels(self) -> Tensor:
        return self.train[1]

    @property
    def test_labels(self) -> Tensor:
        return self.test[1]

    def to(self, device: torch.device) -> MoonData:
        train, test = (tuple(each.to(device) for each in part) for part in (self.train, self.test))
        return replace(self, train=train, test=test)

    def prepare(self) -> None:
        """Nothing."""


class MoonStream:
    """Batches in a random order."""

    def __init__(self, data: MoonData, run: RunSpec, share: tuple[int, int]) -> None:
        self.data, self.seed = data, run.seed
        self.epochs = Epochs(len(data.train_labels), run.protocol.batch_size, share)

    def inputs(self, iteration: int) -> tuple[Tensor, ...]:
        parts = self.epochs.parts(iteration)
        numbers = [epoch_order(self.seed, epoch, self.epochs.images)[part] for epoch, part in parts]
        return (torch.from_numpy(np.concatenate(numbers)),)

    def make(self, numbers: Tensor) -> tuple[Tensor, ...]:
        return tuple(each[numbers] for each in self.data.train)

    def batch(self, iteration: int) -> tuple[Tensor, ...]:
        return self.make(*self.inputs(iteration))

    def epochs_seen(self, iteration: int) -> int:
        return self.epochs.seen(iteration)

    def close(self) -> None:
        """Nothing."""


def right_answers(outputs: Callable[..., Tensor], points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy, and the number of right answers."""
    logits = outputs(points)
    return functional.cross_entropy(logits, labels), (logits.argmax(dim=1) == labels).sum()


def draw_points(run: RunSpec, kept: Mapping[str, np.ndarray], data: Callable[[], MoonData]) -> Figure:
    """The test points in the colours of the guesses."""
    figure = Figure(figsize=(3.5, 2.5))
    axes = figure.subplots()
    axes.scatter(*data().test[0].T, c=kept["guessed"], s=4)
    figure.suptitle(f"Points of seed {run.seed}")
    return figure


class Moons(Task):
    """Which of two moons a point lies in."""

    name = "moons"
    title = "Two Moons"
    section = "0"
    protocol = Protocol(batch_size=20, milestones=(150,), iterations=200, warmup=None)
    datasets = {"moons": ""}  # noqa: RUF012
    embedded = "moons"
    metrics = (Metric("test_accuracy", "test accuracy", higher_is_better=True),)
    trained = Metric("train_accuracy", "training accuracy", higher_is_better=True)
    training_images = 400
    test_bytes = 1_000
    pictures = {"points": Picture("The test points, by what the net takes them for.", draw_points)}  # noqa: RUF012

    def parse(self, name: str) -> Net:
        match = re.fullmatch(r"mlp-([12])", name)
        if match is None:
            raise ValueError(f"'{name}' is not a net; write mlp-1 or mlp-2")
        return Net(family="mlp", depth=int(match[1]), shortcut=None)

    def layers(self, net: Net, dataset: str | None = None, *, stride_3x3: bool = False) -> list[Layer]:  # noqa: ARG002
        sizes = [2, *[WIDTH] * (net.depth - 1), 2]
        return [Layer(str(number), a * b + b, a * b) for number, (a, b) in enumerate(itertools.pairwise(sizes))]

    def build(self, net: Net, variant: Variant, seed: int, classes: int) -> nn.Module:  # noqa: ARG002
        torch.manual_seed(seed)
        if net.depth == 1:
            return nn.Sequential(nn.Linear(2, classes))
        return nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))

    def obstacle(self, variant: Variant, data_dir: Path, dataset_root: Path | None = None) -> None:
        """None."""

    def open(self, variant: Variant, data_dir: Path, **_: Any) -> MoonData:  # noqa: ARG002
        return MoonData(moons(400, 0), moons(200, 1))

    def stream(self, data: MoonData, run: RunSpec, share: tuple[int, int] = (0, 1)) -> MoonStream:
        return MoonStream(data, run, share)

    def loss(self) -> Callable[..., tuple[Tensor, Tensor]]:
        return right_answers

    @torch.no_grad()
    def test(self, net: nn.Module, data: MoonData, precision: str, views: str | None = None, **_: Any) -> Scores:  # noqa: ARG002
        points, labels = data.test
        loss, right = right_answers(net.eval(), points, labels)
        accuracy = 100 * float(right) / len(labels)
        kept = {"labels": labels.numpy(), "guessed": net(points).argmax(dim=1).numpy()}
        return Scores(float(loss), {"test_accuracy": accuracy}, len(labels), kept)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the experiment, in place of the program's own; the task is one of its tasks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/moons.toml").write_text(EXPERIMENT, encoding="utf-8")
    monkeypatch.setattr("resnet_cli.experiment.load.experiments_folder", lambda: tmp_path / "experiments")
    TASKS.append(Moons())
    yield tmp_path
    TASKS.pop()


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints on standard output; it ends without an error."""
    code = _exit_code([*words])
    out, err = capsys.readouterr()

    assert 0 == code, err
    return out


def test_a_new_task_needs_no_other_change(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`run`, `table`, `plot`, `check`, `report`, `compare`, `status` and the overviews know a task by what it says."""
    trained = said(capsys, "run", "moons", "--device", "cpu")
    rows = {row["net"]: row for row in json.loads(said(capsys, "table", "moons", "--format", "json"))["rows"]}
    verdicts = json.loads(said(capsys, "check", "moons", "--format", "json"))[0]["claims"]
    page = (folder / said(capsys, "report").strip()).read_text(encoding="utf-8")
    compared = json.loads(said(capsys, "compare", "results", "results", "moons", "--format", "json"))["rows"]
    run = next((folder / "results/runs").glob("mlp-2-moons-*-s0"))

    assert ["iteration,lr,loss,train_accuracy", "iteration,test_loss,test_accuracy,images"] == [
        (run / name).read_text().splitlines()[0] for name in ("train.csv", "eval.csv")
    ]
    assert "ours: test accuracy (%) after the last update" in trained
    assert rows["mlp-1"]["test_accuracy"] < 95 < rows["mlp-2"]["test_accuracy"]
    assert (3, 82, 88.0) == (rows["mlp-2"]["n"], rows["mlp-2"]["parameters"], rows["mlp-1"]["paper_test_accuracy"])
    assert rows["mlp-2"]["best_test_accuracy"] >= rows["mlp-2"]["test_accuracy"]
    assert ["reproduced", "reproduced"] == [each["verdict"] for each in verdicts]
    assert verdicts[0]["comparisons"][0]["difference"] > 0
    assert "Two moons. Does a second layer help?" in page
    assert 2 == page.count('<img class="picture" src="data:image/webp;base64,')
    assert f"resnet plot points {run.name}" in page
    assert ["test_accuracy", "train_accuracy"] * 2 == [each["metric"] for each in compared]
    assert "test: test accuracy (%) after the last update" in said(capsys, "compare", "results", "results", "moons")
    assert "200/200" in said(capsys, "status", "moons")
    assert "Two Moons's nets" in said(capsys, "list")
    assert re.search(r"mlp-1.* 88\.00", said(capsys, "show", "moons"))
    assert said(capsys, "plot", "moons", "--format", "svg").strip().endswith("moons.svg")
    assert "mlp-2 > mlp-1" in said(capsys, "check", "moons", "--power")
    assert "mlp-2-moons-" in said(capsys, "run", "moons", "--dataset", "auto", "--dry-run")
    assert "moons" not in said(capsys, "data", "where").lower()


def test_a_picture_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plot` with a run draws what the task draws of it; what is no picture, or no run, is one line."""
    said(capsys, "run", "moons", "--tiny", "--device", "cpu")
    run = next((folder / "results/runs").glob("mlp-2-moons-*-s0"))
    path = folder / said(capsys, "plot", "points", str(run)).strip()

    spec = next(each for each in Store(folder / "results").runs() if each.run_id == run.name)
    title = draw_picture(Store(folder / "results"), spec, "points", folder).get_suptitle()

    assert "mlp-2, seed 0: SMOKE RUN (--tiny), not a result; Two Moons; fp32 Points of seed 0" == " ".join(
        title.split()
    )
    assert f"points-{run.name}.png" == path.name
    assert path.read_bytes().startswith(b"\x89PNG")
    assert said(capsys, "plot", "points", run.name, "--format", "svg").strip().endswith(".svg")
    (run / "predictions.npz").unlink()
    for arguments, told in (
        (["points"], "points: name a run too: resnet plot points RUN, with a name in results/runs"),
        (["lines", run.name], "lines: no picture of Two Moons's runs; there are: points"),
        (["points", "mlp-9"], "'mlp-9': not the name of a run in results/runs"),
        (["points", run.name, "--tiny"], "a run's name determines its scale"),
        (["points", run.name, "--dataset-root", "."], "--dataset-root: only for ImageNet"),
        (["points", run.name], "predictions.npz: No such file or directory"),
    ):
        assert 2 == _exit_code(["plot", *arguments])
        assert told in capsys.readouterr().err


def test_its_mistakes_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A net that it has not, a claim of less where more is better, and a metric of another task are one line."""
    for wrong, right, told in (
        ('"mlp-1", "mlp-2"', '"mlp-1", "mlp-3"', "runs.0.nets.1: 'mlp-3' is not a net; write mlp-1 or mlp-2"),
        ('kind = "better"', 'kind = "less"', 'a higher test_accuracy is better; use kind = "better"'),
        ('left = "mlp-2"', 'left = "mlp-2"\nmetric = "test_error"', "metric: use one of test_accuracy"),
    ):
        (folder / "mine.toml").write_text(EXPERIMENT.replace(wrong, right, 1), encoding="utf-8")

        assert 2 == _exit_code(["table", "mine.toml"])
        assert told in capsys.readouterr().err


def test_a_smoke_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--tiny is eight updates of it, and says so."""
    assert "SMOKE RUN" in said(capsys, "run", "moons", "--tiny", "--device", "cpu")
    assert 2 == len(list((folder / "results/runs").glob("mlp-*")))
