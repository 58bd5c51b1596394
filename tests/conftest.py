"""Synthetic run folders, written as a run writes them, with errors chosen by the test; and CIFAR-10 where it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import filelock
import numpy as np
import pandas as pd
import pytest

# One thread in each process, also in those that tests start: the suite has a process a core, and threads beyond that
# wait for one another busily, which takes many times as long. A test that needs two says so. torch reads it on loading.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

# Under nohup what tests start would ignore SIGHUP as well, and tests of it would fail; a handler is not inherited.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

from processes import PATIENCE

from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store
from resnet_cli.tasks.cifar10 import files as cifar10

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _denormals_again() -> Iterator[None]:
    """Training flushes denormals for its whole thread; other tests have them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def group_ends() -> Callable[[int], bool]:
    """Whether the last process of a group goes; Python's resource tracker takes a moment."""

    def ends(group: int) -> bool:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.1)
        return False

    return ends


class AddRun(Protocol):
    """Writes one run's folder; see `add_run`."""

    def __call__(  # noqa: D102
        self,
        net: str,
        test_errors: list[float],
        train_error: float = 1.0,
        *,
        seed: int = 0,
        variant: Variant = ...,
        state: run_folder.State = "done",
        experiment: Experiment | None = None,
        averaged: list[float | None] | None = None,
    ) -> RunSpec: ...


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "results")


@pytest.fixture
def short() -> Variant:
    """A variant of 640 updates: averages over the last 64."""
    return Variant(schedule=0.01)


@pytest.fixture
def add_run(store: Store, short: Variant) -> AddRun:
    """Writes a run: test errors at evenly spaced evaluations; training error 80, then `train_error` in the last tenth.

    A run that is not done stops half way. With `averaged` it was tested with averaged statistics, too.
    """

    def add(
        net: str,
        test_errors: list[float],
        train_error: float = 1.0,
        *,
        seed: int = 0,
        variant: Variant = short,
        state: run_folder.State = "done",
        experiment: Experiment | None = None,
        averaged: list[float | None] | None = None,
    ) -> RunSpec:
        protocol = (experiment or load_experiment("table6")).protocol
        run = RunSpec.of(variant.task.net(net), variant, protocol, seed)
        folder = store.create_folder(run)
        total = run.protocol.iterations
        iteration = np.arange(1, total + 1)
        train = pd.DataFrame({"iteration": iteration, "lr": 0.1, "loss": 1.0, "train_error": 80.0})
        train.loc[iteration > total - max(1, total // 10), "train_error"] = train_error
        at = [round(total * (i + 1) / len(test_errors)) for i in range(len(test_errors))]
        test = pd.DataFrame(
            {"iteration": at, "test_loss": 1.0, "test_error": test_errors, "test_error_top5": 0.5, "images": 10_000}
        )
        if averaged:
            test["averaged_test_error"] = averaged
        if state != "done":
            train, test = train[train.iteration <= total // 2], test[test.iteration <= total // 2]
        train.to_csv(folder / run_folder.TRAIN_CSV, index=False)
        test.to_csv(folder / run_folder.EVAL_CSV, index=False)
        environment = {"torch": "2.10.0", "device": "cpu", "commit": "0123abc", "started": f"2026-01-0{seed + 1}"}
        (folder / run_folder.ENVIRONMENT).write_text(json.dumps(environment))
        run_folder.write_status(folder, run_folder.Status(state=state, iteration=len(train), iterations=total))
        return run

    return add


class AddTest(Protocol):
    """Writes the result of a test of a run; see `add_test`."""

    def __call__(  # noqa: D102
        self,
        run: RunSpec,
        views: str,
        top1_error: float = 20.0,
        top5_error: float = 5.0,
        *,
        scores: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> None: ...


@pytest.fixture
def photos() -> Variant:
    """A variant of ImageNet's 600 updates: averages over the last 60."""
    return Variant(dataset="imagenet", schedule=0.001)


@pytest.fixture
def add_test(store: Store) -> AddTest:
    """Writes a run's test over several views: its errors, and scores (N, C) with labels (N,) where they are given."""

    def add(
        run: RunSpec,
        views: str,
        top1_error: float = 20.0,
        top5_error: float = 5.0,
        *,
        scores: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        folder = store.folder(run)
        result = run_folder.TestResult(views=views, top1_error=top1_error, top5_error=top5_error, images=50_000)
        (folder / run_folder.test_file(views)).write_text(result.model_dump_json())
        if scores is not None and labels is not None:
            np.savez(folder / run_folder.scores_file(views), scores=scores.astype(np.float16), labels=labels)

    return add


class AddAnalysis(Protocol):
    """Writes what an analysis of a run's net found; see `add_analysis`."""

    def __call__(self, run: RunSpec, analysis: str, columns: dict[str, list[Any]]) -> None: ...  # noqa: D102


@pytest.fixture
def add_analysis(store: Store) -> AddAnalysis:
    """Writes the table of an analysis into a run's folder."""

    def add(run: RunSpec, analysis: str, columns: dict[str, list[Any]]) -> None:
        pd.DataFrame(columns).to_csv(store.folder(run) / run_folder.analysis_file(analysis), index=False)

    return add


@pytest.fixture(scope="session")
def cifar10_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of datasets with the real CIFAR-10: RESNET_DATA, or unpacked from the developers' shared folder.

    It is unpacked once for all processes of pytest-xdist, and goes with the temporary files when all is well.
    """
    own = Path(os.environ.get("RESNET_DATA") or "data")
    unpack = Path(__file__).resolve().parents[2] / "shared" / "data" / "unpack_cifar10.py"
    if cifar10.is_there(own):
        return own
    if not unpack.is_file():
        pytest.skip(f"CIFAR-10 is neither at RESNET_DATA ({own}) nor to be unpacked by {unpack}")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cifar10"
    with filelock.FileLock(f"{folder}.lock"):
        if not cifar10.is_there(folder):
            subprocess.run([sys.executable, unpack, folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def photograph_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of classes made of real photographs, 100 classes of one; trained on and tested on the same."""
    sample = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenet-sample"
    if not sample.is_dir():
        pytest.skip(f"no photographs at {sample}")
    root = tmp_path_factory.mktemp("photographs") / "photographs"
    for part in ("train", "val"):
        for folder in sorted(sample.iterdir())[:100]:
            (root / part).mkdir(parents=True, exist_ok=True)
            (root / part / folder.name).symlink_to(folder)
    return root


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium that resolves no name."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium, which drives the browser, is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    binary, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("Chromium and chromedriver (Debian: chromium, chromium-driver) are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless=new",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1280,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The paths are given, so that selenium looks for no download.
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()
