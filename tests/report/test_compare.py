"""Two results folders beside each other."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from scipy import stats

from resnet_cli.errors import BadInputError
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.compare import compare
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AddRun, AddTest

    from resnet_cli.identity import RunSpec


@pytest.fixture
def other(store: Store, tmp_path: Path) -> Store:
    """A second store, empty; `moved` fills it."""
    assert store.root != tmp_path / "other"
    return Store(tmp_path / "other")


def moved(run: RunSpec, store: Store, other: Store) -> RunSpec:
    """Moves a run from one store to the other, so that the first can have another of its name."""
    other.folder(run).parent.mkdir(parents=True, exist_ok=True)
    store.folder(run).rename(other.folder(run))
    return run


def test_difference_and_interval(store: Store, other: Store, add_run: AddRun) -> None:
    """B's mean less A's, with scipy's Welch interval, for the test error and for the training error."""
    of_b, of_a = [10.5, 11.5, 12.1], [9.0, 9.4]
    for seed, error in enumerate(of_b):
        moved(add_run("resnet-20", [50.0, error], 2.0 + seed, seed=seed), store, other)
    for seed, error in enumerate(of_a):
        add_run("resnet-20", [50.0, error], 4.0 * seed, seed=seed)
    comparison = compare(store, other)
    test, train = comparison.frame.to_dict(orient="records")
    interval = stats.ttest_ind(of_b, of_a, equal_var=False).confidence_interval()

    assert ["test_error", "train_error"] == [test["metric"], train["metric"]]
    assert ("resnet-20", "schedule 0.01 of the paper's; CIFAR-10; fp32", 2, 3) == tuple(
        test[key] for key in ("net", "scale", "n_a", "n_b")
    )
    assert pytest.approx([9.2, 0.08**0.5, 34.1 / 3, 34.1 / 3 - 9.2, interval.low, interval.high]) == [
        test[key] for key in ("mean_a", "std_a", "mean_b", "difference", "low", "high")
    ]
    assert pytest.approx(pd.Series(of_b).std()) == test["std_b"]
    assert test["excludes_zero"]
    assert pytest.approx([2.0, 3.0, 1.0]) == [train[key] for key in ("mean_a", "mean_b", "difference")]
    assert not train["excludes_zero"]
    assert (2, 1, 0.1) == (
        comparison.intervals,
        comparison.excluding_zero,
        pytest.approx(comparison.expected_by_chance),
    )


def test_a_single_run_has_no_interval(store: Store, other: Store, add_run: AddRun) -> None:
    """With one run on a side the difference stands alone."""
    for seed in (0, 1):
        moved(add_run("plain-20", [50.0, 11.0 + seed], seed=seed), store, other)
    add_run("plain-20", [50.0, 10.0])
    comparison = compare(store, other)
    row = comparison.frame.iloc[0]

    assert (1, 2, 1.5) == (row["n_a"], row["n_b"], row["difference"])
    assert math.isnan(row["std_a"])
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])
    assert not row["excludes_zero"]
    assert 0 == comparison.intervals


def test_the_same_runs_are_no_evidence(store: Store, other: Store, add_run: AddRun) -> None:
    """Copies of the same runs differ by nothing, and have no interval, which would take them as independent."""
    for seed in (0, 1):
        add_run("plain-20", [50.0, 10.0 + seed], seed=seed)
    shutil.copytree(store.root, other.root)
    comparison = compare(store, other)

    assert [0.0, 0.0] == comparison.frame["difference"].tolist()
    assert 0 == comparison.intervals
    assert [0, 1] == comparison.logs["seed"].tolist()
    assert comparison.logs["differs_from"].isna().all()
    assert comparison.environments.empty


@pytest.mark.parametrize(
    ("name", "row", "wanted"),
    [(run_folder.TRAIN_CSV, 17, 17), (run_folder.TRAIN_CSV, 640, 640), (run_folder.EVAL_CSV, 1, 320)],
)
def test_where_logs_part(store: Store, other: Store, add_run: AddRun, name: str, row: int, wanted: int) -> None:
    """The first update at which one digit is another, in either log; seeds that only one side has are left out."""
    run = add_run("plain-20", [50.0, 10.0])
    shutil.copytree(store.root, other.root)
    add_run("plain-20", [50.0, 11.0], seed=1)
    path = other.folder(run) / name
    lines = path.read_text().splitlines()
    lines[row] = lines[row].replace("1.0", "1.0000001", 1)
    path.write_text("\n".join(lines) + "\n")
    logs = compare(store, other).logs

    assert [(0, wanted)] == list(logs[["seed", "differs_from"]].itertuples(index=False, name=None))


def test_columns_of_one_side_are_no_difference(store: Store, other: Store, add_run: AddRun) -> None:
    """A run from before statistics were averaged is compared by what both logs have."""
    moved(add_run("plain-20", [50.0, 10.0], averaged=[20.0, 10.0]), store, other)
    add_run("plain-20", [50.0, 10.0])

    assert compare(store, other).logs["differs_from"].isna().all()


def test_line_ends_are_no_difference(store: Store, other: Store, add_run: AddRun) -> None:
    """A copy whose line ends were converted on the way holds the same numbers."""
    run = add_run("plain-20", [50.0, 10.0])
    shutil.copytree(store.root, other.root)
    path = other.folder(run) / run_folder.TRAIN_CSV
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    assert compare(store, other).logs["differs_from"].isna().all()


def test_what_does_not_match(store: Store, other: Store, add_run: AddRun) -> None:
    """Scale and precision are part of what is compared; unfinished runs do not count; the rest is listed by side."""
    moved(add_run("resnet-20", [9.0]), store, other)
    moved(add_run("resnet-32", [9.0]), store, other)
    add_run("resnet-20", [9.5])
    add_run("resnet-20", [9.5], variant=Variant(schedule=0.02))
    add_run("resnet-20", [9.5], variant=Variant(schedule=0.01, precision="bf16"))
    add_run("resnet-32", [9.5], state="diverged")
    comparison = compare(store, other)

    assert ["resnet-20"] == comparison.frame["net"].unique().tolist()
    assert {
        "resnet-20 (schedule 0.02 of the paper's; CIFAR-10; fp32; n = 1)",
        "resnet-20 (schedule 0.01 of the paper's; CIFAR-10; bf16; n = 1)",
    } == set(comparison.only_a)
    assert ("resnet-32 (schedule 0.01 of the paper's; CIFAR-10; fp32; n = 1)",) == comparison.only_b


def test_across_precisions(store: Store, other: Store, add_run: AddRun) -> None:
    """Runs that differ in their arithmetic only match when that is asked for, and the scale says which was where."""
    moved(add_run("resnet-20", [9.0], variant=Variant(schedule=0.01, precision="bf16")), store, other)
    add_run("resnet-20", [9.5])
    with pytest.raises(BadInputError, match=r"no net with finished runs at the same .* --any-precision compares"):
        compare(store, other)
    comparison = compare(store, other, any_precision=True)
    row = comparison.frame.iloc[0]

    assert "schedule 0.01 of the paper's; CIFAR-10; fp32 in A, bf16 in B" == row["scale"]
    assert -0.5 == row["difference"]
    assert row["run_a"] != row["run_b"]
    assert ((), ()) == (comparison.only_a, comparison.only_b)


def test_an_experiments_own_test(
    store: Store, other: Store, add_run: AddRun, add_test: AddTest, photos: Variant
) -> None:
    """Of an experiment only its runs are compared, by the test that it makes of them."""
    experiment = load_experiment("table3")
    run = add_run("plain-34", [60.0, 30.0], variant=photos, experiment=experiment)
    add_run("plain-18", [60.0, 30.0], variant=photos, experiment=experiment)
    add_run("resnet-20", [9.5])
    shutil.copytree(store.root, other.root)
    add_test(run, "10-crop", 27.0)
    with pytest.raises(BadInputError, match="other: has no finished run to compare"):
        compare(store, other, experiment)
    shutil.copytree(store.folder(run), other.folder(run), dirs_exist_ok=True)
    tested = other.folder(run) / run_folder.test_file("10-crop")
    tested.write_text(tested.read_text().replace("27.0", "26.0"))
    frame = compare(store, other, experiment).frame

    assert ["plain-34", "plain-34"] == frame["net"].tolist()
    assert [-1.0, 0.0] == frame["difference"].tolist()
    assert {"plain-18", "plain-34", "resnet-20"} == set(compare(store, other).frame["net"])


def test_environments(store: Store, other: Store, add_run: AddRun) -> None:
    """Fields with other values on one side, those of a resumed run included; not when it was."""
    run = add_run("plain-20", [50.0, 10.0])
    add_run("plain-56", [50.0, 10.0])  # not in both: its environment says nothing
    shutil.copytree(store.folder(run), other.folder(run))
    first = json.loads((store.folder(run) / run_folder.ENVIRONMENT).read_text())
    later = {**first, "device": "cuda", "threads": 8, "started": "2027"}
    (other.folder(run) / run_folder.ENVIRONMENT).write_text(json.dumps({**first, "resumed": [later]}))
    found = compare(store, other).environments

    assert [("device", ("cpu",), ("cpu", "cuda")), ("threads", (), ("8",))] == list(
        found.itertuples(index=False, name=None)
    )


def test_other_protocols_are_told_apart(store: Store, other: Store, add_run: AddRun) -> None:
    """Two runs of a net at the same scale, whose experiments have other protocols, stand apart by their hash."""
    usual = load_experiment("table6")
    protocol = usual.protocol.model_copy(update={"weight_decay": 5e-4})
    own = usual.model_copy(update={"protocol": protocol})
    runs = [add_run("resnet-20", [9.0 + each], experiment=experiment) for each, experiment in enumerate((usual, own))]
    shutil.copytree(store.root, other.root)

    assert {f"resnet-20 ({run.hash8})" for run in runs} == set(compare(store, other).frame["net"])


def test_nothing_in_common(store: Store, other: Store, add_run: AddRun) -> None:
    """What each has is said."""
    one = moved(add_run("resnet-20", [9.0]), store, other)
    another = add_run("plain-20", [9.5])
    with pytest.raises(BadInputError) as error:
        compare(store, other)

    assert (
        f"{store.root} and {other.root}: no net with finished runs at the same scale and precision; the first has "
        f"{another.run_id.removesuffix('-s0')}, the second {one.run_id.removesuffix('-s0')}"
    ) == str(error.value)


def test_a_damaged_log_is_named(store: Store, other: Store, add_run: AddRun) -> None:
    """A finished run whose files are not whole is no run to compare."""
    run = add_run("resnet-20", [9.0])
    shutil.copytree(store.root, other.root)
    (other.folder(run) / run_folder.TRAIN_CSV).write_text("iteration\n")

    with pytest.raises(BadInputError, match=r"other/runs/.*train\.csv: has columns iteration"):
        compare(store, other)
