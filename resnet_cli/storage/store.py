"""The results folder: which runs exist, how far they are, what they measured. The only module that knows results/."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from resnet_cli.errors import BadInputError
from resnet_cli.identity import EnsembleSpec, RunSpec
from resnet_cli.names import Precision
from resnet_cli.shell import expanded
from resnet_cli.storage import run_folder
from resnet_cli.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd

    from resnet_cli.analyses.analysis import Analysis


@dataclass(frozen=True)
class Store:
    """A results folder: `runs/` with one folder per run, `tables/` and `figures/` with what was made from them."""

    root: Path

    @classmethod
    def open(cls, results_dir: Path | None) -> Store:
        """The store at `--results-dir`, else at RESNET_RESULTS, else at `results/` here. Creates nothing."""
        return cls(results_dir or Path(expanded(os.environ.get("RESNET_RESULTS") or "results")))

    @property
    def proofs(self) -> Path:
        """The folder that records where the fast step agreed with the plain one."""
        return self.root / "proofs"

    @property
    def speeds(self) -> Path:
        """The folder where `resnet bench` saves its measurements."""
        return self.root / "speeds"

    @property
    def tables(self) -> Path:
        """Where tables are written."""
        return self.root / "tables"

    @property
    def figures(self) -> Path:
        """Where figures are written."""
        return self.root / "figures"

    def folder(self, run: RunSpec) -> Path:
        """The run's folder, whether it exists or not."""
        return self.root / "runs" / run.run_id

    def create_folder(self, run: RunSpec) -> Path:
        """Makes the run's folder and writes its spec.json, under the run's lock, as everything in it is written.

        Raises:
            BadInputError: The results folder cannot be written.
        """
        import filelock

        folder = self.folder(run)
        path, content = folder / run_folder.SPEC, (run.model_dump_json(indent=1) + "\n").encode()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run_folder.sync_folder(folder.parent)
            run_folder.sync_folder(self.root)
            if not path.exists() or path.read_bytes() != content:
                # Another process that holds the lock writes the same, or has done so.
                with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / run_folder.LOCK, timeout=0):
                    run_folder.replace_file(path, content)
        except (OSError, NotImplementedError) as error:  # the latter on a disk without locks
            reason = getattr(error, "strerror", None) or error
            raise BadInputError(f"{folder}: cannot be written: {reason}; choose another --results-dir") from error
        return folder

    def status(self, run: RunSpec) -> run_folder.Status:
        """Where the run stands; interrupted, if its status says running but no process holds its lock."""
        folder = self.folder(run)
        status = run_folder.read_status(folder)
        if not run_folder.is_trained_here(status) or run_folder.is_held(folder) is not False:
            return status
        status = run_folder.read_status(folder)  # it may have ended in between, as it should
        if not run_folder.is_trained_here(status):
            return status
        return status.model_copy(update={"state": "interrupted"})

    def is_done(self, run: RunSpec, after: str | None = None) -> bool:
        """Whether the run is done and its result is there, also that of `after`, a test over views or an analysis."""
        if run_folder.read_status(self.folder(run)).state != "done":
            return False
        if after is None or after == run.task.views[0]:
            return True
        if any(after in task.analyses for task in TASKS):  # not due for a run of another task that nets start from
            is_due = after in run.task.analyses and after in run.task.analyses_of(run.net)
            return not is_due or _is_whole(self.folder(run) / run_folder.analysis_file(after))
        return self.test_result(run, after) is not None

    def is_done_at_any_precision(self, run: RunSpec, after: str | None = None) -> bool:
        """Whether the run is done, or one that differs from it only in its arithmetic."""
        # `resnet list` asks this of every run, and three hashes of a spec, or a glob, take their time.
        try:
            folders = os.listdir(self.root / "runs")  # noqa: PTH208  a Path for each takes its time, too
        except OSError:
            return False
        start, end = f"{run.net.name}-{run.variant.dataset}-", f"-s{run.seed}"
        if not any(folder.startswith(start) and folder.endswith(end) for folder in folders):
            return False
        variants = [run.variant.model_copy(update={"precision": each}) for each in get_args(Precision)]
        return any(self.is_done(run.model_copy(update={"variant": variant}), after) for variant in variants)

    def is_complete(self, run: RunSpec, after: str | None) -> bool:
        """Whether everything that is made from the run is there; for a test over several views, the scores too."""
        if after in run.task.views[1:] and not (self.folder(run) / run_folder.scores_file(str(after))).is_file():
            return False
        return self.is_done(run, after)

    def test_result(self, run: RunSpec, views: str) -> run_folder.TestResult | None:
        """The result of the run's final weights over these views of each image; None if it is missing or damaged."""
        try:
            content = run_folder.read_checked(self.folder(run) / run_folder.test_file(views))
            return run_folder.TestResult.model_validate_json(content)
        except (OSError, ValidationError, BadInputError):
            return None

    def ensemble_folder(self, ensemble: EnsembleSpec) -> Path:
        """The folder of an ensemble's result, whether it exists or not."""
        return self.root / "ensembles" / ensemble.ensemble_id

    def ensemble_result(self, ensemble: EnsembleSpec) -> run_folder.EnsembleResult | None:
        """The result of an ensemble's test; None if it is missing or damaged, or a net has been retrained since."""
        try:
            content = run_folder.read_checked(self.ensemble_folder(ensemble) / run_folder.ENSEMBLE)
            result = run_folder.EnsembleResult.model_validate_json(content)
        except (OSError, ValidationError, BadInputError):
            return None
        return result if result.members == self.weights_of(ensemble) else None

    def weights_of(self, ensemble: EnsembleSpec) -> dict[str, str]:
        """The SHA-256 of each member's weights, by run id."""
        return {run.run_id: run_folder.sum_of(self.folder(run) / run_folder.WEIGHTS) for run in ensemble.members}

    def write_ensemble(
        self, ensemble: EnsembleSpec, result: run_folder.EnsembleResult, kept: Mapping[str, np.ndarray]
    ) -> None:
        """Writes an ensemble's result and what is kept from its test, and last the checksums.

        Raises:
            OSError: It cannot be written.
        """
        folder = self.ensemble_folder(ensemble)
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            run_folder.PREDICTIONS: run_folder.packed_arrays(kept),
            run_folder.ENSEMBLE: (result.model_dump_json(indent=1) + "\n").encode(),
        }
        for name, content in contents.items():
            run_folder.replace_file(folder / name, content)
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        run_folder.write_sums(folder, sums)

    def is_due(self, ensemble: EnsembleSpec) -> bool:
        """Whether all its nets are trained and have not been tested together."""
        return all(map(self.is_done, ensemble.members)) and self.ensemble_result(ensemble) is None

    def scores(self, run: RunSpec, views: str) -> tuple[np.ndarray, np.ndarray]:
        """The scores of a test over these views: the log of the averaged probabilities (N, C) float32; the labels (N,).

        Raises:
            BadInputError: They are missing or damaged.
        """
        return run_folder.read_scores(self.folder(run) / run_folder.scores_file(views))

    def predictions(self, run: RunSpec) -> tuple[np.ndarray, np.ndarray] | None:
        """The finished run's logits on the test set (N, C) float32, and the labels (N,) int64.

        Returns:
            None if the file is not there, as in most published runs, or holds no labels, as those of earlier versions.

        Raises:
            BadInputError: The file is damaged.
        """
        path = self.folder(run) / run_folder.PREDICTIONS
        return run_folder.read_predictions(path) if path.exists() else None

    def kept(self, run: RunSpec) -> dict[str, np.ndarray]:
        """Everything that the finished run kept from its test: the arrays of its predictions.npz.

        Raises:
            BadInputError: The file is missing or damaged.
        """
        return run_folder.read_arrays(self.folder(run) / run_folder.PREDICTIONS)

    def runs(self) -> list[RunSpec]:
        """Every run in the store whose spec can be read and fits its folder; `runs.left_out` lists the others."""
        specs = []
        for path in sorted((self.root / "runs").glob(f"*/{run_folder.SPEC}")):
            spec = _spec_in(path.parent)
            if spec:
                specs.append(spec)
        return specs

    def replicates(self, run: RunSpec) -> list[RunSpec]:
        """The runs in the store that differ from this one only in the seed, sorted by seed."""
        prefix = f"{run.net.name}-{run.variant.dataset}-{run.hash8}-s"
        found = [spec for folder in (self.root / "runs").glob(f"{prefix}*") if (spec := _spec_in(folder))]
        return sorted(found, key=lambda spec: spec.seed)

    def environment(self, run: RunSpec) -> dict[str, Any]:
        """What the run was trained with: versions, device, threads, commit. Empty if nothing readable is there."""
        return run_folder.read_environment(self.folder(run)) or {}

    def train_log(self, run: RunSpec) -> pd.DataFrame:
        """The run's log, one row per update, columns `Task.train_columns`; on augmented batches, before the update."""
        return self._read_csv(run, run_folder.TRAIN_CSV, run.task.train_columns)

    def eval_log(self, run: RunSpec) -> pd.DataFrame:
        """The run's evaluations, columns `Task.eval_columns`; a net whose outputs overflow has no loss.

        The columns `Task.averaged_metrics` follow, empty where such a test was not due; runs of earlier versions may
        lack them.
        """
        task = run.task
        added = tuple(metric.key for metric in task.averaged_metrics)
        return self._read_csv(run, run_folder.EVAL_CSV, task.eval_columns, ("test_loss", *added), added)

    def analysis(self, run: RunSpec, analysis: Analysis) -> pd.DataFrame:
        """The result of an analysis of the run's net, columns `Analysis.columns`."""
        return self._read_csv(run, run_folder.analysis_file(analysis.name), analysis.columns, analysis.may_be_nan)

    def _read_csv(
        self,
        run: RunSpec,
        name: str,
        columns: tuple[str, ...],
        may_be_nan: tuple[str, ...] = (),
        added: tuple[str, ...] = (),
    ) -> pd.DataFrame:
        import pandas as pd

        path = self.folder(run) / name
        try:
            frame = pd.read_csv(io.BytesIO(run_folder.read_checked(path)))
        except OSError as error:
            raise BadInputError(f"{path}: {error.strerror}") from error
        except (ValueError, pd.errors.ParserError) as error:
            raise BadInputError(f"{path}: not a table: {str(error).splitlines()[0]}") from error
        if tuple(frame.columns) not in (columns, columns + added):
            raise BadInputError(f"{path}: has columns {', '.join(map(str, frame.columns))}; want {', '.join(columns)}")
        for column in frame.columns.difference(["weights", "name"]):
            has_nan = frame[column].isna().any() and column not in may_be_nan
            if not pd.api.types.is_numeric_dtype(frame[column]) or has_nan:
                raise BadInputError(f"{path}: column {column}: not a number in every row")
        return frame


def _spec_in(folder: Path) -> RunSpec | None:
    """The spec in a run's folder; None if it cannot be read, or the folder is a copy, or a digit of it has changed."""
    try:
        spec = RunSpec.model_validate_json((folder / run_folder.SPEC).read_bytes())
    except (OSError, ValidationError):
        return None
    return spec if spec.run_id == folder.name else None


def _is_whole(path: Path) -> bool:
    """Whether a file that was made from a finished run is there and unchanged."""
    try:
        run_folder.read_checked(path)
    except (OSError, BadInputError):
        return False
    return True
