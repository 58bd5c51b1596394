"""Analyses a finished run's net and writes the result into the run's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.analyses import analysis_of
from resnet_cli.device.torch_device import prepare
from resnet_cli.storage import run_folder
from resnet_cli.weights.trained import write_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.data import Data


def analyse_run(
    run: RunSpec, folder: Path, data: Data, analysis: str, source: Path | None, progress: Callable[[int], None]
) -> None:
    """Analyses a finished run's net, in fp32 whatever its training's precision, and writes the result.

    Args:
        run: The run.
        folder: Its folder.
        data: The dataset, on the device to compute on.
        analysis: The analysis's name.
        source: The folder of `run.source`.
        progress: Called with the number of images done so far.

    Raises:
        BadInputError: Weights are missing or damaged.
        OSError: The folder cannot be written.
    """
    prepare(data.device, "fp32")
    try:
        table = analysis_of(analysis).compute(run, folder, data, source, progress)
    finally:
        prepare(data.device, run.variant.precision)  # for the runs that follow
    content = table.to_csv(index=False, lineterminator="\n", float_format="%.9g")
    write_result(folder / run_folder.analysis_file(analysis), content.encode())
