from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from resnet_cli.errors import BadInputError
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.report.shown import variant_to_show
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage import run_folder
from resnet_cli.storage.run_folder import Status
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from conftest import AddRun

TINY = Variant(dataset="synthetic", tiny=True)


def spec(net: str = "resnet-20", variant: Variant | None = None, seed: int = 0) -> RunSpec:
    """A run under the paper's protocol."""
    return RunSpec.of(Net.model_validate(net), variant or Variant(), Protocol(), seed)


def finish(store: Store, run: RunSpec, state: run_folder.State = "done") -> RunSpec:
    """Makes a run's folder with no more than its status."""
    run_folder.write_status(store.create_folder(run), Status(state=state, iteration=5, iterations=8))
    return run


def test_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are at --results-dir, else at RESNET_RESULTS, else in results/; opening creates nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESNET_RESULTS", raising=False)

    assert Path("results") == Store.open(None).root

    monkeypatch.setenv("RESNET_RESULTS", "")

    assert Path("results") == Store.open(None).root

    monkeypatch.setenv("RESNET_RESULTS", str(tmp_path / "there"))

    assert tmp_path / "there" == Store.open(None).root
    assert Path("here") == Store.open(Path("here")).root
    assert [] == list(tmp_path.iterdir())


def test_layout(store: Store) -> None:
    """A run's folder is named by its id, under runs/; tables and figures stand beside."""
    assert store.root / "runs" / "resnet-20-cifar10-24817b5e-s3" == store.folder(spec(seed=3))
    assert (store.root / "tables", store.root / "figures") == (store.tables, store.figures)


def test_empty_store(store: Store) -> None:
    """A store that is not there yet has no runs, every run is planned, and paper scale is shown."""
    run = spec()

    assert ([], []) == (store.runs(), store.replicates(run))
    assert Status() == store.status(run)
    assert not store.is_done(run)
    assert {} == store.environment(run)
    assert Variant() == variant_to_show(store, load_experiment("table6"))


def test_create_folder(store: Store) -> None:
    """A folder holds the run's spec, the same again when it is made again; what else is in it stays."""
    run = spec("resnet-110", Variant(schedule=0.5), seed=2)
    folder = store.create_folder(run)
    (folder / "train.csv").write_text("kept")
    store.create_folder(run)

    assert [run] == store.runs()
    assert "kept" == (folder / "train.csv").read_text()
    assert [run_folder.LOCK, "spec.json", "train.csv"] == sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("obstacle", ["", "runs", "runs/resnet-20-cifar10-24817b5e-s0"])
def test_create_folder_where_none_can_be(store: Store, obstacle: str) -> None:
    """Where a file stands in the way, one line names the folder and says what to do."""
    path = store.root / obstacle
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(BadInputError) as caught:
        store.create_folder(spec())

    assert str(caught.value).startswith(f"{store.folder(spec())}: cannot be written: ")
    assert str(caught.value).endswith("; choose another --results-dir")


def test_create_folder_on_a_read_only_place() -> None:
    """Where nothing can be written, one line says so."""
    with pytest.raises(BadInputError, match=r"^/proc/results/runs/.*: cannot be written: "):
        Store(Path("/proc/results")).create_folder(spec())


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"net": "resnet-20"}', b'{"seed": -1}'], ids=repr
)
def test_corrupt_spec_is_passed_over(store: Store, content: bytes) -> None:
    """A folder whose spec cannot be read hides no other run."""
    (store.create_folder(spec(seed=0)) / run_folder.SPEC).write_bytes(content)
    store.create_folder(spec(seed=1))

    assert [spec(seed=1)] == store.runs()


def test_a_spec_of_another_folder_is_passed_over(store: Store) -> None:
    """A copy of a run's folder is no run of its own, nor one whose spec has changed since its name was given."""
    folder = store.create_folder(spec())
    shutil.copytree(folder, folder.with_name("copy"))
    changed = store.create_folder(spec("resnet-32")) / run_folder.SPEC
    changed.write_text(changed.read_text().replace("0.9", "0.8"))

    assert [spec()] == store.runs()


def test_a_spec_that_was_damaged_is_written_anew(store: Store) -> None:
    """When the run is started again."""
    path = store.create_folder(spec()) / run_folder.SPEC
    path.write_text("{")
    store.create_folder(spec())

    assert [spec()] == store.runs()


def test_foreign_folders_are_passed_over(store: Store) -> None:
    """Folders and files that are no runs hide no run."""
    store.create_folder(spec())
    (store.root / "runs" / "notes").mkdir()
    (store.root / "runs" / "README").write_text("mine")
    (store.root / "runs" / "odd" / run_folder.SPEC).mkdir(parents=True)

    assert [spec()] == store.runs()


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"\xff", b'{"state": "asleep"}', b'{"iteration": -1}'], ids=repr
)
def test_status_that_cannot_be_read(store: Store, content: bytes | None) -> None:
    """A run whose status is missing or damaged counts as planned, so that it is run."""
    folder = store.create_folder(spec())
    if content is not None:
        (folder / run_folder.STATUS).write_bytes(content)

    assert Status() == store.status(spec())


def test_done(store: Store) -> None:
    """Only a run that ended well is done."""
    states = [state for state in run_folder.State.__args__ if store.is_done(finish(store, spec(), state))]

    assert ["done"] == states


def test_replicates(store: Store) -> None:
    """Replicates are runs that differ in the seed alone, in the order of seeds."""
    for seed in (10, 2, 0):
        store.create_folder(spec(seed=seed))
    for other in (spec("resnet-32"), spec("resnet-20-B"), spec("plain-20"), spec(variant=Variant(schedule=0.5))):
        store.create_folder(other)

    assert [spec(seed=0), spec(seed=2), spec(seed=10)] == store.replicates(spec(seed=5))


@pytest.mark.parametrize("suffix", [".bak", "-old", "x", " copy"])
def test_copies_are_no_replicates(store: Store, suffix: str) -> None:
    """A copy that somebody keeps beside a run is no replicate, and hinders nobody."""
    folder = store.create_folder(spec())
    folder.with_name(folder.name + suffix).mkdir()

    assert [spec()] == store.replicates(spec())


HUNDREDTH, TENTH = Variant(schedule=0.01), Variant(schedule=0.1)


@pytest.mark.parametrize(
    ("finished", "interrupted", "shown"),
    [
        ([], [HUNDREDTH], Variant()),
        ([HUNDREDTH], [], HUNDREDTH),
        ([HUNDREDTH], [Variant()], HUNDREDTH),
        ([HUNDREDTH, HUNDREDTH, TENTH], [], TENTH),
        ([HUNDREDTH, TENTH, Variant()], [], Variant()),
        ([TINY], [], TINY),
        ([TINY, TINY, HUNDREDTH], [], HUNDREDTH),
        ([TINY], [HUNDREDTH], TINY),
        ([Variant(dataset="synthetic"), HUNDREDTH], [], HUNDREDTH),
        ([TINY, Variant(dataset="synthetic")], [], Variant(dataset="synthetic")),
    ],
)
def test_variant_to_show(store: Store, finished: list[Variant], interrupted: list[Variant], shown: Variant) -> None:
    """Shown is what has finished runs: a smoke run only if there is nothing else, then own data, then the longest."""
    nets = ["resnet-20", "resnet-32", "resnet-44"]
    for net, variant in zip(nets, finished, strict=False):
        finish(store, spec(net, variant))
    for variant in interrupted:
        finish(store, spec("resnet-20", variant), "interrupted")

    assert shown == variant_to_show(store, load_experiment("table6"))


def test_variant_with_more_runs(store: Store) -> None:
    """Among variants that are alike in all but precision, the one with more finished runs is shown."""
    finish(store, spec(variant=HUNDREDTH))
    for net in ("resnet-20", "resnet-32"):
        finish(store, spec(net, Variant(schedule=0.01, precision="bf16")))

    assert Variant(schedule=0.01, precision="bf16") == variant_to_show(store, load_experiment("table6"))


def test_a_whole_answer_before_a_longer_part(store: Store) -> None:
    """A longer schedule of some of the nets is not shown in place of a shorter one of all of them."""
    for net in ("plain-20", "plain-56"):
        finish(store, spec(net, HUNDREDTH))
    finish(store, spec("plain-20", TENTH))

    assert HUNDREDTH == variant_to_show(store, load_experiment("fig1"))


@pytest.mark.parametrize(("at_paper_scale", "shown"), [(3, Variant()), (2, HUNDREDTH)])
def test_the_papers_scale_before_a_whole_answer(store: Store, at_paper_scale: int, shown: Variant) -> None:
    """Most of the nets at the paper's scale are shown rather than all of them at a hundredth; half of them are not."""
    nets = ("plain-20", "plain-56", "resnet-20", "resnet-56")
    for net in nets:
        finish(store, spec(net, HUNDREDTH))
    for net in nets[:at_paper_scale]:
        finish(store, spec(net))

    assert shown == variant_to_show(store, load_experiment("degradation"))


def test_a_test_is_under_checksums_too(store: Store) -> None:
    """Errors that are not those that were written are not there, so the run is tested again; scores are refused."""
    folder = store.create_folder(spec())
    run_folder.write_sums(folder, {})
    errors, scores = folder / run_folder.test_file("10-crop"), folder / run_folder.scores_file("10-crop")
    result = run_folder.TestResult(views="10-crop", top1_error=25.5, top5_error=8.0, images=4)
    arrays = io.BytesIO()
    np.savez(arrays, scores=np.zeros((4, 3), np.float16), labels=np.array([0, 1, 2, 0]))
    for path, content in ((errors, result.model_dump_json().encode()), (scores, arrays.getvalue())):
        path.write_bytes(b"before")
        run_folder.add_sum(path, b"before")
        path.write_bytes(content)
        run_folder.add_sum(path, content)

    assert result == store.test_result(spec(), "10-crop")
    assert (4, 3) == store.scores(spec(), "10-crop")[0].shape

    errors.write_text(errors.read_text().replace("25.5", "24.5"))
    np.savez(scores, scores=np.ones((4, 3), np.float16), labels=np.array([0, 1, 2, 0]))

    assert store.test_result(spec(), "10-crop") is None
    with pytest.raises(BadInputError, match=r"scores-10-crop\.npz: damaged"):
        store.scores(spec(), "10-crop")


def test_runs_of_others_count_nothing(store: Store) -> None:
    """Runs that the experiment does not name do not decide what it shows."""
    finish(store, spec("plain-20", TENTH))
    finish(store, spec("resnet-20", HUNDREDTH))

    assert HUNDREDTH == variant_to_show(store, load_experiment("table6"))
    assert TENTH == variant_to_show(store, load_experiment("fig1"))


def test_variant_of_a_sweep(store: Store) -> None:
    """In a sweep, only the depths that are swept count."""
    finish(store, spec("plain-8", TENTH))
    finish(store, spec("plain-14", HUNDREDTH))

    assert TENTH == variant_to_show(store, load_experiment("depth"))
    assert HUNDREDTH == variant_to_show(store, load_experiment("depth", depths=(14, 20)))


@pytest.mark.parametrize("content", [None, "", "{", "[]", "3"])
def test_environment_that_cannot_be_read(store: Store, content: str | None) -> None:
    """An environment that is missing or damaged is empty."""
    path = store.create_folder(spec()) / run_folder.ENVIRONMENT
    if content is not None:
        path.write_text(content)

    assert {} == store.environment(spec())


def test_environment(store: Store) -> None:
    """The environment is what was written."""
    (store.create_folder(spec()) / run_folder.ENVIRONMENT).write_text(json.dumps({"torch": "2.10.0"}))

    assert {"torch": "2.10.0"} == store.environment(spec())


def test_logs(store: Store, add_run: AddRun) -> None:
    """The logs come back as they were written."""
    run = add_run("resnet-20", [9.0, 8.5], train_error=1.0)
    train, test = store.train_log(run), store.eval_log(run)

    assert (640, [80.0, 1.0]) == (len(train), [train["train_error"].iloc[0], train["train_error"].iloc[-1]])
    assert {"iteration": [320, 640], "test_error": [9.0, 8.5]} == test[["iteration", "test_error"]].to_dict("list")


HEADER = "iteration,lr,loss,train_error\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        ("", "not a table: "),
        (HEADER + "1,0.1,2.3,90\n2,0.1,2.3,90,90,90\n", "not a table: "),
        ("iteration,lr,loss\n1,0.1,2.3\n", "has columns iteration, lr, loss; want iteration, lr, loss, train_error"),
        ("\xff\xfe", "not a table: "),
        (HEADER + "1,0.1,2.3,high\n", "column train_error: not a number in every row"),
        (HEADER + "1,0.1,2.3,90\n2,0.1,,90\n", "column loss: not a number in every row"),
        (HEADER + "1,0.1,2.3,90\n2,0.1\n", "column loss: not a number in every row"),
    ],
    ids=["missing", "empty", "too wide", "columns", "not UTF-8", "text", "gap", "half a row"],
)
def test_log_that_cannot_be_read(store: Store, content: str | None, problem: str) -> None:
    """A log that is missing or damaged is refused with one line that names the file and the column."""
    path = store.create_folder(spec()) / run_folder.TRAIN_CSV
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(BadInputError) as caught:
        store.train_log(spec())

    assert str(caught.value).startswith(f"{path}: {problem}")
    assert 1 == len(str(caught.value).splitlines())


def test_test_loss_may_overflow(store: Store) -> None:
    """The test loss of a net whose logits overflow is no number; the log is good all the same."""
    path = store.create_folder(spec()) / run_folder.EVAL_CSV
    path.write_text("iteration,test_loss,test_error,test_error_top5,images\n391,nan,90,50,10000\n")

    assert [90] == store.eval_log(spec())["test_error"].tolist()


def test_logs_are_not_mixed_up(store: Store) -> None:
    """Each log has columns of its own."""
    folder = store.create_folder(spec())
    (folder / run_folder.EVAL_CSV).write_text(HEADER + "1,0.1,2.3,90\n")
    with pytest.raises(BadInputError, match="want iteration, test_loss, test_error, test_error_top5, images"):
        store.eval_log(spec())


def test_done_with_its_test(store: Store, add_run: AddRun, photos: Variant) -> None:
    """A trained run counts as done with a test over several views once that test's result is there, and whole."""
    run = add_run("resnet-50", [50.0], variant=photos, experiment=load_experiment("table3"))
    result = store.folder(run) / run_folder.test_file("10-crop")

    assert store.is_done(run)
    assert not store.is_done(run, "10-crop")

    result.write_text("{")

    assert not store.is_done(run, "10-crop")

    result.write_text('{"views": "10-crop", "top1_error": 25.0, "top5_error": 7.5, "images": 40}')

    assert store.is_done(run, "10-crop")
    assert not store.is_done(run, "dense")
    found = store.test_result(run, "10-crop")
    assert found
    assert (25.0, 7.5, 40) == (found.top1_error, found.top5_error, found.images)
