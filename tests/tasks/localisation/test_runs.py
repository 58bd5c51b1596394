"""Localisation from end to end: a classifier, the RPN that starts from it, and the R-CNN on that."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import safetensors.torch

from resnet_cli.cli.main import _exit_code
from resnet_cli.errors import BadInputError
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.report.logs import check_log
from resnet_cli.runs.plan import plan
from resnet_cli.storage import run_folder
from resnet_cli.tasks import TASKS
from resnet_cli.tasks.localisation import Localisation
from resnet_cli.train.loop import StoppedError, train

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.storage.store import Store

TASK = next(task for task in TASKS if isinstance(task, Localisation))
PAPER = Variant(dataset="imagenet-loc")
EXPERIMENT = """
title = "Small"
question = "Does it run?"
section = "C"
dataset = "drawn-objects"

[[runs]]
nets = ["rcnn-resnet-8"]

[[rows]]
label = "R-CNN"
net = "rcnn-resnet-8"
values = { top5_error = 10.6, given_error = 13.3 }
"""


def weights(folder: Path) -> dict[str, object]:
    """A run's final weights, as lists."""
    found = safetensors.torch.load((folder / "weights.safetensors").read_bytes())
    return {name: tensor.tolist() for name, tensor in found.items()}


def test_a_chain_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An R-CNN is asked for; classifier and RPN are trained before it, and stay in it as they are, to the bit."""
    (tmp_path / "small.toml").write_text(EXPERIMENT)
    command = ["run", str(tmp_path / "small.toml"), "--tiny", "--device", "cpu", "--results-dir", str(tmp_path / "r")]

    assert 0 == _exit_code(command), capsys.readouterr().err
    shown = capsys.readouterr().out
    classifier, rpn, rcnn = (next((tmp_path / "r/runs").glob(f"{kind}resnet-8-*")) for kind in ("", "rpn-", "rcnn-"))
    first, second, third = map(weights, (classifier, rpn, rcnn))

    assert first == {name.removeprefix("classifier."): each for name, each in second.items() if "classifier." in name}
    assert second == {name.removeprefix("rpn."): each for name, each in third.items() if name.startswith("rpn.")}
    assert first["conv1.weight"] != second["trunk.conv1.weight"] != third["trunk.conv1.weight"]
    assert (
        "iteration,test_loss,top5_error,top1_error,given_error,given_error_dense,dense_gain,images"
        == (rcnn / "eval.csv").read_text().splitlines()[0]
    )
    assert "the difference in validation top-5 localisation error" in shown
    assert 0 == _exit_code(["plot", "boxes", rcnn.name, "--results-dir", str(tmp_path / "r")])
    assert capsys.readouterr().out.strip().endswith(f"boxes-{rcnn.name}.png")
    assert 0 == _exit_code([*command, "--dry-run"])
    assert "done" in capsys.readouterr().out


def train_in(folder: Path, run: RunSpec, source: Path | None, stop_at: int | None = None) -> list[bytes]:
    """Trains a run in a folder, or goes on; its logs and results, empty where it was stopped after so many updates."""
    folder.mkdir(exist_ok=True)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop_at

    data = TASK.open(run.variant, folder, protocol=run.protocol)
    with nullcontext() if stop_at is None else pytest.raises(StoppedError):
        train(run, folder, data, report=lambda _: None, should_stop=should_stop, source=source)
    names = "train.csv", "eval.csv", "weights.safetensors", "predictions.npz"
    return [(folder / name).read_bytes() for name in names] if stop_at is None else []


def test_resume_is_exact(tmp_path: Path) -> None:
    """An RPN that is stopped after three updates and run again ends with the same bytes."""
    run = RunSpec.of(TASK.net("rpn-resnet-8"), Variant(dataset="drawn-objects", tiny=True), TASK.protocol, 0)
    assert run.source
    train_in(tmp_path / "source", run.source, None)
    once = train_in(tmp_path / "once", run, tmp_path / "source")
    train_in(tmp_path / "twice", run, tmp_path / "source", stop_at=3)

    assert once == train_in(tmp_path / "twice", run, None)


def test_an_rpn_starts_from_table_3s_net() -> None:
    """At paper scale the classifier is the run that Table 3 makes; the chain is planned in order."""
    runs = plan(load_experiment("table13"), PAPER)
    table3 = {run.run_id for run in plan(load_experiment("table3"), Variant(dataset="imagenet"))}

    assert ["resnet-101-B", "rpn-resnet-101-B", "rcnn-resnet-101-B"] == [run.net.name for run in runs]
    assert runs[0].run_id in table3
    assert [0, 1, 2] == [len(run.sources) for run in runs]
    assert runs[2].sources == (runs[1], runs[0])


def test_the_classifier_of_drawn_objects_learns_them() -> None:
    """On the embedded set it has the same protocol, and is no run of ImageNet's."""
    run = RunSpec.of(TASK.net("rpn-resnet-14"), Variant(dataset="drawn-objects"), TASK.protocol, 3)

    assert run.source == run.model_copy(update={"net": TASK.net("resnet-14")})
    assert run.source.source is None


@pytest.mark.parametrize("name", ["rpn-vgg-16", "rpn", "rcnn-rpn-resnet-50", "rpn-resnet-19", "resnet-20-single", "x"])
def test_what_is_no_net(name: str) -> None:
    """One line."""
    with pytest.raises(ValueError, match="net"):
        TASK.net(name)


def test_names() -> None:
    """Option B goes without saying from 50 layers on, as for ImageNet."""
    names = ["rpn-resnet-101", "rcnn-resnet-34-C", "resnet-50", "rpn-plain-14", "plain-18"]

    assert names == [TASK.short_name(TASK.net(name)) for name in names]
    assert "rpn-resnet-101-B" == TASK.net("rpn-resnet-101").name


def test_trunks() -> None:
    """Table 1's nets are its own, also where their depth is 6n+2; other depths are small nets."""
    kinds = {depth: TASK.layout(TASK.net(f"rpn-resnet-{depth}")) for depth in (14, 18, 50, 152)}

    assert [3, 4, 4, 4] == [len(layout.blocks) for layout in kinds.values()]
    assert "bottleneck" == kinds[50].block == kinds[152].block


def test_table13_is_the_papers() -> None:
    """The rows of Tables 13 and 14."""
    keys = "given_error", "given_error_dense", "top5_error"
    rows = [row.model_dump()["values"] for row in load_experiment("table13").rows]
    given, dense, top5 = ([row[key] for row in rows if key in row] for key in keys)

    assert ([33.1, 13.3], [11.7]) == (given, dense)
    assert [29.9, 26.7, 25.3, 14.4, 10.6, 8.9] == top5


def test_a_gain_may_be_a_loss(tmp_path: Path) -> None:
    """Dense testing may make more errors; that is no damaged log. An error below 0 is."""
    run = RunSpec.of(TASK.net("rpn-resnet-14"), Variant(dataset="drawn-objects", tiny=True), TASK.protocol, 0)
    row = dict.fromkeys(TASK.eval_columns, 5.0) | {"iteration": 8, "images": 16, "dense_gain": -3.0}
    check_log(pd.DataFrame([row]), tmp_path / "eval.csv", run)
    with pytest.raises(BadInputError, match="given_error -3"):
        check_log(pd.DataFrame([row | {"given_error": -3.0}]), tmp_path / "eval.csv", run)


def test_a_source_needs_no_test_of_another_task(store: Store) -> None:
    """Table 9's analysis is due of detectors, not of the classifier that they start from."""
    runs = plan(load_experiment("table9"), Variant(dataset="coco2014"), seeds=1)
    for run in runs:
        run_folder.write_status(store.create_folder(run), run_folder.Status(state="done", iteration=1, iterations=1))

    assert [True, False, False] == [store.is_done(run, "answers") for run in runs]


def test_its_json_says_all() -> None:
    """A run's spec is read back as it was."""
    run = RunSpec.of(TASK.net("rcnn-resnet-101"), PAPER, TASK.protocol, 1)

    assert run == RunSpec.model_validate(json.loads(run.model_dump_json()))
