from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from paper_tasks import CIFAR10, IMAGENET

from resnet_cli.errors import BadInputError
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.curves import learning_curves
from resnet_cli.report.summarize import averaging_window, final_value, run_columns, summarize
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from conftest import AddRun, AddTest

    from resnet_cli.storage.store import Store

RESNET_20 = Net.model_validate("resnet-20")


@pytest.mark.parametrize(
    ("protocol", "window"),
    [
        (Protocol(), 391),
        (Protocol(batch_size=256), 196),
        (Protocol().scaled(0.1), 391),
        (Protocol().scaled(0.01), 64),
        (Protocol().tiny(), 1),
        (IMAGENET.protocol, 5_005),
        (IMAGENET.protocol.scaled(0.01), 600),
    ],
)
def test_averaging_window(protocol: Protocol, window: int) -> None:
    """A training error is averaged over one epoch, or over a tenth of a short run, or over one update."""
    assert window == averaging_window(protocol, 1_281_167 if protocol.photos else 50_000)


def test_final_training_error_is_of_the_last_updates() -> None:
    """The mean runs over the last window only: of 20 updates the last two."""
    log = pd.DataFrame({"train_error": [90.0] * 18 + [3.0, 5.0]})

    assert 4.0 == final_value(log["train_error"], averaging_window(Protocol(iterations=20), 50_000))


def test_a_run_is_measured_at_its_end(store: Store, add_run: AddRun, short: Variant) -> None:
    """The test error is the last evaluation's, not the best, which stands beside it."""
    run = add_run("resnet-20", [50.0, 8.5, 8.7], 0.5)
    runs = summarize(store, load_experiment("table6"), short).runs
    columns = run_columns(CIFAR10)
    of_others = columns[10 : columns.index("test_iterations")]  # of other experiments

    assert [
        {
            "net": "resnet-20",
            "family": "resnet",
            "depth": 20,
            "shortcut": "A",
            "seed": 0,
            "test_error": 8.7,
            "test_error_top5": 0.5,
            "best_test_error": 8.5,
            "train_error": 0.5,
            "early_test_error": pytest.approx(float("nan"), nan_ok=True),
            **dict.fromkeys(of_others, pytest.approx(float("nan"), nan_ok=True)),
            "test_iterations": 3,
            "test_images": 10_000,
            "parameters": 269_722,
            "run_id": run.run_id,
        }
    ] == runs.to_dict(orient="records")


def test_no_mean_over_some_of_a_nets_runs(store: Store, add_run: AddRun, short: Variant) -> None:
    """A net has an error with averaged statistics where all its runs have; the running one is of all, as ever."""
    for seed, error in enumerate((8.0, 9.0)):
        add_run("resnet-20", [50.0, error], seed=seed, averaged=[None, error + 0.25])
        add_run("resnet-32", [50.0, error], seed=seed, averaged=[None, 7.0] if seed else None)
    by_net = summarize(store, load_experiment("table6"), short).by_net

    assert [8.5, 8.5] == by_net["test_error"].tolist()
    assert 8.75 == by_net["averaged_test_error"]["resnet-20"]
    assert math.isnan(by_net["averaged_test_error"]["resnet-32"])


@pytest.mark.parametrize(("value", "is_right"), [(100.5, False), (-1.0, False), (None, True)])
def test_averaged_errors_are_looked_through(
    store: Store, add_run: AddRun, short: Variant, value: float | None, *, is_right: bool
) -> None:
    """An empty field is a test that was not due; 100.5% is no run's."""
    add_run("resnet-20", [50.0, 9.0], averaged=[value, 9.0])
    expected = contextlib.nullcontext() if is_right else pytest.raises(BadInputError, match="averaged_test_error")
    with expected:
        summarize(store, load_experiment("table6"), short)


def test_means_and_deviations(store: Store, add_run: AddRun, short: Variant) -> None:
    """Over 8.7, 8.8 and 9.2: mean 8.9, sample deviation sqrt(0.14 / 2); a single run has no deviation."""
    for seed, (error, train) in enumerate([(8.7, 1.0), (8.8, 2.0), (9.2, 3.0)]):
        add_run("resnet-20", [8.0 + seed, error], train, seed=seed)
    add_run("resnet-1202", [7.9])
    by_net = summarize(store, load_experiment("table6"), short).by_net

    assert [3, 1] == by_net["n"].tolist()
    columns = ["best_test_error", "test_error", "test_error_std", "test_error_top5", "train_error", "train_error_std"]
    assert pytest.approx([8.0, 8.9, math.sqrt(0.07), 0.5, 2.0, 1.0]) == by_net.loc["resnet-20", columns].tolist()
    assert math.isnan(by_net.loc["resnet-1202", "test_error_std"])


def test_every_replicate_counts(store: Store, add_run: AddRun, short: Variant) -> None:
    """Runs beyond the file's number of seeds count too; resnet-20 plans one."""
    for seed in (0, 4, 11):
        add_run("resnet-20", [8.7], seed=seed)

    assert [0, 4, 11] == summarize(store, load_experiment("table6"), short).runs["seed"].tolist()


def test_scales_do_not_mix(store: Store, add_run: AddRun, short: Variant) -> None:
    """A run at another scale or precision is another run."""
    add_run("resnet-20", [9.9], variant=Variant(schedule=0.02))
    add_run("resnet-20", [9.9], variant=short.model_copy(update={"precision": "bf16"}))

    assert summarize(store, load_experiment("table6"), short).runs.empty


@pytest.mark.parametrize("state", ["running", "interrupted", "diverged", "failed"])
def test_unfinished_runs_give_no_number(store: Store, add_run: AddRun, short: Variant, state: run_folder.State) -> None:
    """A run that is not done is named and counted nowhere."""
    add_run("resnet-20", [8.7, 8.7])
    add_run("resnet-20", [90.0, 90.0], 90.0, seed=1, state=state)
    summary = summarize(store, load_experiment("table6"), short)

    assert [8.7] == summary.values(RESNET_20, "test_error")
    assert f"resnet-20 (1 {state})" == summary.unfinished_text


def test_a_run_nobody_renews_is_interrupted(
    store: Store, add_run: AddRun, short: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed run still says that it is running; its old heartbeat tells otherwise."""
    add_run("resnet-20", [8.7, 8.7], state="running")
    monkeypatch.setattr(run_folder, "HEARTBEAT_LIMIT", -1.0)

    assert "resnet-20 (1 interrupted)" == summarize(store, load_experiment("table6"), short).unfinished_text


@pytest.mark.parametrize("name", [run_folder.EVAL_CSV, run_folder.TRAIN_CSV])
def test_a_cut_off_log_is_an_error(store: Store, add_run: AddRun, short: Variant, name: str) -> None:
    """A finished run whose log lacks its last row is named, not summarised."""
    path = store.folder(add_run("resnet-20", [50.0, 8.7])) / name
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(BadInputError) as caught:
        summarize(store, load_experiment("table6"), short)

    assert str(caught.value).startswith(f"{path}: ends at iteration ")


def test_other_depths_keep_the_claims(store: Store, add_run: AddRun, short: Variant) -> None:
    """A sweep over other depths still finds the nets its claims name; its own nets are those asked for."""
    add_run("plain-56", [13.0])
    summary = summarize(store, load_experiment("depth", (8, 14)), short)

    assert ["plain-8", "plain-14", "resnet-8", "resnet-14"] == [net.name for net in summary.experiment.nets]
    assert ["plain-56"] == summary.runs["net"].tolist()


def test_learning_curves_spread(store: Store, add_run: AddRun, short: Variant) -> None:
    """Curves are mean, lowest and highest over the runs; the last training point is the table's training error."""
    add_run("resnet-20", [50.0, 8.0], 1.0)
    add_run("resnet-20", [60.0, 9.0], 2.0, seed=1)
    curves = learning_curves(summarize(store, load_experiment("table6"), short), RESNET_20)
    assert curves

    assert {"mean": {320: 55.0, 640: 8.5}, "low": {320: 50.0, 640: 8.0}, "high": {320: 60.0, 640: 9.0}} == (
        curves.test.to_dict()
    )
    assert pytest.approx([1.5, 1.0, 2.0]) == curves.train.loc[640].tolist()
    assert 64 == curves.train.index[0]
    assert (2, False) == (curves.n, curves.unfinished)


def test_long_curves_are_thinned(store: Store, add_run: AddRun) -> None:
    """Some 500 points are kept of a long training curve, the last among them."""
    variant = Variant(schedule=0.1)
    add_run("resnet-20", [8.0], variant=variant)
    curves = learning_curves(summarize(store, load_experiment("table6"), variant), RESNET_20)
    assert curves

    assert 6_400 == curves.train.index[-1]
    assert 450 < len(curves.train) <= 501


def test_unfinished_curves_only_without_finished_ones(store: Store, add_run: AddRun, short: Variant) -> None:
    """A run under way shows its curve while its net has nothing better, and never enters a mean of finished runs."""
    table6 = load_experiment("table6")
    add_run("resnet-20", [50.0, 8.0], state="running")
    under_way = learning_curves(summarize(store, table6, short), RESNET_20)
    add_run("resnet-20", [60.0, 9.0], seed=1)
    finished = learning_curves(summarize(store, table6, short), RESNET_20)
    assert under_way
    assert finished

    assert ({320: 50.0}, True) == (under_way.test["mean"].to_dict(), under_way.unfinished)
    assert ({320: 60.0, 640: 9.0}, False) == (finished.test["mean"].to_dict(), finished.unfinished)


def test_curves_of_a_run_that_writes(store: Store, add_run: AddRun, short: Variant) -> None:
    """Half a line at the end of a running run's log stops nothing; without any data there are no curves."""
    table6 = load_experiment("table6")
    folder = store.folder(add_run("resnet-20", [50.0, 8.0], state="running"))
    with (folder / run_folder.TRAIN_CSV).open("a") as log:
        log.write("321,0.1,")
    curves = learning_curves(summarize(store, table6, short), RESNET_20)
    (folder / run_folder.EVAL_CSV).unlink()
    assert curves

    assert ([320], 0) == (curves.test.index.tolist(), len(curves.train))
    assert learning_curves(summarize(store, table6, short), RESNET_20) is None


def test_unfinished_curves_end_together(store: Store, add_run: AddRun, short: Variant) -> None:
    """Where two runs are under way their mean ends with the one that is behind."""
    for seed, error in enumerate([50.0, 60.0]):
        folder = store.folder(add_run("resnet-20", [70.0, error, 9.0, 8.0], seed=seed, state="running"))
    path = folder / run_folder.EVAL_CSV
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    curves = learning_curves(summarize(store, load_experiment("table6"), short), RESNET_20)
    assert curves

    assert {160: 70.0} == curves.test["mean"].to_dict()


def test_early_error_is_of_the_first_quarter(store: Store, add_run: AddRun, short: Variant) -> None:
    """The early error is the mean of the evaluations in the first quarter; a run that has none has no such value."""
    add_run("resnet-20", [90.0, 70.0, 50.0, 40.0, 30.0, 20.0, 10.0, 8.0])
    add_run("resnet-20", [50.0, 8.0], seed=1)
    summary = summarize(store, load_experiment("table6"), short)

    assert [80.0] == summary.values(RESNET_20, "early_test_error")
    assert [8.0, 8.0] == summary.values(RESNET_20, "test_error")


def test_ten_crops_are_the_final_errors(store: Store, add_run: AddRun, add_test: AddTest, photos: Variant) -> None:
    """Where an experiment tests ten crops, those are the final errors; evaluations during the training are not."""
    table2 = load_experiment("table2")
    run = add_run("resnet-18", [60.0, 30.5], 28.0, variant=photos, experiment=table2)
    add_test(run, "10-crop", 27.88, 9.5)
    record = summarize(store, table2, photos).runs.iloc[0]

    assert [27.88, 9.5, 30.5, 28.0, 50_000, 11_515_688] == [
        record[column]
        for column in (
            "test_error",
            "test_error_top5",
            "best_test_error",
            "train_error",
            "test_images",
            "parameters",
        )
    ]


def test_an_untested_run_is_unfinished(store: Store, add_run: AddRun, add_test: AddTest, photos: Variant) -> None:
    """A trained run without the experiment's test gives no number there, and does where the centre crop is asked."""
    run = add_run("resnet-18", [60.0, 30.5], variant=photos, experiment=load_experiment("table2"))
    add_test(run, "dense", 26.0, 8.0)
    tested, trained = (summarize(store, load_experiment(name), photos) for name in ("table2", "fig4"))

    assert ("resnet-18 (1 not tested)", 0) == (tested.unfinished_text, len(tested.runs))
    assert ("", [30.5]) == (trained.unfinished_text, trained.values(Net.model_validate("resnet-18"), "test_error"))


@pytest.mark.parametrize(
    ("name", "row", "column", "value"),
    [
        ("train.csv", 300, "iteration", 300),  # which stands twice
        ("train.csv", 300, "iteration", 302),
        ("train.csv", 0, "iteration", -1),
        ("train.csv", 639, "train_error", 4000.0),
        ("train.csv", 5, "train_error", -1.0),
        ("train.csv", 5, "loss", -0.5),
        ("train.csv", 5, "lr", -0.1),
        ("eval.csv", 1, "iteration", 320),
        ("eval.csv", 1, "iteration", 641),
        ("eval.csv", 0, "iteration", 320.5),
        ("eval.csv", 0, "test_error", 100.5),
        ("eval.csv", 1, "test_error_top5", float("inf")),
        ("eval.csv", 1, "test_loss", -1.0),
        ("eval.csv", 1, "images", 0),
    ],
)
def test_what_no_run_writes(
    store: Store, add_run: AddRun, short: Variant, name: str, row: int, column: str, value: float
) -> None:
    """A number that cannot be what it stands for is refused, with file, row and column; it is never averaged."""
    path = store.folder(add_run("resnet-20", [50.0, 10.0])) / name
    log = pd.read_csv(path).astype(float)
    log.loc[row, column] = value
    log.to_csv(path, index=False)
    with pytest.raises(BadInputError) as caught:
        summarize(store, load_experiment("table6"), short)

    assert str(caught.value).startswith(f"{path}: row {row + 1}: {column} {value:g}: no run writes this; ")


@pytest.mark.parametrize("loss", [float("inf"), float("nan"), 1e30])
def test_a_loss_may_be_anything(store: Store, add_run: AddRun, short: Variant, loss: float) -> None:
    """The loss of a net whose logits overflow is no number, and its error is one all the same."""
    path = store.folder(add_run("resnet-20", [50.0, 10.0])) / "eval.csv"
    log = pd.read_csv(path)
    log["test_loss"] = loss
    log.to_csv(path, index=False)

    assert [10.0] == summarize(store, load_experiment("table6"), short).values(RESNET_20, "test_error")


def test_an_experiment_that_trains_nothing(store: Store) -> None:
    """Table 1 has no runs and needs none: it is complete, at no scale."""
    summary = summarize(store, load_experiment("table1"), Variant(dataset="synthetic-photos", tiny=True))

    assert summary.runs.empty
    assert (True, True) == (summary.only_describes, summary.is_paper)
    assert "counted from the layers; nothing is trained" == summary.scale
