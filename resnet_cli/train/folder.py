"""What a training finds in its run's folder, and the results that it leaves there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import safetensors.torch

from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder
from resnet_cli.train import checkpoint
from resnet_cli.train.start import initial_net

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.data import Data
    from resnet_cli.tasks.task import Scores
    from resnet_cli.train.checkpoint import TrainState


def begin(
    run: RunSpec, folder: Path, dataset: Data, source: Path | None
) -> tuple[torch.nn.Module, TrainState | None, list[str]]:
    """The net before the next update, the last readable checkpoint if any, and what is wrong with a newer one."""
    run_folder.remove_leftovers(folder)
    loaded, problems = checkpoint.load(folder)
    if loaded:  # its weights replace any start, and the source is no longer needed
        net = run.task.build_for(run, len(dataset.classes))
        net.load_state_dict(loaded.net)
        if problems:  # or the next save would replace the intact one by the damaged one
            (folder / run_folder.PREVIOUS_CHECKPOINT).replace(folder / run_folder.CHECKPOINT)
        return net, loaded, problems
    if (folder / run_folder.SUMS).exists():
        raise BadInputError(
            f"{folder}: has results and no checkpoint, but {run_folder.STATUS} does not say done; "
            "restore it, or delete the folder to train it again"
        )
    return initial_net(run, dataset, source), None, problems


def save_results(folder: Path, net: torch.nn.Module, scores: Scores, sums: dict[str, str]) -> None:
    """Writes what the final test keeps, the weights, and last the checksums: of these files, and the given ones."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    results = {
        run_folder.PREDICTIONS: run_folder.packed_arrays(scores.kept),
        run_folder.WEIGHTS: safetensors.torch.save(weights),
    }
    for name, content in results.items():
        run_folder.replace_file(folder / name, content)
        sums[name] = hashlib.sha256(content).hexdigest()
    run_folder.write_sums(folder, sums)


def remove_checkpoints(folder: Path) -> None:
    """Removes the checkpoints of a training that is done."""
    for name in (run_folder.CHECKPOINT, run_folder.PREVIOUS_CHECKPOINT):
        (folder / name).unlink(missing_ok=True)
