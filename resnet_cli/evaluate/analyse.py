"""What a trained net is like inside: its layers' responses (Figure 7), its backward signals, its training set error."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from resnet_cli import run_folder
from resnet_cli.data import Dataset
from resnet_cli.device import memory_format, prepare
from resnet_cli.evaluate.evaluate import evaluate
from resnet_cli.evaluate.start import initial_net
from resnet_cli.evaluate.trained import trained_net, write_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from resnet_cli.data import PhotoDataset
    from resnet_cli.model import ResNet
    from resnet_cli.spec import Analysis, RunSpec

BATCHES = 10  # over which backward signals are averaged
KERNEL = (3, 3)


def analyse_run(
    run: RunSpec,
    folder: Path,
    dataset: Dataset | PhotoDataset,
    analysis: Analysis,
    source: Path | None,
    progress: Callable[[int], None],
) -> None:
    """Analyses a finished run's net and writes what it found into the folder, in fp32 whatever it was trained in.

    Args:
        run: The run.
        folder: Its folder.
        dataset: On the device to compute on.
        analysis: `responses`, `gradients` or `training-set`: see the functions of these names.
        source: The folder of `run.source`.
        progress: Called with the number of images done so far.

    Raises:
        BadInputError: Weights are missing or damaged.
        OSError: The folder cannot be written.
    """
    prepare(dataset.device, "fp32")
    try:
        table = _analyse(run, folder, dataset, analysis, source, progress)
    finally:
        prepare(dataset.device, run.variant.precision)  # for the runs that follow
    content = table.to_csv(index=False, lineterminator="\n", float_format="%.9g")
    write_result(folder / run_folder.analysis_file(analysis), content.encode())


def _analyse(
    run: RunSpec,
    folder: Path,
    dataset: Dataset | PhotoDataset,
    analysis: Analysis,
    source: Path | None,
    progress: Callable[[int], None],
) -> pd.DataFrame:
    end = trained_net(run, folder).to(dataset.device)
    if analysis == "responses":
        return responses(end, dataset, progress)
    if analysis == "gradients":
        start = initial_net(run, dataset, source).to(dataset.device)
        found = {"start": gradients(start, run, dataset, progress), "end": gradients(end, run, dataset, progress)}
        table = pd.concat([frame.assign(weights=weights) for weights, frame in found.items()])
        return table[["weights", "layer", "name", "norm"]]
    assert isinstance(dataset, Dataset), "ImageNet's training set is not tested as a whole"
    nets = {"end": end}
    if run.source:
        assert source is not None
        nets["start"] = initial_net(run, dataset, source).to(dataset.device)
        nets["source"] = trained_net(run.source, source).to(dataset.device)
    return training_set(nets, dataset, progress)


@torch.no_grad()
def responses(net: ResNet, dataset: Dataset | PhotoDataset, progress: Callable[[int], None]) -> pd.DataFrame:
    """Figure 7: the standard deviation of each 3x3 layer's response, after BN and before addition or ReLU.

    Over all images of the test set (one view each), channels and places, with the running BN statistics.

    Returns:
        A row a layer in the order of the forward pass: layer (from 1), name, std.
    """
    layout = memory_format(dataset.device, "fp32")
    net.eval().to(memory_format=layout)
    names = _layers(net)
    sums = {name: torch.zeros(3, dtype=torch.float64) for name in names}

    def listen(name: str, response: Tensor) -> None:
        variance, mean = (float(value) for value in torch.var_mean(response, correction=0))
        sums[name] += response.numel() * torch.tensor([1, mean, variance + mean**2], dtype=torch.float64)

    done = 0
    with _listening(net, names, listen):
        for _, images in dataset.test_views("1-crop"):
            net(images.contiguous(memory_format=layout))
            done += len(images)
            progress(done)
    rows = []
    for layer, (name, (count, total, squares)) in enumerate(sums.items(), start=1):
        variance = float(squares / count - (total / count) ** 2)
        rows.append({"layer": layer, "name": name, "std": math.sqrt(max(variance, 0.0))})
    return pd.DataFrame(rows)


def gradients(
    net: ResNet, run: RunSpec, dataset: Dataset | PhotoDataset, progress: Callable[[int], None]
) -> pd.DataFrame:
    """The backward signal at each 3x3 layer: the L2 norm of the loss's gradient by the layer's response.

    The response is Figure 7's, of a batch; the norm is the mean over the run's first ten batches, normalised by their
    own statistics, and taken in as many parts, as in training. The weights stay as they are.

    Returns:
        A row a layer in the order of the forward pass: layer (from 1), name, norm.
    """
    layout = memory_format(dataset.device, "fp32")
    net.train().to(memory_format=layout)
    names = _layers(net)
    norms, squares = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    batches, parts = min(BATCHES, run.protocol.iterations), run.variant.accumulate or 1

    def listen(name: str, response: Tensor) -> None:
        def note(gradient: Tensor) -> None:
            squares[name] += float(gradient.norm()) ** 2

        response.register_hook(note)  # type: ignore[no-untyped-call]

    with _listening(net, names, listen), contextlib.closing(dataset.train_stream(run)) as stream:
        for iteration in range(1, batches + 1):
            for images, labels in zip(*(part.chunk(parts) for part in stream.batch(iteration)), strict=True):
                loss = functional.cross_entropy(net(images.contiguous(memory_format=layout)), labels) / parts
                loss.backward()  # type: ignore[no-untyped-call]
            net.zero_grad(set_to_none=True)
            for name, square in squares.items():
                norms[name] += math.sqrt(square) / batches
                squares[name] = 0.0
            progress(iteration * run.protocol.batch_size)
    return pd.DataFrame([{"layer": layer, "name": name, "norm": norms[name]} for layer, name in enumerate(names, 1)])


def training_set(nets: dict[str, ResNet], dataset: Dataset, progress: Callable[[int], None]) -> pd.DataFrame:
    """Loss and error (percent) on the training images as they are, unlike the running error on augmented batches.

    Args:
        nets: By what their weights are: `end`, and of a net that is made from another `start` and `source`.
        dataset: Its training set is used.
        progress: Called with the number of images done so far.

    Returns:
        A row a net: weights, loss, error, images, and changed: images on which its answer is not the source's.
    """
    training = replace(dataset, test_images=dataset.train_images, test_labels=dataset.train_labels)
    found = {weights: evaluate(net, training, "fp32", progress=progress) for weights, net in nets.items()}
    answers = {weights: each.logits.argmax(dim=1) for weights, each in found.items()}
    rows = []
    for weights, each in found.items():
        changed = int((answers[weights] != answers["source"]).sum()) if "source" in answers else 0
        rows.append(
            {"weights": weights, "loss": each.loss, "error": each.top1_error, "images": each.images, "changed": changed}
        )
    return pd.DataFrame(rows)


def _layers(net: ResNet) -> list[str]:
    """The 3x3 convolutions by name, in the order of the forward pass."""
    modules = net.named_modules()
    return [name for name, module in modules if isinstance(module, nn.Conv2d) and module.kernel_size == KERNEL]


@contextlib.contextmanager
def _listening(net: ResNet, names: list[str], listen: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Hands each of these layers' responses to `listen`: the output of the BN that follows the convolution."""
    hooks = []
    for name in names:

        def hear(_: nn.Module, __: object, response: Tensor, name: str = name) -> None:
            listen(name, response)

        norm = net.get_submodule(name.replace("conv", "bn"))
        hooks.append(norm.get_submodule("response").register_forward_hook(hear))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
