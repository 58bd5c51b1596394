"""A trained run's net, and its test over several views of each image: scores and errors for tables and ensembles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch

from resnet_cli.errors import BadInputError
from resnet_cli.evaluate.evaluate import as_float16, evaluate
from resnet_cli.evaluate.scores import top_errors
from resnet_cli.nets.resnet import ResNet
from resnet_cli.storage import run_folder
from resnet_cli.weights.read import match
from resnet_cli.weights.weight_files import read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn

    from resnet_cli.identity import RunSpec


def trained_net(run: RunSpec, folder: Path) -> nn.Module:
    """A finished run's net with its final weights, on the CPU; as many classes as the weights have.

    Raises:
        BadInputError: Its weights are missing or damaged.
    """
    path = folder / run_folder.WEIGHTS
    try:
        state = safetensors.torch.load(run_folder.read_checked(path))
        net = run.task.build_for(run, run.task.classes_of(state))
        net.load_state_dict(state)
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}; delete {folder} and run it again") from error
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInputError(f"{path}: not the weights of {run.net.name}; delete {folder} and run it again") from error
    return net


def given_net(run: RunSpec, path: Path) -> nn.Module:
    """The net that a run is given to start from, on the CPU.

    Raises:
        BadInputError: The file does not hold weights, or holds another net's.
    """
    state = read_weights(path)
    try:
        net = run.task.blank(run, state)
        if isinstance(net, ResNet):
            match(state, net, path)
        else:
            net.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:200]
        raise BadInputError(f"{path}: not weights that {run.net.name} can start from: {problem}") from error
    return net


def score_run(
    run: RunSpec,
    folder: Path,
    dataset: Any,
    views: str,
    progress: Callable[[int], None] | None = None,
) -> run_folder.TestResult:
    """Tests a finished run's final weights; writes the scores, and last the errors, into its folder.

    Raises:
        BadInputError: Its weights are missing or damaged.
        OSError: The folder cannot be written.
    """
    net = trained_net(run, folder).to(dataset.device)
    evaluation = evaluate(net, dataset, run.variant.precision, views, progress=progress)
    labels = dataset.test_labels.cpu().numpy()
    content, scores = scores_content(evaluation.logits, labels)
    write_result(folder / run_folder.scores_file(views), content)
    top1, top5 = top_errors(scores, labels)
    result = run_folder.TestResult(views=views, top1_error=top1, top5_error=top5, images=len(labels))
    write_result(folder / run_folder.test_file(views), (result.model_dump_json(indent=1) + "\n").encode())
    return result


def write_result(path: Path, content: bytes) -> None:
    """Writes a file that was made from a finished run into its folder, and its checksum."""
    run_folder.replace_file(path, content)
    run_folder.add_sum(path, content)


def scores_content(logits: Tensor, labels: np.ndarray) -> tuple[bytes, np.ndarray]:
    """A file of scores as bytes, and the scores (N, C) that it holds, rounded to its float16."""
    scores = as_float16(logits)  # NaN stays NaN, and counts as wrong
    return run_folder.packed_arrays({"scores": scores, "labels": labels}), scores
