"""Detectors that are tested as one: from `resnet run` to the table, and what is made again."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from resnet_cli.claims.judge import judge
from resnet_cli.cli.main import _exit_code
from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.summarize import Summary, summarize
from resnet_cli.report.tables import make_table
from resnet_cli.runs import one_run
from resnet_cli.runs.plan import plan, plan_ensembles
from resnet_cli.storage import run_folder
from resnet_cli.storage.run_folder import EnsembleResult
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

NAME = "faster-rcnn-thin-resnet-18"
SMOKE = Variant(dataset="drawn-scenes", tiny=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a smoke run of the drawn scenes' residual nets."""
    folder = tmp_path_factory.mktemp("results")
    _run(folder)
    return folder


def _run(folder: Path) -> None:
    assert 0 == _exit_code(
        ["run", "scenes", "--tiny", "--only", NAME, "--device", "cpu", "--jobs", "1", "--results-dir", str(folder)]
    )


def _file(folder: Path) -> Path:
    (path,) = (folder / "ensembles").glob("*/ensemble.json")
    return path


def _row(folder: Path) -> dict[str, object]:
    summary = summarize(Store(folder), load_experiment("scenes"), SMOKE)
    return dict(make_table(summary).frame.set_index("label").loc["residual, three together"])


def test_a_run_tests_them_together(results: Path) -> None:
    """Two members in a smoke run; the mean over the classes is the number that the table shows."""
    result = json.loads(_file(results).read_text())
    alone, other, together = (np.array(values, float) for values in result["by_class"]["test_map50"])

    assert [0, 1] == [int(member[-1]) for member in result["members"]]
    assert result["numbers"]["test_map50"] == pytest.approx(np.nanmean(together))
    assert alone.shape == other.shape == together.shape
    assert (1, result["numbers"]["test_map50"]) == (_row(results)["n"], _row(results)["test_map50"])


def test_each_member_alone_as_in_its_own_test(results: Path) -> None:
    """In the same file each member has the number that its run has."""
    store = Store(results)
    (ensemble,) = plan_ensembles(load_experiment("scenes"), plan(load_experiment("scenes"), SMOKE))
    result = store.ensemble_result(ensemble)

    assert result is not None
    for run, values in zip(ensemble.members, result.by_class["test_map50"], strict=False):
        own = store.eval_log(run)["test_map50"].iloc[-1]
        assert own == pytest.approx(np.nanmean(np.array(values, float)), abs=1e-6)


@pytest.mark.parametrize("spoil", ["missing", "damaged", "other weights", "another form"])
def test_only_the_test_is_made_again(results: Path, spoil: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all members are trained and the result is not whole, nothing is trained."""
    path, before = _file(results), _file(results).read_bytes()
    if spoil == "missing":
        path.unlink()
    elif spoil == "damaged":
        path.write_bytes(before.replace(b"0", b"1"))
    else:
        content = before.replace(b'": "', b'": "0') if spoil == "other weights" else b"{}"
        path.write_bytes(content)
        run_folder.add_sum(path, content)

    assert 0 == _row(results)["n"]
    monkeypatch.setattr(one_run, "train", None)
    _run(results)
    assert before == path.read_bytes()

    written = path.stat().st_mtime_ns
    _run(results)
    assert written == path.stat().st_mtime_ns


def test_while_it_waits(results: Path, tmp_path: Path) -> None:
    """The notes say what for: for runs, or for the test of the nets together."""
    experiment = load_experiment("scenes")
    nothing = make_table(summarize(Store(tmp_path), experiment, SMOKE))
    path, before = _file(results), _file(results).read_bytes()
    path.unlink()
    trained = make_table(summarize(Store(results), experiment, SMOKE))
    path.write_bytes(before)

    assert any(f"2 runs of {NAME} as an ensemble" in note for note in nothing.notes)
    assert any(f"Missing: {NAME} s0, {NAME} s1." in note for note in nothing.notes)
    assert any("Missing: its test; 'resnet run' with one rank does it." in note for note in trained.notes)


@pytest.mark.long
def test_side_by_side(tmp_path: Path) -> None:
    """Of two processes that end a member each, one tests the ensemble."""
    command = ["run", "scenes", "--tiny", "--only", NAME, "--device", "cpu", "--jobs", "2", "--results-dir"]

    assert 0 == _exit_code([*command, str(tmp_path)])
    assert 1 == _row(tmp_path)["n"]


def test_a_failed_seed_is_named(store: Store) -> None:
    """Later seeds do not take its place: the first ones are those that are tested together."""
    table9 = load_experiment("table9")
    runs = plan(table9, Variant(dataset="coco2014"), seeds=5)
    for run in runs:
        if run.net.name.startswith("faster-rcnn-context") and run.seed != 1:
            run_folder.write_status(store.create_folder(run), run_folder.Status(state="done"))
    (ensemble,) = plan_ensembles(table9, runs)

    assert [0, 1, 2] == [run.seed for run in ensemble.members]
    assert not store.is_due(ensemble)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metric": "train_error"}, "metric: use one of test_map50"),
        ({"nets": [NAME] * 4}, f"names {NAME} 4 times; its seeds in [[runs]]: 3"),
    ],
)
def test_a_claim_that_cannot_be_judged(changes: dict[str, object], told: str) -> None:
    """It is refused before anything is trained."""
    content = load_experiment("scenes").model_dump(exclude={"figure", "claims"})
    with pytest.raises(ValueError, match=re.escape(told)):
        Experiment.model_validate({**content, "claims": [CLAIM | changes]})


CLAIM = {"kind": "ensemble", "text": "better together", "metric": "test_map50", "nets": [NAME] * 3}


def _summary(store: Store, by_class: np.ndarray) -> Summary:
    """Three finished runs and an ensemble with these values, (4, classes)."""
    content = load_experiment("scenes").model_dump(exclude={"figure", "claims"})
    experiment = Experiment.model_validate({**content, "claims": [CLAIM]})
    variant = Variant(dataset="drawn-scenes")
    runs = [run for run in plan(experiment, variant) if run.net.name == NAME]
    (ensemble,) = plan_ensembles(experiment, runs)
    store.write_ensemble(
        ensemble,
        EnsembleResult(
            members=store.weights_of(ensemble),
            images=200,
            numbers={"test_map50": float(by_class[-1].mean())},
            by_class={"test_map50": tuple(map(tuple, by_class.tolist()))},
        ),
        {},
    )
    for run in runs:
        folder = store.create_folder(run)
        updates = range(1, 1 + run.protocol.iterations)
        head = ",".join(run.task.train_columns)
        (folder / run_folder.TRAIN_CSV).write_text(
            f"{head}\n" + "".join(f"{each},0.1,1,50,1,1,1,1\n" for each in updates)
        )
        (folder / run_folder.EVAL_CSV).write_text(
            f"{','.join(run.task.eval_columns)}\n{run.protocol.iterations},,70,200\n"
        )
        run_folder.write_status(folder, run_folder.Status(state="done"))
    return summarize(store, experiment, variant)


@pytest.mark.parametrize(("worse", "verdict", "p"), [(0, "reproduced", 1 / 32), (1, "not reproduced", 6 / 32)])
def test_its_claim(store: Store, worse: int, verdict: str, p: float) -> None:
    """It is compared with the member of the highest mean, class by class: better in all five, or in four of them."""
    best = np.array([70.0, 71, 72, 73, 74])
    together = best + np.where(np.arange(5) < worse, -0.5, 2)
    (found,) = judge(_summary(store, np.stack([best - 5, best, best - 1, together])))

    assert verdict == found.verdict
    assert pytest.approx(p) == found.comparisons[0].p
    assert f"{NAME} s1 72.00" in found.comparisons[0].sides
