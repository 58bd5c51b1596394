"""The results folder: which runs exist, how far they are, what they measured. The only module that knows results/."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from resnet_cli import run_folder
from resnet_cli.errors import BadInputError
from resnet_cli.experiment import first_problem
from resnet_cli.runs.plan import plan
from resnet_cli.spec import AfterTraining, Analysis, Frozen, Precision, RunSpec, Variant, Views

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from resnet_cli.experiment import Experiment


CHOICES = "minutes.json"


class Choice(Frozen):
    """The schedule that was chosen for a time (`run --minutes`); it is the variant's. All else is what was asked for.

    Attributes:
        device: cuda, mps or cpu; with `device_name` it says for which machine.
    """

    experiment: str
    depths: tuple[int, ...]
    only: str | None
    seeds: int | None
    minutes: float
    device: str
    device_name: str
    variant: Variant

    def answers(self, other: Choice) -> bool:
        """Whether both are of the same question; the schedules may differ."""
        return self.scheduled(1.0) == other.scheduled(1.0)

    def scheduled(self, schedule: float) -> Choice:
        """The same question with this schedule."""
        return self.model_copy(update={"variant": self.variant.model_copy(update={"schedule": schedule})})


class _Choices(Frozen):
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Store:
    """A results folder: `runs/` with one folder a run, `tables/` and `figures/` with what was made of them."""

    root: Path

    @classmethod
    def open(cls, results_dir: Path | None) -> Store:
        """The store at `--results-dir`, else at RESNET_RESULTS, else at `results/` here. Creates nothing."""
        return cls(results_dir or Path(os.environ.get("RESNET_RESULTS") or "results"))

    @property
    def proofs(self) -> Path:
        """Where it is noted that the fast step was seen to agree with the plain one."""
        return self.root / "proofs"

    @property
    def speeds(self) -> Path:
        """Where `resnet bench` notes what it measured."""
        return self.root / "speeds"

    @property
    def tables(self) -> Path:
        """Where tables are written."""
        return self.root / "tables"

    @property
    def figures(self) -> Path:
        """Where figures are written."""
        return self.root / "figures"

    @property
    def choices(self) -> Path:
        """The file of the schedules that were chosen for a time."""
        return self.root / CHOICES

    def kept_choice(self, asked: Choice) -> Choice | None:
        """The choice that was kept for what is asked; None without one.

        Raises:
            BadInputError: The file of choices is damaged or cannot be read.
        """
        return next((each for each in self._read_choices() if each.answers(asked)), None)

    def keep_choice(self, choice: Choice) -> None:
        """Keeps a choice beside the runs, in place of an earlier one for the same. A damaged file is written anew.

        Raises:
            BadInputError: The results folder cannot be written.
        """
        try:
            others = [each for each in self._read_choices() if not each.answers(choice)]
        except BadInputError:
            others = []
        content = _Choices(choices=(*others, choice)).model_dump_json(indent=1) + "\n"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            run_folder.replace_file(self.choices, content.encode())
        except OSError as error:
            raise BadInputError(f"{self.choices}: cannot be written: {error.strerror or error}") from error

    def _read_choices(self) -> tuple[Choice, ...]:
        try:
            return _Choices.model_validate_json(self.choices.read_bytes()).choices
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise BadInputError(f"{self.choices}: {error.strerror or error}") from error
        except ValidationError as error:
            raise BadInputError(f"{self.choices}: damaged: {first_problem(error)}") from error

    def folder(self, run: RunSpec) -> Path:
        """The run's folder, whether it exists or not."""
        return self.root / "runs" / run.run_id

    def create_folder(self, run: RunSpec) -> Path:
        """Makes the run's folder and writes its spec.json, under the run's lock as all that is written there.

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
                # Where another process has the lock it writes the same, or has.
                with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / run_folder.LOCK, timeout=0):
                    run_folder.replace_file(path, content)
        except (OSError, NotImplementedError) as error:  # the latter of a disk without locks
            reason = getattr(error, "strerror", None) or error
            raise BadInputError(f"{folder}: cannot be written: {reason}; choose another --results-dir") from error
        return folder

    def status(self, run: RunSpec) -> run_folder.Status:
        """Where the run stands."""
        return run_folder.read_status(self.folder(run))

    def is_done(self, run: RunSpec, after: AfterTraining = "1-crop") -> bool:
        """Whether the run has ended and its result is there, that of a test over views or of an analysis included."""
        if self.status(run).state != "done":
            return False
        if after == "10-crop" or after == "dense":  # noqa: PLR1714  narrows the type
            return self.test_result(run, after) is not None
        return after == "1-crop" or _is_whole(self.folder(run) / run_folder.analysis_file(after))

    def is_done_at_any_precision(self, run: RunSpec, after: AfterTraining = "1-crop") -> bool:
        """Whether the run, or one that differs from it in nothing but its arithmetic, is done."""
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

    def is_complete(self, run: RunSpec, after: AfterTraining) -> bool:
        """Whether all is there that is made of the run: of a test over several views the scores too."""
        if after == "10-crop" or after == "dense":  # noqa: PLR1714  narrows the type
            return self.is_done(run, after) and (self.folder(run) / run_folder.scores_file(after)).is_file()
        return self.is_done(run, after)

    def test_result(self, run: RunSpec, views: Views) -> run_folder.TestResult | None:
        """What the run's final weights gave over these views of each image; None if there is none, or none whole."""
        try:
            content = run_folder.read_checked(self.folder(run) / run_folder.test_file(views))
            return run_folder.TestResult.model_validate_json(content)
        except (OSError, ValidationError, BadInputError):
            return None

    def scores(self, run: RunSpec, views: Views) -> tuple[np.ndarray, np.ndarray]:
        """The scores of such a test: the log of the averaged probabilities (N, C) float32, and the labels (N,).

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

    def runs(self) -> list[RunSpec]:
        """Every run in the store whose spec can be read and is its folder's; others are not ours to judge."""
        specs = []
        for path in sorted((self.root / "runs").glob(f"*/{run_folder.SPEC}")):
            try:
                spec = RunSpec.model_validate_json(path.read_bytes())
            except (OSError, ValidationError):
                continue
            if spec.run_id == path.parent.name:  # not a copy, and no digit of it has changed
                specs.append(spec)
        return specs

    def replicates(self, run: RunSpec) -> list[RunSpec]:
        """The runs in the store that differ from this one in nothing but the seed, by seed."""
        prefix = f"{run.net.name}-{run.variant.dataset}-{run.hash8}-s"
        seeds = [folder.name.removeprefix(prefix) for folder in (self.root / "runs").glob(f"{prefix}*")]
        return [
            run.model_copy(update={"seed": seed}) for seed in sorted(int(seed) for seed in seeds if seed.isdecimal())
        ]

    def variant_to_show(self, experiment: Experiment) -> Variant:
        """The variant of an experiment with the most to show.

        Finished runs that are no smoke runs, on the experiment's own data, come first; of these the paper's scale if
        most nets have one there, then a variant in which every net has one, then the longest schedule. Paper scale if
        there is nothing at all.
        """

        def worth(variant: Variant) -> tuple[bool, bool, bool, bool, bool, float, int]:
            done = [self.is_done(run, experiment.after_training) for run in plan(experiment, variant, seeds=1)]
            own_data = variant.dataset == experiment.dataset
            most = variant.schedule == 1 and sum(done) > len(done) / 2
            return any(done), not variant.tiny, own_data, most, all(done), variant.schedule, sum(done)

        default = Variant(dataset=experiment.dataset)
        variants = dict.fromkeys(run.variant for run in self.runs() if experiment.suits(run.variant))
        return max([default, *variants], key=worth)

    def environment(self, run: RunSpec) -> dict[str, Any]:
        """What the run was trained with: versions, device, threads, commit. Empty if nothing readable is there."""
        return run_folder.read_environment(self.folder(run)) or {}

    def train_log(self, run: RunSpec) -> pd.DataFrame:
        """The run's log, a row an update: iteration, lr, loss, train_error (percent, running, augmented images)."""
        return self._read_csv(run, run_folder.TRAIN_CSV, ["iteration", "lr", "loss", "train_error"])

    def eval_log(self, run: RunSpec) -> pd.DataFrame:
        """The run's evaluations: iteration, test_loss, test_error, test_error_top5 (percent), images."""
        columns = ["iteration", "test_loss", "test_error", "test_error_top5", "images"]
        return self._read_csv(run, run_folder.EVAL_CSV, columns)

    def analysis(self, run: RunSpec, analysis: Analysis) -> pd.DataFrame:
        """What an analysis of the run's net found (`evaluate.analyse`), for each of its `weights`, start or end.

        Of responses layer, name, std; of gradients weights, layer, name, norm; of the training set weights, loss,
        error (percent), images, changed.
        """
        columns = {
            "responses": ["layer", "name", "std"],
            "gradients": ["weights", "layer", "name", "norm"],
            "training-set": ["weights", "loss", "error", "images", "changed"],
        }
        return self._read_csv(run, run_folder.analysis_file(analysis), columns[analysis])

    def _read_csv(self, run: RunSpec, name: str, columns: list[str]) -> pd.DataFrame:
        import pandas as pd

        path = self.folder(run) / name
        try:
            frame = pd.read_csv(io.BytesIO(run_folder.read_checked(path)))
        except OSError as error:
            raise BadInputError(f"{path}: {error.strerror}") from error
        except (ValueError, pd.errors.ParserError) as error:
            raise BadInputError(f"{path}: not a table: {str(error).splitlines()[0]}") from error
        if list(frame.columns) != columns:
            raise BadInputError(f"{path}: has columns {', '.join(map(str, frame.columns))}; want {', '.join(columns)}")
        for column in frame.columns.difference(["weights", "name"]):
            # Of a net whose logits overflow; its error is a number all the same.
            may_be_nan = column in ("test_loss", "loss", "std", "norm") and name != run_folder.TRAIN_CSV
            if not pd.api.types.is_numeric_dtype(frame[column]) or (frame[column].isna().any() and not may_be_nan):
                raise BadInputError(f"{path}: column {column}: not a number in every row")
        return frame


def _is_whole(path: Path) -> bool:
    """Whether a file that was made of a finished run is there, and as it was written."""
    try:
        run_folder.read_checked(path)
    except (OSError, BadInputError):
        return False
    return True
